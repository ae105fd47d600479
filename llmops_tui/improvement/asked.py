"""Plans from what a person names: a suite, or a dataset and a metric; what beside them a prompt's variables need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.columns.over_dataset import paths_for
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.suite import Suite, check_suite

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import AnswerSettings, defaults_of


def suite_of_data(
    prompt: str,
    variables: Sequence[str],
    data: DatasetVersion,
    metric: JsonObject | str,
    *,
    paths: Mapping[str, str],
    expected: str = "",
    parameters: JsonObject | None = None,
    settings: AnswerSettings | None = None,
) -> Suite:
    """A suite that asks a prompt the rows of a dataset version, and scores by one metric.

    A variable is the column of its name, and one alone the only text that a row has; what is expected is the dataset's
    answer, or the column ``expected`` names. How the prompt's version is sampled by its ``settings`` is left to them.

    Raises:
        InputRefusedError: ``variables_unmatched``, ``bad_metric``, ``nothing_expected``.
    """
    made = make_metric(metric, "metric")
    if made.needs_expected and not expected and data.kind in {"tabular", "text"}:
        columns = ", ".join(column.name for column in data.columns)
        raise InputRefusedError(
            "nothing_expected",
            f"{made.called} compares with what is expected, and {data.ref} does not say which column that is ({columns})",
            "Name it with --expected.",
        )
    held = settings.parameters.model_fields_set if settings is not None else set()
    usual = {"temperature": 0, "max_tokens": 256, "seed": 1}
    body = {
        "cases": data.ref,
        "variables": paths_for(variables, data, paths, defaults_of(settings)),
        "expected": expected,
        "metrics": [metric],
        "parameters": {**{name: value for name, value in usual.items() if name not in held}, **(parameters or {})},
    }
    return check_suite(body, re.sub(r"[^A-Za-z0-9._-]", "-", f"improve-{prompt}")[:100])
