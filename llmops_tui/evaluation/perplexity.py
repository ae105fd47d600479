"""Perplexity of a text with a sliding window that predicts each token once."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.model_records import PerplexityRecord
from llmops_tui.evaluation.statistics.bootstrap import Interval
from llmops_tui.evaluation.statistics.intervals import figure_interval
from llmops_tui.evaluation.statistics.studentised import FEWEST
from llmops_tui.inference.client import ModelClient

_AT_ONCE = 4
# Exp of more is no number that a double can be.
_MOST_NATS = 700.0


@dataclass(frozen=True)
class Perplexity:
    """The perplexity of a text under a model.

    Attributes:
        tokens: the tokens that were predicted, as (text, log-probability), in their order; the first of a text has none
            where the model begins with no token of its own.
        scored: how many of them have a log-probability.
        bytes: the length in UTF-8 of what was predicted: a first token without a log-probability does not count.
        words: what blanks part of it, counted as the LM Evaluation Harness does: a blank at an end has an empty word beyond.
    """

    tokens: list[tuple[str, float | None]]
    scored: int
    bytes: int
    words: int
    window: int
    stride: int

    @property
    def total(self) -> float:
        """The log-likelihood of the text, in nats."""
        return sum(p for _, p in self.tokens if p is not None)

    @property
    def value(self) -> float:
        """Exp of the mean negative log-probability a token (Jelinek et al. 1977)."""
        return math.exp(-self.total / self.scored)

    @property
    def bits_per_byte(self) -> float:
        """The log-likelihood in bits over the bytes that were predicted: comparable between tokenizers."""
        return -self.total / math.log(2) / self.bytes

    @property
    def by_word(self) -> float | None:
        """Exp of the negative log-likelihood by word; none where it is beyond all numbers, as of a text without blanks."""
        nats = -self.total / self.words
        return math.exp(nats) if nats < _MOST_NATS else None

    @property
    def by_byte(self) -> float:
        """Exp of the negative log-likelihood by byte: 2 to the power of the bits per byte."""
        return math.exp(-self.total / self.bytes)

    def interval(self, block: int = 64) -> Interval:
        """An interval over blocks of neighbouring tokens, which depend on each other (Künsch 1989).

        It is that of figures of a whole set: of fewer than ten blocks it is too few to say.
        """
        values = np.array([p for _, p in self.tokens if p is not None])
        parts = np.array_split(values, max(2, len(values) // block))
        rows = np.array([[part.sum(), len(part)] for part in parts])
        enough = f"{FEWEST * block:,} tokens"
        return figure_interval(
            rows, lambda sums: np.exp(-sums[:, 0] / sums[:, 1]), resamples=2000, bounds=(1.0, math.inf), enough=enough
        )

    def as_dict(self, *, tokens: bool = False) -> PerplexityRecord:
        """For JSON; with the tokens on request."""
        i = self.interval()
        record: PerplexityRecord = {
            "perplexity": self.value,
            "low": i.low,
            "high": i.high,
            "too_few": i.too_few,
            "needed": i.needed,
            "word_perplexity": self.by_word,
            "byte_perplexity": self.by_byte,
            "bits_per_byte": self.bits_per_byte,
            "log_likelihood": self.total,
            "tokens": self.scored,
            "words": self.words,
            "bytes": self.bytes,
            "window": self.window,
            "stride": self.stride,
        }
        if tokens:
            record["each"] = [[t, p] for t, p in self.tokens]
        return record


async def perplexity(
    client: ModelClient, text: str, *, window: int = 0, stride: int = 0, told: Callable[[float], None] | None = None
) -> Perplexity:
    """The perplexity of a text; ``window`` 0 takes the model's context, ``stride`` 0 a whole window.

    With a stride as long as the window each window begins anew, as in the LM Evaluation Harness; with a shorter one tokens
    have more to go by, and it takes longer.

    Raises:
        InputRefusedError: ``too_short``, ``bad_window``. LlmopsError: the model returns no log-probabilities.
    """
    counted = await client.complete("/tokenize", {"content": text, "add_special": False})
    ids: list[int] = counted["tokens"]
    context = int((await client.health())["n_ctx"])
    # What the tokenizer puts before every text, which the first token is predicted from.
    first: list[int] = (await client.complete("/tokenize", {"content": "", "add_special": True}))["tokens"][:1]
    size = window or min(context, 2048)
    if size > context or size < 2:
        raise InputRefusedError(
            "bad_window", f"a window of {size} tokens is larger than the model's context of {context}"
        )
    step = stride or size
    if not 1 <= step <= size:
        raise InputRefusedError("bad_window", f"a stride of {step} is not valid for a window of {size}")
    if len(ids) < 2:
        raise InputRefusedError("too_short", "the text has fewer than two tokens")
    room = size - 1
    spans: list[tuple[int, int, int]] = []
    done = 0
    while done < len(ids):
        # The token before the window is its first; it is given, not predicted.
        end = min(len(ids), done + (room if not spans else min(step, room)))
        begin = max(0, end - room)
        spans.append((begin, done, end))
        done = end
    found: list[tuple[str, float | None]] = []
    for start in range(0, len(spans), _AT_ONCE):
        for span in spans[start : start + _AT_ONCE]:
            found += await _span(client, ids, first, span)
        if told is not None:
            told(min(1.0, spans[min(start + _AT_ONCE, len(spans)) - 1][2] / len(ids)))
    scored = sum(p is not None for _, p in found)
    rest = predicted_part(text, found)
    return Perplexity(found, scored, len(rest.encode()), len(re.split(r"\s+", rest)), size, step)


def predicted_part(text: str, tokens: Sequence[tuple[str, float | None]]) -> str:
    """What is predicted of a text: all of it but the tokens at its beginning that have no log-probability."""
    given = "".join(token for token, _ in itertools.takewhile(lambda one: one[1] is None, tokens))
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text, given, strict=False))
    return text[sum(1 for _ in same) :]


async def _span(
    client: ModelClient, ids: list[int], first: list[int], span: tuple[int, int, int]
) -> list[tuple[str, float | None]]:
    """Tokens ``done`` to ``end`` with what went before from ``begin``, as (text, log-probability)."""
    begin, done, end = span
    before = ids[begin - 1 : begin] if begin else first
    prompt = before + ids[begin:end]
    at = len(before) + done - begin
    body = {
        "prompt": [prompt],
        "echo": True,
        "logprobs": 0,
        "max_tokens": 0,
        "temperature": 0.0,
        "logprob_start_len": at,
    }
    told = (await client.complete("/v1/completions", body))["choices"][0].get("logprobs")
    if not told:
        raise LlmopsError("no_logprobs", f"{client.model!r} returns no log-probabilities", "Choose another model.")
    tokens, values = told["tokens"][-(end - done) :], told["token_logprobs"][-(end - done) :]
    return list(zip(tokens, values, strict=True))
