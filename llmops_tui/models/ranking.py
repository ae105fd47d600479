"""Which models rank pairs of texts: their files name the pooling ``rank``, and they make no embeddings."""

from __future__ import annotations

from llmops_tui.errors import LlmopsError
from llmops_tui.models.bert_gguf import RANK
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import GgufHeader
from llmops_tui.models.registry import Model


def ranks(header: GgufHeader) -> bool:
    """Whether a file's header says so."""
    return header.metadata.get(f"{header.architecture}.pooling_type") == RANK


def is_ranker(model: Model) -> bool:
    """Whether a registered model says so; one whose file cannot be read does not."""
    if model.base.kind != "gguf":
        return False
    try:
        return ranks(read_header(model.base.path))
    except LlmopsError:
        return False
