"""Detached jobs: start, find again after a restart, follow, cancel, resume."""
