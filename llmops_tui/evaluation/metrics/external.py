"""A metric of another harness: scored there, kept and compared here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.records import Facts
from llmops_tui.evaluation.statistics.bootstrap import Floats, mean_of, rows_of

Aggregation = Literal["mean", "perplexity", "harness"]


class External(Metric):
    """A task's own metric, as another harness computed it (``llmops eval task``); asked here it has no score.

    Its settings are all that decides the score: the harness with its version, the task with its version, the metric, the
    filter that reads answers, how many examples are shown, and whether a chat template is used.

    ``aggregation`` says how the figure is made of scores: their mean, or of perplexities the geometric mean. Any other is the
    harness's alone: then no single case has a score, and the figure is kept as it was told, without an interval.
    """

    type: Literal["external"] = "external"
    harness: str
    task: str
    task_version: str = ""
    metric: str
    filter: str = ""
    fewshot: int = 0
    chat: bool = False
    more_is_better: bool = True
    aggregation: Aggregation = "mean"
    plain: ClassVar[bool] = True

    @property
    def better(self) -> int:  # type: ignore[override]
        """1 where more is, else -1."""
        return 1 if self.more_is_better else -1

    @property
    def told(self) -> str:
        """What it is, as other reports name it."""
        version = f" version {self.task_version}" if self.task_version else ""
        read = f", {self.filter}" if self.filter else ""
        how = f"{self.fewshot} examples{', chat template' if self.chat else ''}"
        return f"{self.harness}: {self.task}{version}, {self.metric}{read}, {how}"

    @property
    def whole_set(self) -> bool:  # type: ignore[override]
        """Whether the figure is no mean of scores."""
        return self.aggregation != "mean"

    def rows(self, scores: Sequence[Score]) -> Floats:
        """Of perplexities their logarithms."""
        values = np.array([score.value for score in scores], np.float64)
        return rows_of(np.log(values) if self.aggregation == "perplexity" else values)

    def figure(self, sums: Floats) -> Floats:
        """Of perplexities exp of the mean logarithm, as of one text made of all."""
        mean = mean_of(sums)
        return np.asarray(np.exp(mean)) if self.aggregation == "perplexity" else mean

    def score(self, case: Case, answer: Answer) -> Score:
        """None: the harness scores."""
        del case, answer
        return Score(None, f"{self.harness} scores it: llmops eval task {self.task}")

    def facts(self, scores: object) -> Facts:
        """Where it comes from."""
        del scores
        return {"signature": self.told}
