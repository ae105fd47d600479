"""Garbage collection: finds files that nothing refers to, with reasons, and deletes them on request."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.asking.cache import FILE as ANSWERS
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.clock import refuse_implausible_clock
from llmops_tui.maintenance.deletion import BIN, delete_paths
from llmops_tui.maintenance.erasure import due_mark, erase_deleted
from llmops_tui.maintenance.erasure_ledger import FILE as LEDGER
from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.external_copies import inspect
from llmops_tui.maintenance.forgetting.erase import carry_on
from llmops_tui.maintenance.records import TrashRecord
from llmops_tui.maintenance.trace_removal import erase_traces
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.models.staged_download import unfinished
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.settings import Settings
from llmops_tui.traces.store import TraceStore
from llmops_tui.training.unpacking.cache import half_unpacked
from llmops_tui.training.unpacking.cache import kept as kept_unpacked
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import bytes_in
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import existing

if TYPE_CHECKING:
    import duckdb

DAYS = 30
# What was made so lately may belong to work that has not told the catalog yet.
_FRESH_SECONDS = 3600
_KEPT_BACKUPS = 3
# How the names end of what is renamed once whole.
_HALF = (".tmp", ".part", ".anew", ".anew.wal")
_DAY = 86_400
_KILLED = "left behind by a process that was killed"


@dataclass(frozen=True)
class Removal:
    """One thing that would go: a path below the workspace, or traces; its bytes, and why."""

    what: str
    why: str
    size: int
    path: Path | None = None

    def as_dict(self) -> TrashRecord:
        """For JSON."""
        return {"what": self.what, "why": self.why, "size_bytes": self.size}


def plan(
    workspace: Workspace,
    settings: Settings,
    days: float = DAYS,
    now: float | None = None,
    *,
    clock_is_right: bool = False,
) -> list[Removal]:
    """What would go and why; changes nothing. ``days``: how long logs, folders of jobs and kept answers stay.

    Raises:
        InputRefusedError: ``book_younger``.
        LlmopsError: ``clock_ahead``, but for ``clock_is_right``.
    """
    moment = time.time() if now is None else now
    if not clock_is_right:
        refuse_implausible_clock(workspace, moment)
    found = list(_leftovers(workspace, moment))
    unknown = [*_datasets(workspace, moment), *_models(workspace, moment, moment - days * _DAY)]
    # A download that has not ended was never in any catalog.
    begun = set(unfinished(workspace))
    _refuse_younger_catalog(workspace, [removal for removal in unknown if removal.path not in begun])
    found += unknown
    found += _unpacked(workspace, moment, moment - days * _DAY)
    found += _job_folders(workspace, moment - days * _DAY)
    found += _old_files(workspace, moment - days * _DAY)
    found += _builds(workspace, moment, moment - days * _DAY)
    if settings.trace_days:
        going = {removal.path for removal in found}
        old = _traces(workspace, moment - settings.trace_days * _DAY, settings.trace_days)
        found += [removal for removal in old if removal.path is None or removal.path not in going]
    return found


def collect(
    workspace: Workspace,
    settings: Settings,
    days: float = DAYS,
    now: float | None = None,
    *,
    clock_is_right: bool = False,
) -> list[Removal]:
    """Do what :func:`plan` says, thought through anew; returns what went.

    What a kill leaves goes the next time.
    """
    workspace.refuse_if_read_only()
    with exclusive_maintenance(existing(workspace)):
        moment = time.time() if now is None else now
        removals = plan(workspace, settings, days, moment, clock_is_right=clock_is_right)
        if any(removal.path is None for removal in removals):
            ids = _old_traces(workspace, moment - settings.trace_days * _DAY)
            erase_traces(workspace, ids, inspect(workspace, ids))
        if Ledger(workspace).begun():
            with JobStore(EventLog(workspace)).door():
                carry_on(workspace, Ledger(workspace), leave_sealed=True)
        if due_mark(workspace).exists():
            erase_deleted(workspace)
        paths = [r.path for r in removals if r.path is not None and r.path.name != LEDGER]
        data = [path for path in paths if path.parent == workspace.datasets]
        of_jobs = [path for path in paths if path.is_relative_to(workspace.runs)]
        rest = [path for path in paths if path not in data and path not in of_jobs]
        forget_checksums(workspace, [*rest, *data])
        delete_paths(rest)
        kept = _take_unneeded(workspace, data) | _take_from_jobs(workspace, of_jobs, moment - days * _DAY)
    return [removal for removal in removals if removal.path not in kept]


def _take_unneeded(workspace: Workspace, paths: list[Path]) -> set[Path]:
    """Take away folders of rows that no version has; returns those that one has got meanwhile.

    With the catalog open, since whoever makes a version of the same rows takes such a folder for its own.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> set[Path]:
        needed = {row[0] for row in connection.execute("SELECT sha256 FROM dataset_versions").fetchall()}
        delete_paths([path for path in paths if path.name not in needed])
        return {path for path in paths if path.name in needed}

    return Catalog(workspace).read(work) if paths else set()


def _take_from_jobs(workspace: Workspace, paths: list[Path], before: float) -> set[Path]:
    """Take away what is in the folder of jobs, and folders of jobs; returns those that a job has begun to work in meanwhile.

    Only here jobs have to wait for their folders: one that goes on in a folder that is just cleared away would lose it.
    Writing the databases anew takes minutes, and is done by then.
    """
    if not paths:
        return set()
    event_log = EventLog(workspace)
    try:
        store = JobStore(event_log)
        with store.door():
            due = {removal.path for removal in _job_folders(workspace, before)}
            kept = {
                path
                for path in paths
                if (job := path.relative_to(workspace.runs).parts[0]).startswith("job_")
                and (store.at_work(job) or (path == workspace.runs / job and path not in due))
            }
            going = [path for path in paths if path not in kept]
            forget_checksums(workspace, going)
            delete_paths(going)
    finally:
        event_log.close()
    return kept


def _refuse_younger_catalog(workspace: Workspace, removals: list[Removal]) -> None:
    """Refuse to take for rubbish what was here before the catalog was, and may have been in a catalog that was lost.

    Raises:
        InputRefusedError: ``book_younger``.
    """
    row = Catalog(workspace).read(lambda connection: connection.execute("SELECT made_at FROM workspace").fetchone())
    made_at = float(row[0]) if row is not None else 0.0
    # When it came here: the time of its last writing may have come along with a copy.
    older = [r for r in removals if r.path is not None and r.path.lstat().st_ctime < made_at]
    if older:
        raise InputRefusedError(
            "book_younger",
            f"{older[0].what} is older than the catalog, which was created again: it may belong to the lost catalog",
            "Restore a backup (llmops restore FILE), or add it again (data import, model add), or remove it yourself. "
            "Nothing was deleted.",
        )


def _leftovers(workspace: Workspace, now: float) -> Iterator[Removal]:
    """What processes that were killed left behind."""
    folders = (
        workspace.root,
        workspace.datasets,
        workspace.models,
        workspace.runs,
        workspace.logs,
        workspace.backups,
    )
    for folder in folders:
        for path in _inside(folder, ".*"):
            mine = path.name.startswith((".staging-", ".query-")) or path.name.endswith(_HALF)
            if mine and _age(path, now) > _FRESH_SECONDS:
                yield Removal(_name(workspace, path), _KILLED, bytes_in(path), path)
    if due_mark(workspace).exists():
        yield Removal(
            "what was deleted", "its bytes are still in some files: the erasure was interrupted", 0, due_mark(workspace)
        )
    for erasure in Ledger(workspace).begun():
        yield Removal(
            f"what erasure {erasure['id']} is of", "it was interrupted, and is completed", 0, workspace.root / LEDGER
        )
    for path in _bins(workspace, now):
        yield Removal(_name(workspace, path), _KILLED, bytes_in(path), path)


def _bins(workspace: Workspace, now: float) -> Iterator[Path]:
    """Folders that hold what was cleared away half; also where a folder of the workspace is a link to another disk."""
    own = {workspace.models, workspace.datasets, workspace.runs, workspace.logs, workspace.backups}
    real = workspace.root.resolve()
    for name, folders, _files in os.walk(workspace.root, followlinks=True):
        folder = Path(name)
        found = [each for each in sorted(folders) if each.startswith(BIN) and not (folder / each).is_symlink()]
        # Another workspace may use that disk, too, and be at it just now.
        shared = bool(found) and not folder.resolve().is_relative_to(real)
        yield from (folder / each for each in found if not shared or _age(folder / each, now) > _FRESH_SECONDS)
        folders[:] = [
            each for each in folders if each not in found and (folder / each in own or not (folder / each).is_symlink())
        ]


def _datasets(workspace: Workspace, now: float) -> Iterator[Removal]:
    rows = Catalog(workspace).read(
        lambda connection: connection.execute("SELECT id, sha256 FROM dataset_versions").fetchall()
    )
    ids, digests = {row[0] for row in rows}, {row[1] for row in rows}
    for path in _inside(workspace.datasets):
        if len(path.name) == 64 and path.name not in digests and _age(path, now) > _FRESH_SECONDS:
            yield Removal(_name(workspace, path), "no dataset version refers to it", bytes_in(path), path)
    for path in _inside(workspace.datasets, "rejected/*"):
        if path.stem not in ids and _age(path, now) > _FRESH_SECONDS:
            yield Removal(_name(workspace, path), "its dataset version does not exist any more", bytes_in(path), path)


def _models(workspace: Workspace, now: float, before: float) -> Iterator[Removal]:
    """What no model is in, and downloads that nobody went on with; a file that grows says it, its folder does not."""
    models = ModelRegistry(Catalog(workspace)).all()
    known = {place for model in models for place in model.places}
    # Where the catalog says that a model is elsewhere and it is not there, a file of its name may be the only copy.
    missed = {place.name for model in models if not model.present for place in model.places}
    begun = set(unfinished(workspace))
    for path in _inside(workspace.models):
        if any(file.is_relative_to(each) for file in known for each in (path, path.resolve())):
            continue
        if path in begun:
            if max((file.stat().st_mtime for file in path.iterdir()), default=path.stat().st_mtime) < before:
                yield Removal(_name(workspace, path), "an abandoned download", bytes_in(path), path)
        elif not missed.isdisjoint(each.name for each in (path, *path.rglob("*"))):
            continue
        elif not path.name.startswith(".") and _age(path, now) > _FRESH_SECONDS:
            yield Removal(_name(workspace, path), "no registered model is in it", bytes_in(path), path)


def _unpacked(workspace: Workspace, now: float, before: float) -> Iterator[Removal]:
    """Weights that were dequantized for training: of models that are gone, and what was not used for long."""
    event_log = EventLog(workspace)
    try:
        if any(not job.state.final for job in JobStore(event_log).all(1000)):
            # It may be just reading them.
            return
    finally:
        event_log.close()
    models = ModelRegistry(Catalog(workspace)).all()
    for path, model in kept_unpacked(workspace, models):
        if not model and _age(path, now) > _FRESH_SECONDS:
            why = "dequantized weights of a model that is no longer registered"
            yield Removal(_name(workspace, path), why, bytes_in(path), path)
        elif model and _age(path, now) > now - before:
            why = f"dequantized weights of {model} that no training used for long; made again when one needs them"
            yield Removal(_name(workspace, path), why, bytes_in(path), path)
    for path in half_unpacked(workspace):
        if _age(path, now) > _FRESH_SECONDS:
            yield Removal(_name(workspace, path), _KILLED, bytes_in(path), path)


def _job_folders(workspace: Workspace, before: float) -> Iterator[Removal]:
    """Folders of jobs whose work is kept elsewhere, and of jobs that nobody knows."""
    event_log = EventLog(workspace)
    try:
        jobs = JobStore(event_log).all(100_000)
    finally:
        event_log.close()
    sql = "SELECT job FROM training_runs UNION SELECT job FROM evaluation_runs"
    needed = {row[0] for row in Catalog(workspace).read(lambda connection: connection.execute(sql).fetchall())}
    last: dict[str, float] = {}
    for job in jobs:
        folder = job.resumes or job.id
        last[folder] = max(
            last.get(folder, 0.0), job.finished_at or (time.time() if not job.state.final else job.created_at)
        )
    kinds = {job.id: job.kind for job in jobs}
    for path in _inside(workspace.runs, "job_*"):
        ended = last.get(path.name, path.stat().st_mtime)
        # What searches and pairwise judgements found is in their folders alone.
        if path.name in needed or kinds.get(path.name) in {"sweep", "judge", "ladder"} or ended > before:
            continue
        kind = kinds.get(path.name, "job")
        yield Removal(_name(workspace, path), f"log of a {kind} that ended long ago", bytes_in(path), path)


def _old_files(workspace: Workspace, before: float) -> Iterator[Removal]:
    for path in _inside(workspace.logs):
        if path.is_file() and not path.name.startswith("notice-") and path.stat().st_mtime < before:
            yield Removal(_name(workspace, path), "an old log that is no longer written", bytes_in(path), path)
    for path in _inside(workspace.root, "workspace.duckdb.wal.corrupt-*"):
        if path.stat().st_mtime < before:
            yield Removal(
                _name(workspace, path), "changes that could not be replayed, quarantined long ago", bytes_in(path), path
            )
    copies = sorted(_inside(workspace.backups, "workspace-schema*.duckdb"), key=lambda p: p.stat().st_mtime)
    for path in copies[:-_KEPT_BACKUPS]:
        yield Removal(
            _name(workspace, path),
            f"older than the last {_KEPT_BACKUPS} copies made before migrations",
            bytes_in(path),
            path,
        )
    answers = workspace.root / ANSWERS
    if answers.exists() and answers.stat().st_mtime < before:
        yield Removal(ANSWERS, "cached answers that no evaluation has used for a long time", bytes_in(answers), answers)


def _traces(workspace: Workspace, before: float, days: int) -> Iterator[Removal]:
    """Traces that grew too old, and what else has their texts and is needed by nobody."""
    ids = _old_traces(workspace, before)
    if not ids:
        return
    sizes = "sum(strlen(output) + strlen(coalesce(thinking, '')) + strlen(messages::VARCHAR))"
    sql = f"SELECT {sizes} FROM requests WHERE list_contains(?::VARCHAR[], id)"
    size = int(Catalog(workspace).read(lambda connection: connection.execute(sql, [ids]).fetchall())[0][0] or 0)
    yield Removal(counted(len(ids), "trace"), f"older than {days} days, without feedback", size)
    for path in inspect(workspace, ids).files:
        yield Removal(_name(workspace, path), "it contains texts of those traces", bytes_in(path), path)


def _old_traces(workspace: Workspace, before: float) -> list[str]:
    event_log = EventLog(workspace)
    try:
        return TraceStore(Catalog(workspace), event_log).before(before)
    finally:
        event_log.close()


def _builds(workspace: Workspace, now: float, before: float) -> Iterator[Removal]:
    """What builds of indexes left that were killed, and that nobody went on with."""
    for path in IndexStore(Catalog(workspace)).left_over():
        if _age(path, now) > now - before:
            yield Removal(_name(workspace, path), "an abandoned build of an index", bytes_in(path), path)


def _inside(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in a folder of the workspace itself; behind a link it is somebody else's, and so is a link."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [p for p in sorted(folder.glob(pattern)) if not p.is_symlink() and not p.parent.is_symlink()]


def _name(workspace: Workspace, path: Path) -> str:
    return path.relative_to(workspace.root).as_posix()


def _age(path: Path, now: float) -> float:
    with contextlib.suppress(OSError):
        return now - path.stat().st_mtime
    return 0.0
