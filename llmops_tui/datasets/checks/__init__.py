"""Checks of quality: what may be wrong with a dataset, why it matters, which rows, and how it is fixed."""
