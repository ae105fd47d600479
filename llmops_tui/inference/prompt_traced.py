"""What a model's server is told of the served prompt that a request was made of, for its trace and its key's scope."""

from __future__ import annotations

import json
from collections.abc import Mapping

from llmops_tui.workspace.events import TracedPrompt

# Believed beside the workspace's own key, over its socket.
PROMPT = b"x-llmops-served-prompt"
# A header has room for so many bytes of values; the messages have all of a longer one.
_MOST_BYTES = 6000
_MOST_OF_ONE = 200
_CUT = "; the message has them)"


def prompt_header(name: str, version: int, sha256: str, variables: Mapping[str, object]) -> tuple[bytes, bytes]:
    """The header that tells of a prompt's version; values that are long are cut, and say so."""
    told: TracedPrompt = {"name": name, "version": version, "sha256": sha256, "variables": dict(variables)}
    value = json.dumps(told)
    if len(value) > _MOST_BYTES:
        room = max(20, min(_MOST_OF_ONE, _MOST_BYTES // (6 * max(1, len(variables)))))
        told["variables"] = {key: _cut(one, room) for key, one in list(variables.items())[:_MOST_OF_ONE]}
        if (more := len(variables) - _MOST_OF_ONE) > 0:
            told["variables"]["…"] = f"({more:,} more{_CUT}"
        value = json.dumps(told)
    return PROMPT, value.encode()


def traced_prompt(value: bytes) -> TracedPrompt:
    """What the header :data:`PROMPT` says.

    Raises:
        ValueError: it was not written so.
    """
    told = json.loads(value)
    kinds = {"name": str, "version": int, "sha256": str, "variables": dict}
    if not isinstance(told, dict) or told.keys() != kinds.keys():
        raise ValueError("it is no prompt's name, version, hash and variables")
    if any(type(told[name]) is not kind for name, kind in kinds.items()):
        raise ValueError("a part of it is of another kind")
    return {"name": told["name"], "version": told["version"], "sha256": told["sha256"], "variables": told["variables"]}


def _cut(value: object, room: int) -> object:
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= room else f"{text[:room]}… ({len(text):,} characters{_CUT}"


def was_cut(value: str) -> bool:
    """Whether a value may be one that the header has not all of."""
    return value.endswith(_CUT)
