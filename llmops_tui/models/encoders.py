"""Models that were made to embed, rank or classify, told from those that write text by what they are built as."""

from __future__ import annotations

# llama.cpp's number of the pooling of models that rank.
RANK = 4
_ENCODERS = ("bert", "electra", "embed", "mpnet", "t5encoder")


def is_encoder(architecture: str) -> bool:
    """Whether an architecture, by its name in a model's header, is of those that were made to embed."""
    return any(part in architecture.lower() for part in _ENCODERS)
