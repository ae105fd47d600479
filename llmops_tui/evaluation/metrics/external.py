"""A metric of another harness: scored there, kept and compared here."""

from __future__ import annotations

from typing import ClassVar, Literal

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.records import Facts


class External(Metric):
    """A task's own metric, as another harness computed it (``llmops eval task``); asked here it has no score.

    Its settings are all that decides the score: the harness with its version, the task with its version, the metric, the
    filter that reads answers, how many examples are shown, and whether a chat template is used.
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

    def score(self, case: Case, answer: Answer) -> Score:
        """None: the harness scores."""
        del case, answer
        return Score(None, f"{self.harness} scores it: llmops eval task {self.task}")

    def facts(self, scores: object) -> Facts:
        """Where it comes from."""
        del scores
        return {"signature": self.told}
