"""Embeddings: models that turn texts into vectors, files of vectors, and what is near to what."""
