"""Sheets: the answers, or pairs of answers, that people are asked about, and what they said.

What was said is an annotation of the results by their hash, as labels are of rows; each word is one transaction, so that
several people, and several screens, work on one workspace at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.grading.criterion import Criterion
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.run_comparison import results_of
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

FIRST, SECOND, TIE = "first", "second", "tie"
_OPPOSITE = {FIRST: SECOND, SECOND: FIRST, TIE: TIE}


@dataclass(frozen=True)
class Item:
    """An answer to grade. Its ``id`` says nothing of the run it is of."""

    run: EvalRun
    result: Result

    @property
    def id(self) -> str:
        """The same for everybody, at any time."""
        return sha256_text(f"{self.run.results_sha256}:{self.result.case.index}:{self.result.repeat}")[:12]

    @property
    def place(self) -> tuple[str, int, int]:
        """The hash of the results, the case, and which of the answers to it."""
        return self.run.results_sha256, self.result.case.index, self.result.repeat

    @property
    def beside(self) -> Mapping[str, object]:
        """What is kept with a word about it."""
        return {}


@dataclass(frozen=True)
class PairItem:
    """Two answers to one case, to choose from."""

    first: Item
    second: Item

    @property
    def id(self) -> str:
        """The same for everybody, at any time."""
        return sha256_text(f"{self.first.id}:{self.second.id}")[:12]

    @property
    def place(self) -> tuple[str, int, int]:
        """That of the first answer."""
        return self.first.place

    @property
    def beside(self) -> Mapping[str, object]:
        """Which answer it was shown beside."""
        return {"against": self.second.run.results_sha256}


@dataclass(frozen=True)
class Said:
    """What one person said of one item, and when."""

    id: str
    item: str
    grader: str
    value: str
    made_at: float


Shown = TypeVar("Shown", Item, PairItem)


class Sheet(Generic[Shown]):
    """One person's work on the items of some runs by one criterion. Everything said is kept at once."""

    kind = ""

    def __init__(self, store: EvaluationStore, items: Sequence[Shown], criterion: Criterion, grader: str) -> None:
        if not grader.strip():
            raise InputRefusedError("no_grader", "nobody is named as the grader", "Give --grader NAME.")
        self.store = store
        self.criterion = criterion
        self.grader = grader.strip()
        self.items: dict[str, Shown] = {item.id: item for item in items}
        self._by_place = {(item.place, str(item.beside.get("against", ""))): item.id for item in items}
        # In an order that is this person's own, over all runs: neither places nor neighbours tell which version answered.
        self._order = sorted(self.items, key=lambda id_: sha256_text(f"{self.task}:{self.grader}:{id_}"))
        self._last: list[str] = []

    @property
    def task(self) -> str:
        """Under which name words are kept."""
        return f"{self.kind}:{self.criterion.name}"

    def values(self) -> tuple[str, ...]:
        """What may be said."""
        raise NotImplementedError

    def all_said(self) -> list[Said]:
        """What was said by anybody of these items, in the order of time; of two words of one person the later counts."""
        digests = sorted({item.place[0] for item in self.items.values()})
        rows = self.store.catalog.read(
            lambda connection: connection.execute(
                "SELECT id, sha256, row, pass, annotator, value, made_at FROM annotations "
                "WHERE task = ? AND list_contains(?::VARCHAR[], sha256) ORDER BY made_at, id",
                [self.task, digests],
            ).fetchall()
        )
        newest: dict[tuple[str, str], Said] = {}
        for name, digest, row, turn, who, text, at in rows:
            said = kept("annotations", "value", name, text)
            item = self._by_place.get(((digest, int(row), int(turn)), str(said.get("against") or "")))
            if item is not None:
                newest.pop((item, who), None)
                newest[item, who] = Said(name, item, who, str(said["value"]), at)
        return list(newest.values())

    def own(self) -> dict[str, str]:
        """What this person said, by item."""
        return {said.item: said.value for said in self.all_said() if said.grader == self.grader}

    def queue(self) -> list[str]:
        """The items that this person has not said anything of, also not on another screen."""
        done = self.own()
        return [id_ for id_ in self._order if id_ not in done]

    def say(self, item: str, value: str) -> None:
        """Keep what this person says of an item.

        Raises:
            InputRefusedError: ``unknown_item``, ``bad_grade``.
            NotFoundError: the run was removed meanwhile.
        """
        self.say_all({item: value})

    def say_all(self, words: Mapping[str, str]) -> None:
        """Keep several words, or none of them where one is refused."""
        for item, value in words.items():
            if item not in self.items:
                raise InputRefusedError(
                    "unknown_item", f"{item!r} is not an item of these runs", "--list shows the items."
                )
            if value not in self.values():
                raise InputRefusedError(
                    "bad_grade", f"{value!r} of {item}: not among {', '.join(self.values())}", "Nothing was saved."
                )
        at = time.time()
        rows = []
        for item, value in words.items():
            shown = self.items[item]
            digest, row, turn = shown.place
            text = json.dumps({"value": value, **shown.beside})
            rows.append((new_id("ann"), digest, self.task, row, self.grader, turn, text, at))

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            known = {d for (d,) in connection.execute("SELECT results_sha256 FROM evaluation_runs").fetchall()}
            if any(row[1] not in known for row in rows):
                raise NotFoundError("evaluation run", "of this answer", "It was removed; this grade was not saved.")
            connection.executemany("INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

        if rows:
            self.store.catalog.write(work)
            self._last += [row[0] for row in rows]

    def undo(self) -> str | None:
        """Take back what was said last on this sheet; the item, or none where nothing was."""
        if not self._last:
            return None
        last = self._last.pop()
        item = next((said.item for said in self.all_said() if said.id == last), None)
        self.store.catalog.write(lambda connection: connection.execute("DELETE FROM annotations WHERE id = ?", [last]))
        return item

    @property
    def progress(self) -> tuple[int, int]:
        """How many items this person has done, and of how many."""
        return len(self.own()), len(self.items)


class GradeSheet(Sheet[Item]):
    """Answers, each to be graded by itself."""

    kind = "grade"

    def values(self) -> tuple[str, ...]:
        """The points of the scale."""
        return tuple(str(point) for point in self.criterion.points)


class VoteSheet(Sheet[PairItem]):
    """Pairs of answers to one case, each to be decided."""

    kind = "vote"

    def values(self) -> tuple[str, ...]:
        """Which of the two, as they are kept."""
        return FIRST, SECOND, TIE

    def swapped(self, item: str) -> bool:
        """Whether this person is shown the second answer first, so that places do not decide."""
        return sha256_text(f"swap:{self.grader}:{item}") < "8"

    def shown(self, item: str) -> tuple[Item, Item]:
        """The two answers in the order in which this person sees them."""
        pair = self.items[item]
        return (pair.second, pair.first) if self.swapped(item) else (pair.first, pair.second)

    def as_kept(self, item: str, value: str) -> str:
        """A decision that names answers by the place where they were shown, as it is kept."""
        return _OPPOSITE[value] if self.swapped(item) else value


def answers_of(runs: Sequence[EvalRun]) -> list[Item]:
    """The answers of finished runs that can be graded: without variations, and without requests that were refused.

    Raises:
        InputRefusedError: ``nothing_to_grade``, ``run_unfinished``. LlmopsError: results are damaged.
    """
    items = [
        Item(run, result)
        for run in runs
        for result in results_of(run)
        if not result.case.variation and not result.answer.error and not result.answer.choice_logprobs
    ]
    if not items:
        raise InputRefusedError("nothing_to_grade", "these runs have no written answers", "Choose another run.")
    return items


def pairs_between(runs: Sequence[EvalRun]) -> list[PairItem]:
    """The first answers of each two runs to each case that both have; the same words on both sides are left out.

    Raises:
        InputRefusedError: ``nothing_to_grade``.
    """
    if len({run.name for run in runs}) < 2:
        raise InputRefusedError("nothing_to_grade", "a vote is between two runs at least", "Name another run.")
    by_run = [{i.result.case.key: i for i in answers_of([run]) if i.result.repeat == 0} for run in runs]
    found = []
    for number, first in enumerate(by_run):
        for second in by_run[number + 1 :]:
            found += [
                PairItem(item, second[key])
                for key, item in first.items()
                if key in second and item.result.answer.text != second[key].result.answer.text
            ]
    if not found:
        raise InputRefusedError(
            "nothing_to_grade", "these runs have no case in common that they answered differently", "Choose others."
        )
    return found
