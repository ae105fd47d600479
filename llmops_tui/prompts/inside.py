"""An answer looked into: its tokens with alternatives and entropy, and the prompt by message."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmops_tui.inference.client import StreamEnd
from llmops_tui.inference.wire import TokenProbability, TopToken

ALTERNATIVES = 10
"""How many other tokens are asked for beside each."""


@dataclass(frozen=True)
class TokenSeen:
    """A token of an answer, with the likeliest at its place.

    Attributes:
        id: its number in the vocabulary; none where the server does not tell it.
        raw: its bytes, which may be a part of a character.
        logprob: the natural logarithm of its probability, before any sampler.
        top: the likeliest tokens, the likeliest first; the token itself is among them or not.
    """

    id: int | None
    raw: bytes
    logprob: float
    top: tuple[TokenSeen, ...] = ()

    @property
    def probability(self) -> float:
        """From 0 to 1."""
        return math.exp(min(0.0, self.logprob))

    @property
    def text(self) -> str:
        """As it is shown: bytes of a character that is not whole as numbers."""
        try:
            return self.raw.decode()
        except UnicodeDecodeError:
            return "".join(f"‹{byte:02x}›" if byte > 127 else chr(byte) for byte in self.raw)

    @property
    def entropy(self) -> float:
        """Bits of Shannon's entropy at its place, of the known alternatives and all others as one: at most too low."""
        known = [token.probability for token in self.top]
        rest = max(0.0, 1.0 - sum(known))
        return -sum(p * math.log2(p) for p in [*known, rest] if p > 0)


def seen(told: TokenProbability) -> TokenSeen:
    """A token as the screens take it."""
    top = tuple(_seen(one) for one in told.get("top_logprobs") or ())
    plain = _seen(told)
    return TokenSeen(plain.id, plain.raw, plain.logprob, top)


def _seen(told: TopToken) -> TokenSeen:
    raw = told.get("bytes")
    return TokenSeen(told.get("id"), bytes(raw) if raw is not None else told["token"].encode(), told["logprob"])


def begun_with(tokens: Sequence[TokenSeen], at: int, other: TokenSeen) -> tuple[int, ...] | None:
    """The ids of an answer up to a place, and another token there; none where the server tells no ids."""
    ids = [token.id for token in [*tokens[:at], other]]
    return tuple(i for i in ids if i is not None) if None not in ids else None


@dataclass(frozen=True)
class PromptPart:
    """A part of the rendered prompt: a message's text, or what the template writes around messages (no ``role``)."""

    role: str
    text: str
    tokens: int


def prompt_parts(messages: Sequence[Mapping[str, str]], pieces: Sequence[str]) -> list[PromptPart]:
    """The rendered prompt, given as the texts of its tokens, by message; a token belongs to the part where it begins.

    A message that the template changed, so that its text is not found, is part of what stands around messages.
    """
    text = "".join(pieces)
    borders: list[tuple[int, int, str]] = []
    at = 0
    for message in messages:
        said = message.get("content", "")
        for wanted in (said, said.strip()):
            begin = text.find(wanted, at) if wanted else -1
            if begin >= 0:
                borders.append((begin, begin + len(wanted), message.get("role", "")))
                at = begin + len(wanted)
                break
    spans: list[tuple[int, int, str]] = []
    at = 0
    for begin, end, role in borders:
        spans += [(at, begin, "")] if begin > at else []
        spans.append((begin, end, role))
        at = end
    spans += [(at, len(text), "")] if at < len(text) else []
    counts = [0] * len(spans)
    place = number = 0
    for piece in pieces:
        while number < len(spans) - 1 and place >= spans[number][1]:
            number += 1
        if counts:
            counts[number] += 1
        place += len(piece)
    return [PromptPart(role, text[begin:end], count) for (begin, end, role), count in zip(spans, counts, strict=True)]


def why_it_ended(end: StreamEnd) -> str:
    """Why an answer stopped, in words."""
    told = end.timings
    words = {
        "stop": "the model ended it",
        "length": "it reached max_tokens or the end of the context",
        "tool_calls": "it called a tool",
        "cancelled": "it was cancelled",
        "error": "it failed",
    }
    found = words.get(end.finish_reason, end.finish_reason)
    return f"{found}; its thinking was closed by the budget" if told.get("thinking_closed") else found
