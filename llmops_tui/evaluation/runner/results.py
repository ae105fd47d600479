"""The results of a run: one appended JSON line per answer; an incomplete last line is expected."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TypeVar

import orjson

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.foreign_text import JsonObject
from llmops_tui.regular_files import open_regular
from llmops_tui.workspace.line_log import LineLog, whole_lines

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """An answer to a case with its scores, as it is kept. ``repeat`` counts the answers to one case from 0."""

    case: Case
    repeat: int
    answer: Answer
    scores: dict[str, Score]

    def to_line(self) -> bytes:
        """Its line; what a case is made of stands in it, so that a run can be read when its data is gone."""
        # As they are: copying every field takes longer than scoring.
        case, answer = vars(self.case), vars(self.answer)
        slim = {
            "case": {
                k: v
                for k, v in case.items()
                # An empty text may be what is expected, and is not the same as nothing.
                if v not in ("", (), [], {}, None) or k == "index" or (k == "expected" and v is not None)
            },
            "repeat": self.repeat,
            "answer": {k: v for k, v in answer.items() if v not in ("", (), {}, None, False)},
            "scores": {
                name: [score.value, score.reason, score.detail] if score.detail else [score.value, score.reason]
                for name, score in self.scores.items()
            },
        }
        return orjson.dumps(slim, default=str) + b"\n"


def _defaults(kind: type) -> Mapping[str, object]:
    """The values of a dataclass's fields where nothing is given; none of them is ever changed."""
    found = {}
    for f in fields(kind):
        found[f.name] = (
            f.default_factory() if f.default_factory is not MISSING else None if f.default is MISSING else f.default
        )
    return found


_CASE, _ANSWER, _SCORE = _defaults(Case), _defaults(Answer), _defaults(Score)


def _made(kind: type[T], defaults: Mapping[str, object], given: Mapping[str, object]) -> T:
    """An object of a frozen dataclass without its constructor, which takes longer than all the rest of a line."""
    made = object.__new__(kind)
    made.__dict__.update(defaults)
    made.__dict__.update(given)
    return made


def read_line(line: bytes) -> Result:
    """A result from its line."""
    return result_of(orjson.loads(line))


def result_of(body: JsonObject) -> Result:
    """A result from what its line says."""
    case, answer = body["case"], body["answer"]
    for name in ("messages", "choices", "metrics"):
        if name in case:
            case[name] = tuple(case[name])
    for name in ("choice_logprobs", "choice_tokens", "asked", "calls", "passages"):
        if name in answer:
            answer[name] = tuple(answer[name])
    scores = {
        name: _made(Score, _SCORE, dict(zip(("value", "reason", "detail"), given, strict=False)))
        for name, given in body["scores"].items()
    }
    return Result(_made(Case, _CASE, case), body["repeat"], _made(Answer, _ANSWER, answer), scores)


@contextlib.contextmanager
def many_objects() -> Iterator[None]:
    """Make many objects that are no garbage: the collector rests meanwhile, because looking would take longer than making.

    Nothing is frozen (:func:`gc.freeze`): that takes in all that lives in the process at that moment, and what of it becomes
    garbage in a circle later, such as a dialog of the app, would stay for ever.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read_results(path: Path) -> list[Result]:
    """All results, in the order of the cases; each once."""
    with many_objects():
        found = {(result.case.index, result.repeat): result for result in _lines(path)}
        return [found[at] for at in sorted(found)]


def answer_texts(path: Path) -> set[str]:
    """The texts of all answers of a run, but for empty ones; what cannot be read has none."""
    found = set()
    with contextlib.suppress(OSError), open_regular(path) as file:
        for line in file:
            with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
                found.add(str(orjson.loads(line)["answer"].get("text") or ""))
    return found - {""}


def _lines(path: Path) -> Iterator[Result]:
    for number, line in enumerate(whole_lines(path), 1):
        if not line:
            continue
        try:
            yield read_line(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LlmopsError(
                "results_damaged",
                f"{path}, line {number}: not a valid result: {error}",
                "Restore it from a backup (llmops restore), or run the suite again; cached answers are reused.",
            ) from error


class ResultLog:
    """Appends results to their file; what a killed run left unfinished in it is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done = {(r.case.index, r.repeat): r for r in _lines(path)}
        self._log = LineLog(path)

    def add(self, result: Result) -> None:
        """Append one; it outlives a killed process from here on."""
        self.done[result.case.index, result.repeat] = result
        self._log.add(result.to_line(), "Answers so far are kept; llmops eval resume continues once there is space.")

    def sync(self) -> None:
        """Have the disk keep it."""
        self._log.sync()

    def close(self) -> None:
        """Sync and close."""
        self._log.close()
