"""The record of a run: losses, speed, samples and events, read from its growing log."""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from llmops_tui.regular_files import open_regular

FILE = "metrics.jsonl"
# Of the answers that are learned from so many of the newest are held; the log has all that were recorded.
_ANSWERS = 400


@dataclass(frozen=True)
class Event:
    """Something that happened: ``level`` is info, warn or error."""

    step: int
    level: str
    message: str
    hint: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Sample:
    """An answer generated during training, beside the one of the data."""

    step: int
    prompt: str
    expected: str
    text: str


class AnswerLine(TypedDict):
    """An answer that was learned from: its score by each reward, their weighed sum, and how it compares with its group.

    ``why`` is what the rewards said of it, ``advantage`` the reward less the group's mean, in the group's spread.
    """

    prompt: str
    text: str
    rewards: dict[str, float]
    reward: float
    advantage: float
    why: str


@dataclass(frozen=True)
class Answer:
    """An answer that was learned from at a step, as :class:`AnswerLine` has it."""

    step: int
    prompt: str
    text: str
    rewards: dict[str, float]
    reward: float
    advantage: float
    why: str = ""


class MetricLine(TypedDict, total=False):
    """A line of the log: its ``kind`` is start, step, eval, sample, answer, event or end, and each has its own of the fields.

    A step has its figures beside, under their names.
    """

    kind: str
    step: int
    at: float
    total: int
    state: str
    level: str
    message: str
    hint: str
    prompt: str
    expected: str
    text: str
    rewards: dict[str, float]
    reward: float
    advantage: float
    why: str


@dataclass
class History:
    """The record of a run.

    Attributes:
        series: values by name, each by step; ``loss``, ``eval_loss``, ``learning_rate``, ``grad_norm``,
            ``tokens_per_s``, ``memory_bytes``, ``seconds`` (of the step), and whatever else the trainer tells.
        total: steps of the whole run.
        ended: how it ended, or nothing while it runs.
    """

    series: dict[str, dict[int, float]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    total: int = 0
    step: int = 0
    attempts: int = 0
    ended: str = ""
    last_at: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def last(self, name: str) -> float | None:
        """The newest value of a series."""
        values = self.series.get(name)
        return values[max(values)] if values else None

    def add(self, record: MetricLine) -> None:
        """Take one record in; one of an unknown kind changes nothing."""
        kind, step = record.get("kind"), int(record.get("step") or 0)
        self.last_at = float(record.get("at") or self.last_at)
        if kind == "start":
            self._forget_after(step)
            self.attempts += 1
            self.total, self.step, self.ended = int(record.get("total") or self.total), step, ""
            self.facts |= {k: v for k, v in record.items() if k not in {"kind", "step", "at", "total"}}
        elif kind in {"step", "eval"}:
            self.step = max(self.step, step)
            for name, value in record.items():
                if isinstance(value, int | float) and name not in {"step", "at"}:
                    self.series.setdefault(name, {})[step] = float(value)
        elif kind == "sample":
            texts = (str(record.get(name, "")) for name in ("prompt", "expected", "text"))
            self.samples.append(Sample(step, *texts))
        elif kind == "answer":
            told = {name: str(record.get(name, "")) for name in ("prompt", "text", "why")}
            figures = {name: float(value) for name, value in (record.get("rewards") or {}).items()}
            worth = float(record.get("reward") or 0), float(record.get("advantage") or 0)
            self.answers.append(Answer(step, told["prompt"], told["text"], figures, *worth, told["why"]))
            del self.answers[:-_ANSWERS]
        elif kind == "event":
            level, message, hint = (str(record.get(name, "")) for name in ("level", "message", "hint"))
            self.events.append(Event(step, level, message, hint, self.last_at))
        elif kind == "end":
            self.ended = str(record.get("state", "ended"))

    def _forget_after(self, step: int) -> None:
        """A run that goes on from a checkpoint does again what came after it."""
        for values in self.series.values():
            for later in [s for s in values if s > step]:
                del values[later]
        self.samples = [s for s in self.samples if s.step <= step]
        self.answers = [a for a in self.answers if a.step <= step]

    def remaining(self) -> tuple[float, float] | None:
        """Seconds to the end and their standard error, from the last steps' times; none before there are some.

        The error is that of the mean of the steps seen, times the steps that are left.
        """
        times = list(self.series.get("seconds", {}).values())[-200:]
        left = self.total - self.step
        if len(times) < 3 or left < 0:
            return None
        mean = sum(times) / len(times)
        variance = sum((t - mean) ** 2 for t in times) / (len(times) - 1)
        return left * mean, left * math.sqrt(variance / len(times))


class Recorder:
    """Appends to a run's metrics log, a line at a time."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / FILE).open("ab", buffering=0)
        if self._file.tell() and not (folder / FILE).read_bytes().endswith(b"\n"):
            self._file.write(b"\n")  # a line that a kill cut short must not swallow the next

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one record; numbers that are none are written as text that JSON readers know."""
        body = {"kind": kind, "step": step, "at": round(time.time(), 3), **values}
        self._file.write(json.dumps(body, ensure_ascii=True).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class HistoryReader:
    """Reads a log from where it stopped the last time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.history = History()
        self._offset = 0

    def poll(self) -> bool:
        """Read what came since; whether there was anything. A line that is not whole yet waits."""
        try:
            with open_regular(self.path) as file:
                file.seek(self._offset)
                raw = file.read()
        except FileNotFoundError:
            return False
        whole, newline, _ = raw.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.split(b"\n"):
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                self.history.add(json.loads(line))
        return bool(newline)


def read_history(folder: Path) -> History:
    """The whole record of a run folder."""
    reader = HistoryReader(folder)
    reader.poll()
    return reader.history
