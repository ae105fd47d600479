"""Configurations of promptfoo, read as suites: each key is carried as promptfoo does it, or refused by name."""
