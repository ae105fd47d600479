"""What an address of a server is for, as the scopes of access keys name it."""

from __future__ import annotations

import re

ENDPOINTS = {
    "chat": "answers to conversations: chat completions, responses, messages, and Ollama's chat",
    "completions": "texts that are gone on with or filled in: completions, infill, and Ollama's generate",
    "embeddings": "vectors of texts",
    "rerank": "documents ranked for a query",
    "classify": "labels of texts",
    "tokenize": "tokens of texts, counted or spelled",
    "batches": "files of requests, and the jobs that answer them; the requests need their own endpoints",
    "feedback": "what is thought of answers",
    "traces": "spans of other applications, taken in as OpenTelemetry sends them",
    "metrics": "figures of the whole server",
    "keys": "keys within the key itself, made by it",
}
"""What a key may be limited to, by name; a key that is not limited may do all but ``keys``."""
MODELS = "models"
"""What every key may ask: which models there are for it."""
# Beginnings of addresses, the longest that fits counts. An address that is not here is refused to access keys.
_PLACES = {
    "/v1/chat/completions": "chat", "/v1/responses": "chat", "/v1/messages": "chat", "/api/chat": "chat",
    "/v1/messages/count_tokens": "tokenize",
    "/v1/completions": "completions", "/infill": "completions", "/api/generate": "completions",
    "/v1/embeddings": "embeddings", "/api/embed": "embeddings", "/api/embeddings": "embeddings",
    "/v1/rerank": "rerank", "/v1/reranking": "rerank", "/rerank": "rerank", "/reranking": "rerank",
    "/v1/classify": "classify", "/classify": "classify",
    "/tokenize": "tokenize", "/detokenize": "tokenize", "/tokenizer_info": "tokenize",
    "/v1/files": "batches", "/v1/batches": "batches",
    "/v1/feedback": "feedback", "/v1/traces": "traces", "/metrics": "metrics", "/v1/keys": "keys",
    "/v1/models": MODELS, "/api/tags": MODELS, "/api/ps": MODELS, "/api/show": MODELS, "/api/version": MODELS,
    # Refused to everybody, with what to do instead.
    "/api/pull": MODELS, "/api/create": MODELS, "/api/delete": MODELS, "/api/copy": MODELS, "/api/push": MODELS,
    "/api/blobs": MODELS,
}  # fmt: skip
UNLIMITED = frozenset(name for name in ENDPOINTS if name != "keys")
"""What a key may do that is limited to no endpoints."""


def endpoint_of(path: str) -> str:
    """What an address is for; empty where that is not known."""
    parts = re.split(r"(?=/)", path)
    for count in range(len(parts), 0, -1):
        if (found := _PLACES.get("".join(parts[:count]))) is not None:
            return found
    return ""
