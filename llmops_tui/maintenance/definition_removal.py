"""Removal of suites and recipes with all their versions; what was removed of one puts it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypedDict

from llmops_tui.counts import agree, counted
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.archiving import DEFINITION_TABLES, Archivable, find, forget_archived
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.in_use import at_work
from llmops_tui.maintenance.records import RecordRemovalRecord
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


class DefinitionRow(TypedDict):
    """A version as the catalog has it; the body is JSON."""

    name: str
    number: int
    sha256: str
    body: str
    note: str
    created_at: float


@dataclass(frozen=True)
class DefinitionRemoval:
    """What removing a suite or a recipe means.

    Attributes:
        rows: its versions, whole.
        in_the_way: why it cannot be removed now, in words.
        done: whether it was removed.
    """

    kind: Archivable
    name: str
    rows: tuple[DefinitionRow, ...]
    in_the_way: tuple[str, ...] = ()
    done: bool = False

    @property
    def versions(self) -> list[str]:
        """Its versions, as they are named."""
        return [f"{self.name}@{row['number']}" for row in self.rows]

    def as_dict(self) -> RecordRemovalRecord:
        """For JSON."""
        return {
            "kind": self.kind.value,
            "name": self.name,
            "versions": self.versions,
            "removed_paths": [],
            "size_bytes": 0,
            "goes": [],
            "uses": [],
            "in_the_way": list(self.in_the_way),
            "done": self.done,
        }


def plan_definition_removal(workspace: Workspace, kind: Archivable, name: str) -> DefinitionRemoval:
    """What would go, and what stands in the way; changes nothing.

    Runs of a suite are compared with what it says, so it stays as long as one of them does. Runs of a recipe have it whole.

    Raises:
        NotFoundError: there is none of that name.
    """
    rows = _rows(workspace, kind, name)
    if not rows:
        find(workspace, kind, name)
        raise NotFoundError(kind.value, name, f"It is removed whole, by its name: {name.partition('@')[0]}.")
    names = {name, *(f"{name}@{row['number']}" for row in rows)}
    blockers = [each.told for each in at_work(workspace) if names & each.said]
    if kind is Archivable.SUITE and (runs := _runs_of(workspace, name)):
        blockers.append(f"{counted(runs, 'run')} of it {agree(runs, 'is', 'are')} kept")
    return DefinitionRemoval(kind, name, tuple(rows), tuple(blockers))


def remove_definition(
    workspace: Workspace, kind: Archivable, name: str, keep: Callable[[Sequence[DefinitionRow]], None] | None = None
) -> DefinitionRemoval:
    """Do it, thought through anew; ``keep`` is given its versions before they go, so that a kill in between loses nothing.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``in_the_way``: a job is at work with it, or runs of a suite are kept.
    """
    workspace.refuse_if_read_only()
    with exclusive_maintenance(workspace), JobStore(EventLog(workspace)).door():
        planned = plan_definition_removal(workspace, kind, name)
        if planned.in_the_way:
            raise InputRefusedError(
                "in_the_way",
                f"{name} was not removed: {'; '.join(planned.in_the_way)}",
                f"End or remove that first; or llmops archive add {kind.value} {name} has lists leave it out.",
            )
        if keep is not None:
            keep(planned.rows)
        Catalog(workspace).write(
            lambda connection: connection.execute(f"DELETE FROM {DEFINITION_TABLES[kind]} WHERE name = ?", [name])
        )
        forget_archived(workspace, kind, name)
    return replace(planned, done=True)


def restore_definition(workspace: Workspace, kind: Archivable, rows: Sequence[DefinitionRow]) -> None:
    """Put back what was removed.

    Raises:
        InputRefusedError: ``name_taken``: another one was made of that name since.
    """
    workspace.refuse_if_read_only()
    for name in {row["name"] for row in rows}:
        with suppress(NotFoundError):
            find(workspace, kind, name)
            raise InputRefusedError("name_taken", f"another {kind.value} {name} was made since", "Nothing was changed.")
    _insert(workspace, kind, rows)


def newest_number(workspace: Workspace, kind: Archivable, name: str) -> int:
    """The number of the newest version of a suite or a recipe; 0 where there is none."""
    return next((row["number"] for row in _rows(workspace, kind, name)), 0)


def remove_newest_version(
    workspace: Workspace, kind: Archivable, name: str, number: int, keep: Callable[[DefinitionRow], None]
) -> None:
    """Take the newest version of a suite or a recipe away again; ``keep`` is given it, whole, before it goes.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``in_the_way``: a job is at work with it; ``record_used``: it is not the newest one any more, or
            runs of it are kept.
    """
    workspace.refuse_if_read_only()
    with exclusive_maintenance(workspace), JobStore(EventLog(workspace)).door():
        rows = _rows(workspace, kind, name)
        if not rows:
            raise NotFoundError(kind.value, name, "It was removed.")
        if rows[0]["number"] != number:
            raise InputRefusedError("record_used", f"its newest version is @{rows[0]['number']} by now", "")
        if blockers := [each.told for each in at_work(workspace) if {name, f"{name}@{number}"} & each.said]:
            raise InputRefusedError(
                "in_the_way", f"{name}@{number} is in use: {'; '.join(blockers)}", "End that first."
            )
        if kind is Archivable.SUITE and (runs := _runs_of(workspace, name, number)):
            raise InputRefusedError("record_used", f"{counted(runs, 'run')} of it {agree(runs, 'is', 'are')} kept", "")
        keep(rows[0])
        Catalog(workspace).write(
            lambda connection: connection.execute(
                f"DELETE FROM {DEFINITION_TABLES[kind]} WHERE name = ? AND number = ?", [name, number]
            )
        )
        if len(rows) == 1:
            forget_archived(workspace, kind, name)


def restore_version(workspace: Workspace, kind: Archivable, row: DefinitionRow) -> None:
    """Put back the newest version, which was taken away.

    Raises:
        InputRefusedError: ``name_taken``: another version of that number, or a newer one, was made since.
    """
    workspace.refuse_if_read_only()
    newest = newest_number(workspace, kind, row["name"])
    if newest >= row["number"]:
        raise InputRefusedError("name_taken", f"{row['name']}@{newest} was made since", "Nothing was changed.")
    _insert(workspace, kind, [row])


def _insert(workspace: Workspace, kind: Archivable, rows: Sequence[DefinitionRow]) -> None:
    values = [list(row.values()) for row in rows]
    Catalog(workspace).write(
        lambda connection: connection.executemany(
            f"INSERT INTO {DEFINITION_TABLES[kind]} (name, number, sha256, body, note, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
    )


def _rows(workspace: Workspace, kind: Archivable, name: str) -> list[DefinitionRow]:
    found = Catalog(workspace).read(
        lambda connection: connection.execute(
            f"SELECT name, number, sha256, body::VARCHAR, note, created_at FROM {DEFINITION_TABLES[kind]} WHERE name = ? "
            "ORDER BY number DESC",
            [name],
        ).fetchall()
    )
    return [
        {"name": a, "number": int(b), "sha256": c, "body": d, "note": e, "created_at": float(f)}
        for a, b, c, d, e, f in found
    ]


def _runs_of(workspace: Workspace, suite: str, number: int | None = None) -> int:
    """How many runs of a suite are kept, or of one of its versions."""
    return int(
        Catalog(workspace).read(
            lambda connection: connection.execute(
                "SELECT count(*) FROM evaluation_runs WHERE suite = ? AND suite_number = coalesce(?, suite_number)",
                [suite, number],
            ).fetchall()
        )[0][0]
    )
