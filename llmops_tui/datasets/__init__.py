"""Datasets: formats, import, immutable versions, views, checks, privacy, labelling, splits, export."""
