"""What people grade answers by: a criterion with its scale, of a metric of the runs or of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.model_graded import Judge

OWN = "quality"
_SCALE = re.compile(r"(\d)\s*(?:-|–|\.\.)\s*(\d)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,59}")


@dataclass(frozen=True)
class Criterion:
    """A name, what is asked, and the whole numbers from ``low`` to ``high``, each of which is a key.

    ``metric`` says that the runs have a metric of this name, which people are compared with.
    """

    name: str
    question: str
    low: int
    high: int
    metric: str = ""

    @property
    def points(self) -> range:
        """The grades."""
        return range(self.low, self.high + 1)

    def grade(self, text: str) -> int:
        """A grade from a text.

        Raises:
            InputRefusedError: ``bad_grade``: it is not on the scale.
        """
        if re.fullmatch(r"\d", text.strip()) and int(text) in self.points:
            return int(text)
        raise InputRefusedError(
            "bad_grade", f"{text!r} is not a grade of {self.name}", f"Grades are {self.low} to {self.high}."
        )


def read_scale(text: str) -> tuple[int, int]:
    """A scale such as ``1-5``.

    Raises:
        InputRefusedError: ``bad_scale``.
    """
    found = _SCALE.fullmatch(text.strip())
    if found is None or int(found[1]) >= int(found[2]):
        raise InputRefusedError("bad_scale", f"{text!r} is not a scale", "Write two digits, such as 1-5 or 0-1.")
    return int(found[1]), int(found[2])


def criterion_of(metrics: Sequence[Metric], name: str = "", scale: str = "", question: str = "") -> Criterion:
    """The criterion of this name: a metric of the runs, else one of people's own.

    Without a name it is the first judge of the runs, with its rubric and scale; without a judge, *quality* from 1 to 5.

    Raises:
        InputRefusedError: ``bad_scale``, ``bad_criterion``: a metric has its scale, and not every metric is like a grade.
    """
    meant = next((m for m in metrics if m.called == name), None) if name else None
    if not name:
        meant = next((m for m in metrics if isinstance(m, Judge)), None)
    if meant is None:
        called = name or OWN
        if not _NAME.fullmatch(called):
            raise InputRefusedError("bad_criterion", f"{called!r} cannot be the name of a criterion")
        low, high = read_scale(scale or "1-5")
        return Criterion(called, question or "How good is the answer?", low, high)
    if scale or question:
        what = "--scale" if scale else "--question"
        raise InputRefusedError(
            "bad_criterion",
            f"{what}: {meant.called} is a metric of the runs and has its own",
            "Choose another --criterion for a scale of your own.",
        )
    if isinstance(meant, Judge):
        return Criterion(meant.called, meant.rubric, meant.low, meant.high, meant.called)
    if meant.binary:
        return Criterion(meant.called, f"Is this 1 or 0: {_first_sentence(meant)}", 0, 1, meant.called)
    raise InputRefusedError(
        "bad_criterion",
        f"{meant.called} is neither a judge nor right or wrong: people's grades cannot be compared with it",
        "Choose a judge or a metric of 0 and 1, or a name that is no metric, with --scale.",
    )


def _first_sentence(metric: Metric) -> str:
    return re.split(r"(?<=[.;:])\s", (metric.__doc__ or metric.called).strip(), maxsplit=1)[0]
