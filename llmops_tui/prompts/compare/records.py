"""Answers of columns while they come, and comparisons as ``--json`` has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.client import StreamEnd
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.inference.wire import Timings
from llmops_tui.prompts.compare.running import ColumnStep


class ColumnShown(TypedDict):
    """A column: its title tells what is not the same in all."""

    title: str
    prompt: str
    model: str
    parameters: SamplingRecord


class AnswerShown(TypedDict):
    """What a column answered; ``run`` is its trace, or over a dataset its evaluation run."""

    run: str
    text: str
    thinking: str
    finish_reason: str
    error: str
    timing: NotRequired[Timings]


class ComparedRow(TypedDict):
    """One input with the answers to it; ``apart`` goes from 0, all say the same, to 1."""

    case: int | None
    variables: dict[str, object]
    answers: list[AnswerShown]
    apart: float | None


class Compared(TypedDict):
    """Columns side by side."""

    columns: list[ColumnShown]
    rows: list[ComparedRow]


@dataclass
class Answering:
    """The answer of one column, as far as it is."""

    run: str = ""
    version: int | None = None
    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    end: StreamEnd | None = None
    error: LlmopsError | None = None

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self.pieces)

    def take(self, step: ColumnStep) -> None:
        """Note what happened in its column."""
        self.error = step.error or self.error
        if (progress := step.step) is None:
            return
        self.run = progress.run_id or self.run
        if progress.version is not None:
            self.version = progress.version.number
        if progress.stage == "text":
            self.pieces.append(progress.text)
        elif progress.stage == "thinking":
            self.thoughts.append(progress.text)
        elif progress.end is not None:
            self.end = progress.end

    def as_dict(self) -> AnswerShown:
        """The answer as JSON."""
        shown: AnswerShown = {
            "run": self.run,
            "text": self.text,
            "thinking": "".join(self.thoughts),
            "finish_reason": self.end.finish_reason if self.end is not None else "",
            "error": self.error.told if self.error is not None else "",
        }
        return {**shown, "timing": self.end.timings} if self.end is not None else shown
