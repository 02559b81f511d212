/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that a fork does not have copied, neither at once nor when one side writes to it. */
#ifndef GFF_SHARED_H
#define GFF_SHARED_H

#include <stddef.h>

void *shared_memory(size_t size, size_t alignment); /* all zero; never given back */

#endif
