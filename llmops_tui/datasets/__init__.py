"""Datasets: formats, import, immutable versions, looking, checking, privacy, labelling, splitting, export."""
