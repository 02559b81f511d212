/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process has to do that the kernel started first. */
#ifndef GFF_INIT_H
#define GFF_INIT_H

#include "frame.h"

struct channel init_box(void);

#endif
