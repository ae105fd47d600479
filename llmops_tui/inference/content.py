"""What of a request's content is kept: all of it, without what is personal, or nothing but its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Fields of a record that hold what people and models wrote.
_TEXTS = ("messages", "variables", "output", "error")
_EMPTY: dict[str, Any] = {"messages": [], "variables": {}, "output": ""}


def as_kept(body: dict[str, Any], policy: str) -> dict[str, Any]:
    """The record of a request under a policy: ``keep``, ``redact`` or ``off``; it says which, where it is not ``keep``."""
    if policy == "off":
        return body | _EMPTY | _client(body, lambda _: {}) | {"content": "off"}
    if policy == "redact":
        texts = {name: _redacted(body.get(name)) for name in _TEXTS if name in body}
        return body | texts | _client(body, _redacted) | {"content": "redacted"}
    return body


def _client(body: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """What a client said beside the request, changed; which key it had is kept."""
    client = body.get("client")
    return {"client": client | {"metadata": change(client["metadata"])}} if client else {}


def _redacted(value: Any) -> Any:
    from llmops_tui.privacy.replacing import mark, replace_in_text

    if isinstance(value, str):
        return replace_in_text(value, mark)[0]
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        return {key: item if key == "role" else _redacted(item) for key, item in value.items()}
    return value
