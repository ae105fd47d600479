"""Modules of the process that runs a task of the LM Evaluation Harness, the only ones that import it."""
