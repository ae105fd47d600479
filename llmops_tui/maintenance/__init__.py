"""Keeping: backup and restore, checking every hash and reference, clearing away, and where things came from."""
