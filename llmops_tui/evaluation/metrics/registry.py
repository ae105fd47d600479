"""All metrics by type, and how a suite's entry becomes one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import pydantic

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.corpus_level import Bleu, Calibration, Chrf, Classification
from llmops_tui.evaluation.metrics.costs import Latency, Tokens, TokensPerSecond
from llmops_tui.evaluation.metrics.custom import Custom
from llmops_tui.evaluation.metrics.likelihood import Choice
from llmops_tui.evaluation.metrics.model_graded import EmbeddingSimilarity, Judge
from llmops_tui.evaluation.metrics.structured import JsonFields, JsonSchema, JsonValid
from llmops_tui.evaluation.metrics.texts import (
    Contains,
    EditDistance,
    Exact,
    Length,
    Matches,
    Normalised,
    Numeric,
    Refusal,
    Rouge,
    TokenF1,
)
from llmops_tui.evaluation.metrics.trust import Canary, Copied, Grounded, PersonalData, Toxicity

METRICS: dict[str, type[Metric]] = {
    kind.model_fields["type"].default: kind
    for kind in (
        Exact, Normalised, Contains, Matches, Numeric, TokenF1, EditDistance, Rouge, Bleu, Chrf, JsonValid, JsonSchema,
        JsonFields, Classification, Choice, Calibration, Judge, EmbeddingSimilarity, Length, Refusal, Toxicity, PersonalData,
        Canary, Grounded, Copied, Latency, TokensPerSecond, Tokens, Custom,
    )
}  # fmt: skip
# Measured with every run, asked for or not.
ALWAYS: tuple[Metric, ...] = (Latency(), TokensPerSecond(), Tokens())


def make_metric(entry: Any, where: str = "metrics") -> Metric:
    """A metric from a suite's entry: a type, or a mapping with one.

    Raises:
        InputRefusedError: ``bad_metric``: it is not known, or a setting of it is wrong.
    """
    given = {"type": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict) or not isinstance(given.get("type"), str):
        raise InputRefusedError("bad_metric", f"{where}: {entry!r} is no metric", "Such as {type: exact}.")
    kind = METRICS.get(given["type"])
    if kind is None:
        close = get_close_matches(given["type"], METRICS, 1)
        hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(METRICS)}."
        raise InputRefusedError("bad_metric", f"{where}: there is no metric {given['type']!r}", hint)
    try:
        return kind.model_validate(given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputRefusedError(
            "bad_metric",
            f"{where}: {given['type']}: {place}: {first['msg']}",
            f"It takes {', '.join(kind.model_fields)}.",
        ) from error
