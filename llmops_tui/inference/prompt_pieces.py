"""The beginnings of a prompt in pieces, by which it is known who has evaluated most of it before."""

from __future__ import annotations

import hashlib
import json

from llmops_tui.inference.engine_wire import Call

# Of a beginning so many characters, or tokens, are one piece.
_CHARACTERS, _TOKENS = 64, 16
# Beyond so many pieces, some 16,000 tokens, two texts are taken for one.
_MOST_PIECES = 1024


def pieces_of(request: Call) -> list[bytes]:
    """The beginnings of what a request has evaluated, each with what stands before it; an adapter has its own.

    A piece is 16 bytes of the SHA-256 of all that it ends. Of what leaves nothing behind, such as counting, there are none.
    """
    if request["op"] != "generate":
        return []
    adapter = request.get("adapter", "")
    digest = hashlib.sha256(f"{adapter}\0".encode())
    text = request.get("text") or ""
    if fill := request.get("fill"):
        before = fill["before"]
        text, tokens = (before, []) if isinstance(before, str) else ("", before)
    else:
        tokens = request.get("tokens", [])
    found = []
    if text:
        parts = (text[n : n + _CHARACTERS].encode("utf-8", "surrogatepass") for n in range(0, len(text), _CHARACTERS))
    else:
        parts = (json.dumps(tokens[n : n + _TOKENS]).encode() for n in range(0, len(tokens), _TOKENS))
    for part in parts:
        digest.update(part)
        found.append(digest.digest()[:16])
        if len(found) == _MOST_PIECES:
            break
    return found
