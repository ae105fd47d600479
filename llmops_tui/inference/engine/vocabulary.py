"""The special tokens of a loaded vocabulary: their texts, and how llama.cpp reads them."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import llama_cpp

from llmops_tui.inference.plain_text import Special

_CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
_SPECIAL = _CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED


def special_tokens(vocab: Any, size: int) -> list[Special]:
    """The tokens that llama.cpp looks for in texts before it tokenizes what is between them."""
    found = []
    # A vocabulary may have a quarter of a million tokens: the loop over all of them is map's.
    for token, attributes in enumerate(map(llama_cpp.llama_vocab_get_attr, repeat(vocab), range(size))):
        if attributes & _SPECIAL:
            raw: bytes = llama_cpp.llama_vocab_get_text(vocab, token)
            found.append(
                Special(
                    raw.decode("utf-8", "replace"),
                    control=bool(attributes & _CONTROL),
                    strips_before=bool(attributes & llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP),
                    strips_behind=bool(attributes & llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP),
                )
            )
    return found
