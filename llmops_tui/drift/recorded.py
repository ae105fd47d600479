"""What a run keeps for those that are held against it: what its answers' tokens were likely to be, and what was found since."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

from llmops_tui.drift.shift import ShiftRecord, Tops
from llmops_tui.evaluation.records import Preference
from llmops_tui.regular_files import read_regular_text
from llmops_tui.workspace.written import write_noted

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun

PROBABILITIES = "probabilities.jsonl"
"""Beside the results of the run that others are held against; a person who is named in a line takes the file with them."""
FOUND = "drift.json"


@dataclass(frozen=True)
class Scored:
    """A recorded answer behind its conversation: tokens of both, of which the last ``size`` are the answer's.

    ``tops`` and ``again`` are what the likeliest tokens were at each place, looked at twice.
    """

    case: str
    said: str
    ids: tuple[int, ...]
    size: int
    tops: tuple[Tops, ...]
    again: tuple[Tops, ...]


@dataclass(frozen=True)
class Recorded:
    """What one build gave for the answers of a run."""

    engine: str
    at: float
    answers: tuple[Scored, ...]


class JudgedRecord(Preference):
    """What a judge says of the newer answers beside those of before: how many ``asked``, and ``changed``, worse or better or not.

    ``left_out`` are cases beyond the most that are looked at; ``smallest`` is the preference's distance from a half that would
    have been seen in four of five cases.
    """

    asked: int
    left_out: int
    seconds: float
    smallest: float | None
    changed: str


class FoundRecord(TypedDict, total=False):
    """What was found when a run was held against another: against which one, and what probabilities and a judge say."""

    against: str
    shift: ShiftRecord
    judge: JudgedRecord


def keep_recorded(run: EvalRun, recorded: Recorded) -> None:
    """Keep what a build gave for the answers of a run, in place of what was kept before."""
    head = {"engine": recorded.engine, "at": recorded.at}
    rows = (vars(one) for one in recorded.answers)
    write_noted(run.folder / PROBABILITIES, "".join(json.dumps(row) + "\n" for row in (head, *rows)))


def read_recorded(run: EvalRun) -> Recorded | None:
    """What was kept of a run's answers; none where nothing was, or it is not as it was written: then it is recorded anew."""
    try:
        lines = read_regular_text(run.folder / PROBABILITIES).splitlines()
        head, *rows = (json.loads(line) for line in lines)
        answers = tuple(
            Scored(
                str(row["case"]), str(row["said"]), tuple(map(int, row["ids"])), int(row["size"]),
                _tops(row["tops"]), _tops(row["again"]),
            )
            for row in rows
        )  # fmt: skip
        return Recorded(str(head["engine"]), float(head["at"]), answers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _tops(given: Iterable[Tops]) -> tuple[Tops, ...]:
    return tuple({str(name): float(value) for name, value in one.items()} for one in given)


def note_found(run: EvalRun, against: str, found: FoundRecord) -> None:
    """Keep what was found of a run; what was said of it beside another one goes."""
    known = read_found(run)
    kept = known if known.get("against") == against else FoundRecord()
    write_noted(run.folder / FOUND, json.dumps({**kept, **found, "against": against}))


def read_found(run: EvalRun, against: str = "") -> FoundRecord:
    """What was found of a run, beside ``against`` where that is given; nothing where nothing is kept, or it cannot be read."""
    try:
        found = json.loads(read_regular_text(run.folder / FOUND))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict) or (against and found.get("against") != against):
        return {}
    # What an earlier version, or somebody else, wrote otherwise says nothing.
    shapes = (("shift", ShiftRecord.__required_keys__), ("judge", JudgedRecord.__required_keys__))
    whole = {
        name: found[name] for name, keys in shapes if isinstance(found.get(name), dict) and keys <= found[name].keys()
    }
    return cast("FoundRecord", {"against": str(found.get("against")), **whole})
