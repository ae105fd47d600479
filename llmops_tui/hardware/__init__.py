"""Hardware of this machine and its load: GPUs, memory, CPU, disks, processes."""
