"""What a model's server is told of the served prompt that a request was made of, for its trace and its key's scope.

And what was retrieved for it, which the trace has as that of any prompt.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import cast

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.events import TracedPrompt, TracedRetrieval

# Believed beside the workspace's own key, over its socket.
PROMPT = b"x-llmops-served-prompt"
RETRIEVED = b"x-llmops-retrieved"
# Told the client beside the answer.
LEFT_OUT = b"x-llmops-left-out"
_MOST_TOLD = 5
# A header has room for so many bytes of values; the messages have all of a longer one.
_MOST_BYTES = 6000
_MOST_OF_ONE = 200
# What clients and proxies take of one header's line at least, and of that a text of one passage.
_MOST_LEFT_OUT = 4000
_MOST_ESCAPED = 1500
_CUT = "; the message has them)"
# Of what was retrieved, packed; each passage takes some eighty bytes.
_MOST_PACKED = 40_000
_MOST_UNPACKED = 4_000_000


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


def retrieved_header(name: str, found: Sequence[TracedRetrieval]) -> list[tuple[bytes, bytes]]:
    """The header that tells what was retrieved for a request of a served prompt; none where nothing was.

    Raises:
        LlmopsError: ``retrieval_failed``: it is more than a trace is told, some five hundred passages.
    """
    if not found:
        return []
    packed = base64.b64encode(zlib.compress(json.dumps(found).encode(), 9))
    if len(packed) > _MOST_PACKED:
        count = sum(len(one["passages"]) for one in found)
        told = f"{name} retrieves {count:,} passages for one request, more than its trace has room for"
        raise LlmopsError("retrieval_failed", told, "Have it retrieve fewer: some five hundred have room.")
    return [(RETRIEVED, packed)]


def left_out_header(found: Sequence[TracedRetrieval]) -> list[tuple[bytes, bytes]]:
    """The header that tells a client which passages its prompt was not given, as JSON; none where it was given all.

    Each has its index, document and place, and the words that try to command the model; those that have no room are counted.
    """
    gone: list[dict[str, object]] = [
        {
            "index": one["index"], "document": _escaped_within(passage["document"]), "start": passage["start"],
            "end": passage["end"], "left_out": _escaped_within(passage["left_out"]),
        }
        for one in found
        for passage in one["passages"]
        if "left_out" in passage
    ]  # fmt: skip
    if not gone:
        return []
    told, count = gone, len(gone)
    while count > _MOST_TOLD or (count > 1 and len(json.dumps(told)) > _MOST_LEFT_OUT):
        count -= 1
        told = [*gone[:count], {"more": len(gone) - count}]
    # Escaped, all of it is printable, whatever a document has.
    return [(LEFT_OUT, json.dumps(told).encode("ascii"))]


def _escaped_within(text: str) -> str:
    """The beginning of a text that has room: escaped, a character has up to twelve bytes."""
    text = text[:_MOST_OF_ONE]
    while len(json.dumps(text)) > _MOST_ESCAPED:
        text = text[: len(text) * 3 // 4]
    return text


def traced_retrievals(value: bytes) -> tuple[TracedRetrieval, ...]:
    """What the header :data:`RETRIEVED` says.

    Raises:
        ValueError: it was not written so.
    """
    try:
        packed = zlib.decompressobj()
        found = json.loads(packed.decompress(base64.b64decode(value, validate=True), _MOST_UNPACKED))
    except zlib.error as error:
        raise ValueError("it is not packed as it should be") from error
    whole = TracedRetrieval.__required_keys__
    if not isinstance(found, list) or not all(isinstance(one, dict) and whole == one.keys() for one in found):
        raise ValueError("it is no list of searches")
    return tuple(cast("list[TracedRetrieval]", found))


def _cut(value: object, room: int) -> object:
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= room else f"{text[:room]}… ({len(text):,} characters{_CUT}"


def was_cut(value: str) -> bool:
    """Whether a value may be one that the header has not all of."""
    return value.endswith(_CUT)
