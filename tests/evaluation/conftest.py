"""Evaluations of the sample, and runs made up for comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.run import Asked, EvalRun
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops

MANIFEST: dict[str, Any] = {
    "cases_sha256": "c", "rendered_sha256": "r", "prompt_sha256": ["p"], "template_sha256": "t", "model_sha256": "m",
    "adapter_sha256": None, "engine": "e", "parallel": 4, "parameters": {"temperature": 0, "seed": 1}, "repeats": 1, "judges": {},
    "response_format_sha256": "f", "raw": False, "metrics": {"exact": "x", "f1": "y"},
}  # fmt: skip


@pytest.fixture
def llmops(sample: Workspace) -> Llmops:
    """The command line on a workspace filled with the sample."""
    return Llmops(sample)


def case(index: int, **fields: Any) -> Case:
    return Case(index, f"key{index}", expected="yes", **({"group": f"key{index}", "origin": f"key{index}"} | fields))


def results(values: Sequence[float | None], name: str = "exact", **fields: Any) -> list[Result]:
    return [
        Result(case(i, **fields), 0, Answer(text=f"answer {v}"), {name: Score(v, "" if v else "wrong")})
        for i, v in enumerate(values)
    ]


def made_run(name: str = "a", **manifest: Any) -> EvalRun:
    return EvalRun(
        name, "s", 1, "job", Asked("p@1", "m"), MANIFEST | manifest, {"metrics": {}}, "", 1.0, 2.0, Path("nowhere")
    )


EXACT = make_metric("exact")
