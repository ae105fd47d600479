"""How models make one vector, or one score, of the vectors of all tokens; those that rank pairs of texts make no embeddings."""

from __future__ import annotations

from llmops_tui.errors import LlmopsError
from llmops_tui.models.encoders import RANK, is_encoder
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import GgufHeader
from llmops_tui.models.registry import Model


def ranks(header: GgufHeader) -> bool:
    """Whether a file's header says so."""
    return header.pooling == RANK


def is_ranker(model: Model) -> bool:
    """Whether a registered model says so; one whose file cannot be read does not."""
    if model.base.kind != "gguf":
        return False
    try:
        return ranks(read_header(model.base.path))
    except LlmopsError:
        return False


def task_of(model: Model) -> str:
    """What a registered model does with texts, by the names that Hugging Face has for tasks; empty where that is not known.

    ``text-generation``, ``feature-extraction`` of one that embeds, ``text-ranking``, or ``text-classification``.
    """
    if model.origin is not None or model.kind not in {"gguf", "safetensors"}:
        return ""  # an adapter does what the model beside it does, and nobody knows that of an endpoint
    if model.kind == "safetensors":
        family = str(model.header.get("architecture") or "")
        return "feature-extraction" if is_encoder(family) else "text-generation"
    try:
        return read_header(model.path).task
    except LlmopsError:
        return ""


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
    return _POOLINGS.get(1 if header.pooling is None else header.pooling, "mean")
