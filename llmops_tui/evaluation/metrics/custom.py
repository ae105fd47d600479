"""Metrics of other packages, found by entry point."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score

GROUP = "llmops_tui.metrics"


class Custom(Metric):
    """A function of an installed package, registered under the entry point group ``llmops_tui.metrics``.

    It is called with the answer's text, the expected value and the variables, and returns a number, or a number and a
    reason. A suite names the entry point; it cannot name a file, so that reading a suite never runs its author's code.
    """

    type: Literal["python"] = "python"
    entry: str
    needs_expected: ClassVar[bool] = False

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or self.entry

    def problem(self) -> str:
        """That no package registers the entry point, where none does."""
        known = [point.name for point in entry_points(group=GROUP)]
        if self.entry in known:
            return ""
        return f"no installed package registers {self.entry!r} under {GROUP!r}; there is {', '.join(known) or 'none'}"

    def score(self, case: Case, answer: Answer) -> Score:
        """What the function says; an exception of its is told as a score that it cannot give."""
        point = next((p for p in entry_points(group=GROUP) if p.name == self.entry), None)
        if point is None:
            return Score(None, self.problem())
        try:
            found: Any = point.load()(answer.text, case.expected, case.variables)
        except Exception as error:  # noqa: BLE001  foreign code may raise anything; here it can only become a text
            return Score(None, f"{type(error).__name__}: {error}"[:300])
        value, reason = found if isinstance(found, tuple) else (found, "")
        return Score(float(value), str(reason))
