"""Removal of a training run, an evaluation run or a job: blockers, dependents, and the removal itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.jobs.store import Job, JobStore
from llmops_tui.maintenance.archiving import Archivable, forget_archived
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.deletion import renamed_away
from llmops_tui.maintenance.erasure import erase_answers
from llmops_tui.maintenance.external_copies import forget_answers_of
from llmops_tui.maintenance.in_use import mentions
from llmops_tui.maintenance.records import WorkRemovalRecord
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import bytes_in
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import wait_lock

if TYPE_CHECKING:
    import duckdb

# What these found is in their own records and folders, and nowhere else.
_FINDING = {"sweep": "what the search found", "judge": "what the judge said", "ladder": "what the ladder measured"}


class Work(StrEnum):
    """What can be removed here, by the name that the user knows it by."""

    TRAINING = "training run"
    EVALUATION = "evaluation run"
    JOB = "job"


@dataclass(frozen=True)
class WorkRemoval:
    """What removing a run or a job means.

    Attributes:
        folder: the id of the first job of the folder that it was done in.
        paths: the files and folders that go.
        size: their bytes.
        jobs: the records of jobs that go with it; none where another run needs them.
        uses: what depends on it, in words; all of that stays, without what it came from.
        in_the_way: why it cannot be removed now, in words.
        done: whether it was removed.
        answers: kept answers of an evaluation run that went with it, since no other run has them.
    """

    kind: Work
    name: str
    folder: str
    paths: tuple[Path, ...]
    size: int
    jobs: tuple[str, ...]
    uses: tuple[str, ...]
    in_the_way: tuple[str, ...]
    done: bool = False
    answers: int = 0

    @property
    def needs_force(self) -> bool:
        """Whether somebody has to agree to more than the thing itself."""
        return bool(self.uses)

    def as_dict(self) -> WorkRemovalRecord:
        """For JSON."""
        return {
            "kind": self.kind.value,
            "name": self.name,
            "removed_paths": [str(path) for path in self.paths],
            "size_bytes": self.size,
            "jobs": list(self.jobs),
            "uses": list(self.uses),
            "in_the_way": list(self.in_the_way),
            "done": self.done,
            "answers": self.answers,
        }


# The hash of a run's results, if no other run has the same ones, as those have that found all answers in the cache.
_ABOUT = (
    "(SELECT results_sha256 FROM evaluation_runs WHERE name = ? AND results_sha256 NOT IN "
    "(SELECT results_sha256 FROM evaluation_runs WHERE name <> ? AND results_sha256 IS NOT NULL))"
)


def plan_work_removal(workspace: Workspace, kind: Work, name: str) -> WorkRemoval:
    """What would go, and what stands in the way; changes nothing.

    Raises:
        NotFoundError: there is none of that name.
    """
    event_log = EventLog(workspace)
    try:
        jobs = JobStore(event_log).all(100_000)
        found = {Work.TRAINING: _training, Work.EVALUATION: _evaluation, Work.JOB: _job}[kind](workspace, jobs, name)
    finally:
        event_log.close()
    paths = tuple(path for path in found.paths if os.path.lexists(path))
    if foreign := [path for path in paths if not _inside(workspace, path)]:
        # A link, or a name that a foreign catalog gave it: what is there is not the workspace's to delete.
        why = f"{foreign[0]} is not a folder inside {workspace.runs}"
        return replace(found, paths=(), in_the_way=(*found.in_the_way, why))
    size = bytes_in(*paths)
    held = tuple(
        f"model {model.name!r} lies in its folder (llmops model remove {model.name})"
        for model in ModelRegistry(Catalog(workspace)).all()
        if model.kind != "remote" and any(place.is_relative_to(path) for place in model.places for path in paths)
    )
    return replace(found, paths=paths, size=size, in_the_way=(*found.in_the_way, *held))


def remove_work(workspace: Workspace, kind: Work, name: str, *, force: bool = False) -> WorkRemoval:
    """Do it, thought through anew; ``force`` also where something depends on it.

    Raises:
        InputRefusedError: ``in_the_way``: it is at work, or something needs it; ``work_used``: something depends on it, and
            no ``force``.
        LlmopsError: ``not_taken_away``: a file cannot be removed; all is as before.
    """
    with exclusive_maintenance(workspace):
        planned = plan_work_removal(workspace, kind, name)
        _refuse(planned, force=force, alone=True)
        # While its results are there, whoever is killed on the way finds them again; and jobs need not wait for this.
        with _nobody_at_work(workspace, planned.folder) as alone:
            _refuse(planned, force=force, alone=alone)
            answers = _forget_answers(workspace, planned)
        # Nobody takes a folder for a job from here on, so what is seen now stays so.
        with JobStore(EventLog(workspace)).door():
            planned = plan_work_removal(workspace, kind, name)
            with _nobody_at_work(workspace, planned.folder) as alone:
                _refuse(planned, force=force, alone=alone)
                # A file that cannot be taken away, and a catalog that cannot be told, leave both as they were.
                forget_checksums(workspace, planned.paths)
                with renamed_away(planned.paths):
                    _forget(workspace, planned)
    if kind is not Work.JOB:
        forget_archived(
            workspace, Archivable.TRAINING if kind is Work.TRAINING else Archivable.EVALUATION, planned.name
        )
    return replace(planned, answers=answers, done=True)


def _refuse(planned: WorkRemoval, *, force: bool, alone: bool) -> None:
    if planned.in_the_way or not alone:
        why = "; ".join(planned.in_the_way) or "a process is running in its folder"
        raise InputRefusedError(
            "in_the_way", f"{planned.kind} {planned.name} cannot be removed: {why}", "End that first."
        )
    if planned.uses and not force:
        raise InputRefusedError(
            "work_used",
            f"{planned.kind} {planned.name} is needed: {'; '.join(planned.uses)}",
            "To remove it anyway: --force",
        )


def _forget_answers(workspace: Workspace, planned: WorkRemoval) -> int:
    """Erase the kept answers of an evaluation run that no other has; returns how many."""
    if planned.kind != Work.EVALUATION:
        return 0
    runs = EvaluationStore(workspace).all()
    own = next(run.results for run in runs if run.name == planned.name)
    others = [run.results for run in runs if run.name != planned.name]
    return erase_answers(workspace, lambda: forget_answers_of(workspace, own, others))


def _inside(workspace: Workspace, path: Path) -> bool:
    return not path.is_symlink() and workspace.runs.resolve() in path.resolve().parents


@contextlib.contextmanager
def _nobody_at_work(workspace: Workspace, folder: str) -> Iterator[bool]:
    """Hold a job's folder so that nobody goes on with its work meanwhile; false where somebody is at it."""
    path = JobStore(EventLog(workspace)).lock_of(folder)
    if not folder or not path.parent.is_dir():
        yield True
        return
    lock = wait_lock(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _forget(workspace: Workspace, planned: WorkRemoval) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        if planned.kind == Work.TRAINING:
            connection.execute("DELETE FROM training_runs WHERE name = ?", [planned.name])
        else:
            # What its results come from is of interest as long as there are results.
            connection.execute(
                "DELETE FROM lineage WHERE output IN (SELECT results_sha256 FROM evaluation_runs WHERE name = ?)",
                [planned.name],
            )
            # People's grades are of its results, and their votes of two runs' results.
            connection.execute(
                f"DELETE FROM annotations WHERE {_ABOUT} IN (sha256, value->>'against')", [planned.name, planned.name]
            )
            connection.execute("DELETE FROM evaluation_runs WHERE name = ?", [planned.name])

    if planned.kind != Work.JOB:
        Catalog(workspace).write(work)
    if planned.jobs:
        event_log = EventLog(workspace)
        try:
            JobStore(event_log).forget(planned.folder)
        finally:
            event_log.close()


def _training(workspace: Workspace, jobs: list[Job], name: str) -> WorkRemoval:
    store = RunStore(workspace)
    run = store.get(name)
    made = (run.result or {}).get("model")
    uses = [f"model {made} was made by it, and can no longer be exported in another form"] if made else []
    records, busy = _jobs_of(jobs, run.job, name)
    return WorkRemoval(
        Work.TRAINING,
        name,
        run.job,
        (run.folder,),
        0,
        records,
        tuple(uses),
        (*(f"{word} (llmops train stop {name})" for word in _at_work(store.state(run).state)), *busy),
    )


def _evaluation(workspace: Workspace, jobs: list[Job], name: str) -> WorkRemoval:
    store = EvaluationStore(workspace)
    run = store.get(name)
    state = store.state(run)
    others = [other.name for other in store.all() if other.job == run.job and other.name != name]
    records, busy = _jobs_of(jobs, run.job, name)
    uses = [f"{job.id} compared it ({job.title})" for job in jobs if job.kind == "judge" and mentions(job.spec, name)]
    if graded := _words_about(store, name):
        uses.append(
            f"{counted(graded, 'grade or vote', 'grades and votes')} of people about its answers are deleted with it"
        )
    word = state.job.state.value if state.job is not None and not state.job.state.final else state.state
    return WorkRemoval(
        # Runs that were started together share a job and its folder.
        Work.EVALUATION,
        name,
        run.job,
        (run.folder,) if others else (run.folder.parent,),
        0,
        () if others else records,
        tuple(uses),
        (*(f"its job is {told} (llmops job cancel {run.job})" for told in _at_work(word)), *busy),
    )


def _words_about(store: EvaluationStore, name: str) -> int:
    """How many grades and votes people gave on a run's answers."""
    sql = f"SELECT count(*) FROM annotations WHERE {_ABOUT} IN (sha256, value->>'against')"
    ((count,),) = store.catalog.read(lambda connection: connection.execute(sql, [name, name]).fetchall())
    return int(count)


def _job(workspace: Workspace, jobs: list[Job], name: str) -> WorkRemoval:
    job = JobStore(EventLog(workspace)).get(name)
    folder = job.resumes or job.id
    sql = (
        "SELECT 'training run ' || name || ' (llmops train remove ' || name || ')' FROM training_runs WHERE job = ? "
        "UNION ALL SELECT 'evaluation run ' || name || ' (llmops eval remove ' || name || ')' FROM evaluation_runs WHERE job = ?"
    )
    needed = Catalog(workspace).read(lambda connection: connection.execute(sql, [folder, folder]).fetchall())
    records, _ = _jobs_of(jobs, folder, "")
    running = [each for each in jobs if each.id in records and not each.state.final]
    result = any(each.result for each in jobs if each.id in records)
    uses = (f"{_FINDING[job.kind]} is stored only in this job",) if job.kind in _FINDING and result else ()
    in_the_way = [f"{each.id} is {each.state.value} (llmops job cancel {each.id})" for each in running]
    in_the_way += [f"it resumes {row[0]}" for row in needed]
    place = JobStore(EventLog(workspace)).folder(job)
    return WorkRemoval(Work.JOB, job.id, folder, (place,), 0, records, uses, tuple(in_the_way))


def _jobs_of(jobs: list[Job], folder: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The jobs of a folder, and in words those elsewhere that are at work on a run of this name."""
    own = [job for job in jobs if folder and (job.resumes or job.id) == folder]
    others = [job for job in jobs if job not in own and not job.state.final and name and mentions(job.spec, name)]
    return tuple(job.id for job in own), tuple(f"{job.id} is working on it ({job.title})" for job in others)


def _at_work(word: str) -> tuple[str, ...]:
    return (word,) if word in {"starting", "queued", "running"} else ()
