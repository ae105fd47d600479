"""Judges of answers in use, kept by name: a model with a rubric, whose grades are a check that labels correct.

Labels are of the name. So what a name asks for stays as it was as long as there are labels of it; which model asks may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.metrics.model_graded import Judge, names_something
from llmops_tui.monitoring.judge_table import JudgeTable, made_judge
from llmops_tui.names import RULE, is_name
from llmops_tui.quality.checks import CHECKS, Exchange
from llmops_tui.quality.labels import LabelStore

if TYPE_CHECKING:
    from llmops_tui.evaluation.metrics.model_graded import Asking
    from llmops_tui.workspace.event_log import EventLog


class JudgeRecord(TypedDict):
    """As JSON: what it grades by, from ``low``, the worst, to ``high``."""

    judge: str
    model: str
    rubric: str
    low: int
    high: int


@dataclass(frozen=True)
class KeptJudge:
    """A judge by name; what it finds is how far an answer is from the best grade, from 0 to 1."""

    name: str
    metric: Judge

    @property
    def about(self) -> str:
        """What it counts."""
        return f"how far answers are from the best grade of {self.metric.model}: {' '.join(self.metric.rubric.split())[:120]}"

    def as_record(self) -> JudgeRecord:
        """For JSON."""
        one = self.metric
        return {"judge": self.name, "model": one.model, "rubric": one.rubric, "low": one.low, "high": one.high}

    async def judge(self, exchange: Exchange, asking: Asking) -> float | None:
        """From 0, the best grade, to 1, the worst; none where the judge says nothing that can be used.

        Raises:
            LlmopsError: it cannot be asked.
        """
        case = Case(
            0, exchange.trace, variables=exchange.variables, messages=exchange.messages, context=exchange.context
        )
        answer = Answer(text=exchange.output, asked=exchange.messages)
        value = (await self.metric.score_by_asking(case, answer, asking)).value
        return None if value is None else (self.metric.high - value) / (self.metric.high - self.metric.low)


class JudgeStore:
    """The judges of a workspace."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log
        self._table = JudgeTable(event_log)

    def keep(self, name: str, model: str, rubric: str, low: int = 1, high: int = 5) -> KeptJudge:
        """Keep a judge; the caller knows that there is such a model.

        Raises:
            InputRefusedError: ``bad_name``; ``name_taken``: a check has this name; ``judge_labelled``: it asked for something
                else, and there are labels of that; ``bad_metric``: the rubric or the scale is none.
        """
        if not is_name(name):
            raise InputRefusedError("bad_name", f"{name[:60]!r} is no name for a judge", RULE)
        if name in {one.name for one in CHECKS}:
            raise InputRefusedError("name_taken", f"{name!r} is a check already", "Choose another name.")
        if names_something(rubric):
            told = "the rubric is a template, and an answer in use has no values for it"
            raise InputRefusedError(
                "bad_metric", told, "Say it in words; the judge sees the conversation and the answer."
            )
        made = KeptJudge(name, made_judge(name, {"model": model, "rubric": rubric, "low": low, "high": high}))
        if labels := len(LabelStore(self._event_log).of(name)):
            # Of one that was removed, too: they answer what it asked for.
            before = self._table.read(removed=True).found.get(name)
            if before is None or _asked(before) != _asked(made.metric):
                asked = "something else" if before is None else repr(before.rubric[:200])
                told = f"{name!r} has {labels:,} labels of what it asked for until now: {asked}"
                raise InputRefusedError("judge_labelled", told, "Keep the new one under another name.")
        self._table.write(name, made.metric)
        return made

    def all(self) -> list[KeptJudge]:
        """All of them that can be read, by name."""
        return [KeptJudge(name, metric) for name, metric in self._table.read().found.items()]

    def damaged(self) -> Mapping[str, LlmopsError]:
        """Those that cannot be read, by name, with what is wrong with each."""
        return self._table.read().damaged

    def get(self, name: str) -> KeptJudge:
        """One by name.

        Raises:
            NotFoundError: there is none.
            LlmopsError: ``row_damaged``.
        """
        read = self._table.read()
        if name in read.damaged:
            raise read.damaged[name]
        if name not in read.found:
            raise NotFoundError("judge", name, "llmops quality list shows them; llmops quality judge NAME keeps one.")
        return KeptJudge(name, read.found[name])

    def remove(self, name: str) -> KeptJudge:
        """Forget one; labels of its name stay, and what they are labels of.

        Raises:
            NotFoundError: there is none.
        """
        found = self.get(name)
        self._table.write(name, found.metric, removed=True)
        return found


def _asked(one: Judge) -> tuple[str, int, int]:
    return one.rubric, one.low, one.high
