"""What an improvement asked, line by line, so that one that was killed asks nothing twice and goes the same way again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.line_log import LineLog, whole_lines

FILE = "calls.jsonl"
_HINT = "What was asked so far is kept; llmops job resume continues once there is space."


@dataclass(frozen=True)
class Asked:
    """An answer to a row: whose, its score with the reason, and what it took. ``cached`` says that it was known before.

    ``candidate`` is the hash of the prompt's texts, ``row`` the key of the case.
    """

    candidate: str
    row: str
    value: float | None
    why: str
    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached: bool


@dataclass(frozen=True)
class Proposed:
    """What the reflector wrote in a try, or the error that came instead."""

    number: int
    text: str
    error: str


@dataclass(frozen=True)
class Begun:
    """A step that was begun, and what had been taken by then: seconds, and joules where they are measured."""

    step: str
    seconds: float
    joules: float | None


Entry = Asked | Proposed | Begun
_KINDS: dict[str, type[Asked | Proposed | Begun]] = {"asked": Asked, "proposed": Proposed, "begun": Begun}
_NAMES = {kind: name for name, kind in _KINDS.items()}


class CallLog:
    """The answers, proposals and steps of one improvement."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.answers: dict[tuple[str, str], Asked] = {}
        self.proposals: dict[int, Proposed] = {}
        self.steps: dict[str, Begun] = {}
        for number, line in enumerate(whole_lines(path), 1):
            if line:
                self._take(self._read(number, line))
        self._log = None if read_only else LineLog(path)

    def _read(self, number: int, line: bytes) -> Entry:
        try:
            kind, facts = orjson.loads(line)
            return _KINDS[kind](**facts)
        except (ValueError, TypeError, KeyError) as error:
            raise LlmopsError(
                "results_damaged",
                f"{self.path}, line {number}: not a valid entry: {error}",
                "Delete that line, and resume the job: it is asked again.",
            ) from error

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, Asked):
            self.answers.setdefault((entry.candidate, entry.row), entry)
        elif isinstance(entry, Proposed):
            self.proposals.setdefault(entry.number, entry)
        else:
            self.steps[entry.step] = entry

    def add(self, entry: Entry) -> None:
        """Keep one; it outlives a killed process from here on."""
        assert self._log is not None
        self._take(entry)
        self._log.add(orjson.dumps([_NAMES[type(entry)], asdict(entry)]) + b"\n", _HINT)

    @property
    def calls(self) -> int:
        """The answers that the model gave for this improvement."""
        return sum(not one.cached for one in self.answers.values())

    @property
    def cached(self) -> int:
        """The answers that were known before."""
        return sum(one.cached for one in self.answers.values())

    @property
    def taken_before(self) -> tuple[float, float | None]:
        """Seconds and joules until the last step that was begun."""
        last = max(self.steps.values(), key=lambda one: one.seconds, default=None)
        return (last.seconds, last.joules) if last is not None else (0.0, None)

    def prompt_tokens(self, candidate: str) -> float | None:
        """The tokens of a candidate's requests in the mean; none where nobody counted them."""
        known = [
            one.prompt_tokens
            for (of, _), one in self.answers.items()
            if of == candidate and one.prompt_tokens is not None
        ]
        return sum(known) / len(known) if known else None

    def close(self) -> None:
        """Sync and close."""
        if self._log is not None:
            self._log.close()
