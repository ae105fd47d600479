"""Answers of models, each asked once: retries, and a cache by all that decides an answer."""
