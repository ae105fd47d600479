"""What the model answered to each task, kept line by line, so that a synthesis that was killed asks for nothing twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.line_log import LineLog, whole_lines

_HINT = "The rows so far are kept; llmops job resume continues once there is space."


@dataclass(frozen=True)
class Attempt:
    """An answer to a task.

    Attributes:
        text: what was answered; ``between`` is the text in the other language of a back-translation.
        error: why there is no answer; ``finish`` is how it ended as the engine says, ``length`` where it was cut off.
        calls: requests to the model that it took.
    """

    task: int
    text: str = ""
    between: str = ""
    error: str = ""
    finish: str = ""
    calls: int = 1
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Grade:
    """What a judge said of the row of a task; no value means that it could not say, and ``reason`` why."""

    task: int
    value: float | None
    reason: str = ""


class AttemptLog:
    """The attempts and grades of a synthesis, each task's first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = LineLog(path)
        self.attempts: dict[int, Attempt] = {}
        self.grades: dict[int, Grade] = {}
        for number, line in enumerate(whole_lines(path), 1):
            if line:
                self._read(path, number, line)

    def _read(self, path: Path, number: int, line: bytes) -> None:
        try:
            kind, facts = orjson.loads(line)
            if kind == "attempt":
                attempt = Attempt(**facts)
                self.attempts.setdefault(attempt.task, attempt)
            else:
                grade = Grade(**facts)
                self.grades.setdefault(grade.task, grade)
        except (ValueError, TypeError) as error:
            raise LlmopsError(
                "results_damaged",
                f"{path}, line {number}: not a valid answer: {error}",
                "Delete that line, and resume the job: the row is written again.",
            ) from error

    def add(self, entry: Attempt | Grade) -> None:
        """Keep one; it outlives a killed process from here on."""
        if isinstance(entry, Attempt):
            self.attempts[entry.task] = entry
        else:
            self.grades[entry.task] = entry
        kind = "attempt" if isinstance(entry, Attempt) else "grade"
        self._log.add(orjson.dumps([kind, asdict(entry)]) + b"\n", _HINT)

    def close(self) -> None:
        """Sync and close."""
        self._log.close()
