"""Errors in the form of the API that an address belongs to."""

from __future__ import annotations

from collections.abc import Callable

from llmops_tui.errors import sentences
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.wire import ErrorBody

_ANTHROPIC = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 408: "timeout_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
}  # fmt: skip


def as_anthropic(body: ErrorBody, status: int) -> JsonObject:
    """An error as Anthropic tells it; what to do next is a part of the message, since clients show nothing else."""
    error = body["error"]
    kind = _ANTHROPIC.get(status, "api_error" if status >= 500 else "invalid_request_error")
    told = sentences(error["message"], error["hint"])
    shaped: JsonObject = {**error, "type": kind, "message": told}
    if error["param"] == "thread":
        # As its package knows that it has to send whole conversations.
        shaped["details"] = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    return {"type": "error", "error": shaped}


def as_ollama(body: ErrorBody, _status: int) -> JsonObject:
    """An error as Ollama tells it: one text."""
    return {"error": sentences(body["error"]["message"], body["error"].get("hint", ""))}


# By the beginning of the address, how its errors are told; all others are told in OpenAI's form.
_SHAPES: dict[str, Callable[[ErrorBody, int], JsonObject]] = {
    "/v1/messages": as_anthropic,
    "/api/": as_ollama,
}


def shaped(path: str, body: ErrorBody, status: int) -> JsonObject:
    """An error as the API of an address tells it; ``body`` is in OpenAI's form."""
    for prefix, shape in _SHAPES.items():
        if path.startswith(prefix):
            return shape(body, status)
    return {**body}
