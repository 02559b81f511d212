"""The live machine: real kernels in QEMU boxes, where they come from, and the executor in them."""
