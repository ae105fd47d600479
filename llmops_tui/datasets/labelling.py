"""Labelling: annotations per row, the order of rows, annotator agreement, and the labelled version."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llmops_tui.datasets.agreement import cohen_kappa, krippendorff_alpha
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.reports import AgreementRecord
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

TaskKind = Literal["classify", "review", "prefer"]
# What each kind of task may say; a classification names its own.
REVIEW = ("accept", "reject", "correct")
PREFER = ("first", "second", "tie")
_BLIND_SHARE = 0.05


@dataclass(frozen=True)
class Task:
    """What is asked of each row: a name, which is the column of the result, and the values that may be said."""

    name: str
    kind: TaskKind
    values: tuple[str, ...]

    @classmethod
    def make(cls, name: str, kind: TaskKind, values: tuple[str, ...] = ()) -> Task:
        """A task, checked.

        Raises:
            InputRefusedError: a classification with fewer than two labels, or a name that cannot be a column.
        """
        values = {"review": REVIEW, "prefer": PREFER}.get(
            kind, tuple(dict.fromkeys(v.strip() for v in values if v.strip()))
        )
        if len(values) < 2:
            raise InputRefusedError(
                "bad_task", "a classification requires at least two labels", "Such as --labels good,bad."
            )
        if not name or name.startswith("_"):
            raise InputRefusedError("bad_task", f"{name!r} cannot be the name of a column")
        return cls(name, kind, values)


@dataclass(frozen=True)
class Annotation:
    """What one person said of one row: a value, and for a correction the whole row as it should be.

    ``turn`` is 0 for the first time, and 1 for a row that was shown again unannounced. ``proposed`` is what a classifier had
    proposed before, empty where nothing was.
    """

    id: str
    row: int
    annotator: str
    turn: int
    value: str
    corrected: dict[str, Any] | None
    made_at: float
    proposed: str = ""


class Labelling:
    """One person's work on one task over one version. Everything said is kept at once."""

    def __init__(self, store: DatasetStore, version: DatasetVersion, task: Task, annotator: str) -> None:
        if task.kind == "prefer" and version.kind != "preference":
            raise InputRefusedError(
                "wrong_kind", f"{version.ref} has no pairs to choose from", "Use a preference dataset."
            )
        if not annotator.strip():
            raise InputRefusedError("no_annotator", "no annotator is given", "Give --annotator NAME.")
        self.store = store
        self.version = version
        self.task = task
        self.annotator = annotator.strip()
        self._done: list[Annotation] = [a for a in self.annotations() if a.annotator == self.annotator]

    def annotations(self) -> list[Annotation]:
        """All that was said by anybody, in the order of time."""
        rows = self.store.catalog.read(
            lambda connection: connection.execute(
                "SELECT id, row, annotator, pass, value, made_at FROM annotations WHERE sha256 = ? AND task = ?"
                " ORDER BY made_at, id",
                [self.version.sha256, self.task.name],
            ).fetchall()
        )
        out = []
        for name, row, annotator, turn, value, made_at in rows:
            said = kept("annotations", "value", name, value)
            out.append(
                Annotation(
                    name,
                    int(row),
                    annotator,
                    int(turn),
                    said["value"],
                    said.get("corrected"),
                    made_at,
                    str(said.get("proposed") or ""),
                )
            )
        return out

    def queue(self) -> list[tuple[int, int]]:
        """The rows still to be shown, as (row, turn), in an order that is this person's own.

        About one in twenty rows comes a second time further on, so that agreement with oneself can be told.
        """
        order = list(range(self.version.rows))
        random.Random(f"{self.version.sha256}:{self.task.name}:{self.annotator}").shuffle(order)  # noqa: S311  an order, no secret
        half = len(order) // 2
        # Of those that came before: one that comes again first would be judged, and count for nothing.
        again = [(row, 1) for row in order[: half : round(0.5 / _BLIND_SHARE)]]
        whole = [(row, 0) for row in order[:half]] + again + [(row, 0) for row in order[half:]]
        said = {(a.row, a.turn) for a in self._done}
        return [item for item in whole if item not in said]

    @property
    def progress(self) -> tuple[int, int]:
        """How many rows this person has judged, and of how many; a row that came again is none more."""
        return len({a.row for a in self._done if a.turn == 0}), self.version.rows

    def swapped(self, row: int) -> bool:
        """Whether the two answers of a row are shown the other way round, so that places do not decide."""
        return sha256_text(f"{self.version.sha256}:{row}") < "8"

    def own(self) -> list[Annotation]:
        """All that this person said, in the order of time."""
        return list(self._done)

    def own_labels(self) -> dict[int, str]:
        """What this person said of each row the first time."""
        return {a.row: a.value for a in self._done if a.turn == 0}

    def say(self, row: int, value: str, turn: int = 0, corrected: Row | None = None, proposed: str = "") -> Annotation:
        """Keep what this person says of a row, and what had been ``proposed`` to them.

        Raises:
            InputRefusedError: a value the task does not know, or a correction without a row.
            NotFoundError: the version was removed.
        """
        if value not in self.task.values:
            raise InputRefusedError(
                "unknown_label", f"{value!r} is not a label of {self.task.name}", ", ".join(self.task.values)
            )
        if value == "correct" and self.task.kind == "review" and corrected is None:
            raise InputRefusedError("no_correction", "a correction requires the corrected row")
        made = Annotation(new_id("ann"), row, self.annotator, turn, value, corrected, time.time(), proposed)
        beside = ({"corrected": corrected} if corrected is not None else {}) | (
            {"proposed": proposed} if proposed else {}
        )
        said = json.dumps({"value": value} | beside)

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            digest = self.version.sha256
            if connection.execute("SELECT 1 FROM dataset_versions WHERE sha256 = ?", [digest]).fetchone() is None:
                raise NotFoundError("dataset version", self.version.ref, "It was removed; this label was not saved.")
            connection.execute(
                "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [made.id, digest, self.task.name, row, self.annotator, turn, said, made.made_at],
            )

        self.store.catalog.write(work)
        self._done.append(made)
        return made

    def undo(self) -> Annotation | None:
        """Take back what this person said last."""
        if not self._done:
            return None
        last = self._done.pop()
        self.store.catalog.write(
            lambda connection: connection.execute("DELETE FROM annotations WHERE id = ?", [last.id])
        )
        return last

    def agreement(self) -> AgreementRecord:
        """How far people agree, each with the number of rows it rests on."""
        everything = self.annotations()
        items: dict[int, dict[str, str]] = {}
        again: dict[str, list[tuple[str, str]]] = {}
        firsts: dict[tuple[str, int], str] = {}
        for said in everything:
            if said.turn == 0:
                items.setdefault(said.row, {})[said.annotator] = said.value
                firsts[said.annotator, said.row] = said.value
        for said in everything:
            if said.turn == 1 and (said.annotator, said.row) in firsts:
                again.setdefault(said.annotator, []).append((firsts[said.annotator, said.row], said.value))
        names = sorted({a.annotator for a in everything})
        both = {
            f"{a} · {b}": [(i[a], i[b]) for i in items.values() if a in i and b in i]
            for n, a in enumerate(names)
            for b in names[n + 1 :]
        }
        return {
            "annotators": {name: sum(name in i for i in items.values()) for name in names},
            "krippendorff_alpha": krippendorff_alpha(list(items.values())),
            "rows_with_several": sum(len(i) > 1 for i in items.values()),
            "cohen_kappa": {k: {"kappa": _kappa(v), "rows": len(v)} for k, v in both.items() if v},
            "with_oneself": {
                k: {"kappa": _kappa(v), "agreed": sum(a == b for a, b in v), "rows": len(v)} for k, v in again.items()
            },
        }

    def finish(self) -> DatasetVersion:
        """Make a version of what was said by all: the majority's word for each row; of a draw, the later one's.

        Raises:
            InputRefusedError: nothing was said yet.
        """
        votes: dict[int, list[Annotation]] = {}
        for said in self.annotations():
            if said.turn == 0:
                votes.setdefault(said.row, []).append(said)
        if not votes:
            raise InputRefusedError("nothing_labelled", "no row is labelled yet")
        values: dict[str, Any] = {}
        for row, said_of in votes.items():
            counts = {a.value: sum(b.value == a.value for b in said_of) for a in said_of}
            winner = max(reversed(said_of), key=lambda a: counts[a.value])
            value = winner.value
            if self.task.kind == "prefer" and self.swapped(row) and value != "tie":
                value = {"first": "second", "second": "first"}[value]
            values[str(row)] = {"value": value} | ({"row": winner.corrected} if winner.corrected is not None else {})
        parameters = {"task": self.task.name, "kind": self.task.kind, "values": values}
        return apply(self.store, "label", [self.version.ref], parameters)


def _kappa(pairs: list[tuple[str, str]]) -> float | None:
    return cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])


def suggested_task(kind: str) -> TaskKind:
    """The kind of task that a kind of dataset invites."""
    return (
        "prefer"
        if kind == "preference"
        else "review"
        if kind in {"messages", "prompt-completion", "kto"}
        else "classify"
    )
