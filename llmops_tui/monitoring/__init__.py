"""Watching the machine: host load and GPUs."""
