"""Records of models measured without a suite: perplexity, and what quantization loses."""

from __future__ import annotations

from typing import Any, TypedDict


class Measured(TypedDict, total=False):
    """A quantized model compared with the one it was made of: perplexities, their paired ratio, KL in nats a token."""

    tokens: int
    reference_perplexity: float
    perplexity: float
    ratio: float
    ratio_low: float
    ratio_high: float
    kl: float
    kl_p99: float
    same_top: float


class _Rung(TypedDict):
    model: str
    type: str
    size_bytes: int


class MeasuredLine(TypedDict, total=False):
    """A line of the process that measures: how many windows of how many are done, or what came of it."""

    done: int
    of: int
    result: Measured


class Rung(_Rung, Measured, total=False):
    """A step of a quantization ladder; the first has no measurements, the others are compared with it."""


class _Ladder(TypedDict):
    model: str
    file: str
    steps: list[Rung]


class Ladder(_Ladder, total=False):
    """The quantization ladder of a model on a text, with the runs of a suite where one was asked for."""

    runs: list[str]


class _PerplexityRecord(TypedDict):
    perplexity: float
    low: float
    high: float
    too_few: bool
    needed: str
    word_perplexity: float | None
    byte_perplexity: float
    bits_per_byte: float
    log_likelihood: float
    tokens: int
    words: int
    bytes: int
    window: int
    stride: int


class PerplexityRecord(_PerplexityRecord, total=False):
    """The perplexity of a text; ``each`` is (token, log-probability), the first of a window having none."""

    each: list[list[Any]]
