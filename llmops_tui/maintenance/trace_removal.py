"""Removal of traces: other copies of their texts are reported first, then erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.deletion import delete_paths
from llmops_tui.maintenance.erasure import erase_deleted, note_erasure
from llmops_tui.maintenance.external_copies import (
    ExternalCopies,
    forget_answers,
    inspect,
    other_traces,
    quarantined_files,
)
from llmops_tui.maintenance.records import TraceRemovalRecord
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class TraceRemoval:
    """What deleting traces means.

    Attributes:
        traces: how many.
        files: logs and set-aside files that have their texts, by path below the workspace.
        staying: what has them and stays, each with what to do.
        feedback: pieces of feedback that went with them.
        answers: kept answers of evaluations that went because they had the texts.
        copies: copies of the catalog from before a migration that went.
        kept_files: whether ``files`` were left where they are.
        done: whether it was done.
    """

    traces: int
    files: tuple[str, ...] = ()
    staying: tuple[str, ...] = ()
    feedback: int = 0
    answers: int = 0
    copies: tuple[str, ...] = ()
    kept_files: bool = False
    done: bool = False

    def as_dict(self) -> TraceRemovalRecord:
        """For JSON."""
        return {
            "done": self.done,
            "traces": self.traces,
            "files": list(self.files),
            "staying": list(self.staying),
            "feedback": self.feedback,
            "answers": self.answers,
            "copies_removed": list(self.copies),
            "kept_files": self.kept_files,
        }

    @property
    def told(self) -> list[str]:
        """What goes or went, and what stays, in lines."""
        if self.done:
            said = counted(self.feedback, "piece of feedback", "pieces of feedback")
            lines = [f"{counted(self.traces, 'trace')} and {said} deleted"]
            kept = f"{counted(self.answers, 'cached answer')} of evaluations with their texts deleted"
            lines += [kept] if self.answers else []
            lines += [f"also deleted: an older copy of the catalog: {name}" for name in self.copies]
        else:
            lines = [
                f"{counted(self.traces, 'trace')} would be deleted with all feedback, and cached answers with their texts"
            ]
        goes = f"has their texts, and {'is' if self.done else 'would be'} deleted"
        lines += [f"{name} {'still has their texts' if self.kept_files else goes}" for name in self.files]
        lines += [f"still {'has' if self.done else 'would have'} their texts: {one}" for one in self.staying]
        return [*lines, "Backups and exports in other places are not known."]


def plan_trace_removal(workspace: Workspace, wanted: TraceFilter, trace: str = "") -> TraceRemoval:
    """What deleting the traces that a filter finds, or one, would mean; changes nothing.

    Raises:
        NotFoundError: there is no such trace.
    """
    ids = _chosen(workspace, wanted, trace)
    found = _elsewhere(workspace, ids, wanted, trace)
    return TraceRemoval(len(ids), _names(workspace, found), found.staying)


def remove_traces(
    workspace: Workspace, wanted: TraceFilter, trace: str = "", *, keep_files: bool = False
) -> TraceRemoval:
    """Delete the traces that a filter finds, or one, with all feedback on them, so that no file has their texts any more.

    Logs and set-aside files that have them go, too, but for ``keep_files``. What was made of them keeps its own copies and
    is told; lineage keeps their ids.

    Raises:
        NotFoundError: there is no such trace.
        LlmopsError: ``not_taken_away``: a file cannot be deleted, and the traces are still there; or as
            :func:`~llmops_tui.maintenance.erasure.erase_deleted`: they are deleted, and erased when it is done again.
    """
    workspace.refuse_if_read_only()
    with exclusive_maintenance(workspace):
        ids = _chosen(workspace, wanted, trace)
        return erase_traces(workspace, ids, _elsewhere(workspace, ids, wanted, trace), keep_files=keep_files)


def erase_traces(
    workspace: Workspace, ids: Sequence[str], found: ExternalCopies, *, keep_files: bool = False
) -> TraceRemoval:
    """Delete traces and what was found elsewhere of them; the caller holds the keeping lock.

    Raises:
        LlmopsError: as :func:`remove_traces`.
    """
    # While the traces are still there, what has their texts can be found again by whoever is killed on the way.
    answers = forget_answers(workspace, ids)
    if found.files and not keep_files:
        forget_checksums(workspace, found.files)
        delete_paths(found.files)
    # From here on nothing more is said of them without a look into the catalog.
    event_log = EventLog(workspace)
    try:
        event_log.forget_ids(ids)
    finally:
        event_log.close()

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        chosen = "list_contains(?::VARCHAR[], {})"
        said = connection.execute(f"SELECT count(*) FROM feedback WHERE {chosen.format('request')}", [ids]).fetchall()
        connection.execute(f"DELETE FROM feedback WHERE {chosen.format('request')}", [ids])
        connection.execute(f"DELETE FROM requests WHERE {chosen.format('id')}", [ids])
        return int(said[0][0])

    note_erasure(workspace)
    feedback = Catalog(workspace).write(work) if ids else 0
    copies = erase_deleted(workspace)
    return TraceRemoval(
        len(ids), _names(workspace, found), found.staying, feedback, answers, tuple(copies), keep_files, done=True
    )


def _chosen(workspace: Workspace, wanted: TraceFilter, trace: str) -> list[str]:
    event_log = EventLog(workspace)
    try:
        store = TraceStore(Catalog(workspace), event_log)
        if trace:
            return [store.get(trace).line.id]
        _, total = store.page(wanted, 1)
        return [line.id for line in store.page(wanted, max(1, total))[0]]
    finally:
        event_log.close()


def _elsewhere(workspace: Workspace, ids: Sequence[str], wanted: TraceFilter, trace: str) -> ExternalCopies:
    words = "" if trace or wanted.text.startswith("~") else wanted.text
    everything = not trace and wanted == TraceFilter()
    found = inspect(workspace, ids, words, everything=everything)
    if everything:
        return found
    # An expression is for the texts of traces; what was quarantined is searched for words alone.
    unsearched = [
        f"{name}: quarantined, and not searched for a regular expression"
        for name in (quarantined_files(workspace) if wanted.text.startswith("~") and not trace else ())
        if workspace.root / name not in found.files
    ]
    return replace(found, staying=(*found.staying, *unsearched, *other_traces(workspace, ids)))


def _names(workspace: Workspace, found: ExternalCopies) -> tuple[str, ...]:
    return tuple(path.relative_to(workspace.root).as_posix() for path in found.files)
