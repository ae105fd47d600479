"""What this machine has and how busy it is: GPUs, memory, processor, disks, processes."""
