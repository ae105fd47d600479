"""Kinds of writing, each done in a process that is killed at random moments, and what must hold afterwards."""
