"""Errors in the form of the API that an address belongs to."""

from __future__ import annotations

from collections.abc import Callable

from llmops_tui.errors import sentences
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.wire import ErrorBody


def as_ollama(body: ErrorBody, _status: int) -> JsonObject:
    """An error as Ollama tells it: one text."""
    return {"error": sentences(body["error"]["message"], body["error"].get("hint", ""))}


# By the beginning of the address, how its errors are told; all others are told in OpenAI's form.
_SHAPES: dict[str, Callable[[ErrorBody, int], JsonObject]] = {"/api/": as_ollama}


def shaped(path: str, body: ErrorBody, status: int) -> JsonObject:
    """An error as the API of an address tells it; ``body`` is in OpenAI's form."""
    for prefix, shape in _SHAPES.items():
        if path.startswith(prefix):
            return shape(body, status)
    return {**body}
