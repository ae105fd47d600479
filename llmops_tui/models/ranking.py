"""How models make one vector, or one score, of the vectors of all tokens; those that rank pairs of texts make no embeddings."""

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


# By llama.cpp's number; where a file names none, the engine takes the mean.
_POOLINGS = {0: "none", 1: "mean", 2: "cls", 3: "last", RANK: "rank"}


def pooling_of(model: Model) -> str:
    """How a registered model pools, as its file says; empty of one elsewhere, and of a file that cannot be read."""
    if model.base.kind != "gguf":
        return ""
    try:
        header = read_header(model.base.path)
    except LlmopsError:
        return ""
    return _POOLINGS.get(int(header.metadata.get(f"{header.architecture}.pooling_type", 1)), "mean")
