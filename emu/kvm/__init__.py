"""The modelled kernel: a module for each kernel file, functions under the kernel's names."""
