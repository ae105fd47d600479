"""Retention: what the rules of the settings say is to go is shown, and goes where nothing needs it."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

from llmops_tui.counts import counted
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.filed.batches import BatchStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.clock import refuse_implausible_clock
from llmops_tui.maintenance.deletion import delete_paths
from llmops_tui.maintenance.external_copies import inspect
from llmops_tui.maintenance.record_removal import plan_record_removal, remove_record
from llmops_tui.maintenance.trace_removal import erase_traces
from llmops_tui.maintenance.work_removal import Work, plan_work_removal, remove_work
from llmops_tui.retention_rules import RetentionRule, read_rules
from llmops_tui.settings import Settings
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

_DAY = 86_400
Tell = Callable[[float, str], None]


class DueRecord(TypedDict):
    """A thing that a rule is about, older than it may be; ``stays`` says why it does not go, where it does not."""

    rule: str
    what: str
    age_days: int
    size_bytes: int
    stays: str
    done: bool


class RetentionRecord(TypedDict):
    """The rules, and what is due by them."""

    rules: list[str]
    due: list[DueRecord]


@dataclass(frozen=True)
class Due:
    """A thing that is older than a rule lets it be.

    Attributes:
        what: the thing in words.
        ids: by what it is removed.
        age: seconds; of several the oldest.
        size: bytes that it takes, where that is known.
        stays: why it does not go.
        done: whether it went.
    """

    rule: RetentionRule
    what: str
    ids: tuple[str, ...]
    age: float
    size: int = 0
    stays: str = ""
    done: bool = False

    def as_dict(self) -> DueRecord:
        """For JSON."""
        return {
            "rule": self.rule.told,
            "what": self.what,
            "age_days": int(self.age // _DAY),
            "size_bytes": self.size,
            "stays": self.stays,
            "done": self.done,
        }


def plan_retention(workspace: Workspace, settings: Settings, now: float | None = None) -> list[Due]:
    """What is due by the rules of the settings, each thing once; changes nothing."""
    moment = time.time() if now is None else now
    found: dict[tuple[str, tuple[str, ...]], Due] = {}
    for rule in read_rules(settings.retention):
        for due in _FINDERS[rule.kind](workspace, rule, moment):
            found.setdefault((rule.kind, due.ids), due)
    return list(found.values())


def apply_retention(
    workspace: Workspace,
    settings: Settings,
    now: float | None = None,
    tell: Tell = lambda _share, _what: None,
    *,
    clock_is_right: bool = False,
) -> list[Due]:
    """Remove what :func:`plan_retention` says, thought through anew; what somebody began to use meanwhile stays, and says so.

    Raises:
        LlmopsError: ``clock_ahead``, but for ``clock_is_right``.
    """
    workspace.refuse_if_read_only()
    planned = plan_retention(workspace, settings, now)
    if planned and not clock_is_right:
        refuse_implausible_clock(workspace, time.time() if now is None else now)
    done = []
    for number, due in enumerate(planned):
        tell(number / len(planned), due.what)
        if due.stays:
            done.append(due)
            continue
        try:
            _REMOVERS[due.rule.kind](workspace, due)
        except LlmopsError as error:
            done.append(replace(due, stays=error.message))
        else:
            done.append(replace(due, done=True))
    tell(1.0, "done")
    return done


# ── traces ──


def _traces(workspace: Workspace, rule: RetentionRule, now: float) -> Iterator[Due]:
    event_log = EventLog(workspace)
    try:
        store = TraceStore(Catalog(workspace), event_log)
        wanted = TraceFilter.parse(rule.where, now)
        total = store.page(wanted, 1)[1]
        old = [line for line in store.page(wanted, max(1, total))[0] if line.started_at < now - rule.days * _DAY]
    finally:
        event_log.close()
    if old:
        ids = tuple(line.id for line in old)
        yield Due(rule, f"{counted(len(ids), 'trace')} with all feedback on them", ids, now - old[-1].started_at)


def _remove_traces(workspace: Workspace, due: Due) -> None:
    with exclusive_maintenance(workspace):
        erase_traces(workspace, due.ids, inspect(workspace, due.ids))


# ── datasets ──


def _datasets(workspace: Workspace, rule: RetentionRule, now: float) -> Iterator[Due]:
    terms = rule.terms
    for log in DatasetStore(Catalog(workspace)).logs().values():
        for version in log:
            age = now - version.created_at
            if age >= rule.days * _DAY and _is_meant(version, terms):
                planned = plan_record_removal(workspace, Kept.DATASET, version.ref)
                stays = "; ".join((*planned.in_the_way, *planned.uses))
                yield Due(rule, f"dataset {version.ref}", (version.ref,), age, planned.size, stays)


def _is_meant(version: DatasetVersion, terms: dict[str, str]) -> bool:
    name, tag, state = terms.get("name", "*"), terms.get("tag"), terms.get("is")
    return (
        fnmatch.fnmatchcase(version.dataset, name)
        and (tag is None or any(fnmatch.fnmatchcase(one, tag) for one in version.tags))
        and (state is None or bool(version.tags) == (state == "tagged"))
    )


def _remove_dataset(workspace: Workspace, due: Due) -> None:
    remove_record(workspace, Kept.DATASET, due.ids[0])


# ── runs and jobs ──


def _evaluations(workspace: Workspace, rule: RetentionRule, now: float) -> Iterator[Due]:
    terms = rule.terms
    for run in EvaluationStore(workspace).all():
        meant = fnmatch.fnmatchcase(run.name, terms.get("name", "*"))
        meant = meant and fnmatch.fnmatchcase(run.suite, terms.get("suite", "*"))
        if meant and now - run.created_at >= rule.days * _DAY:
            yield _work(workspace, rule, Work.EVALUATION, run.name, now - run.created_at)


def _trainings(workspace: Workspace, rule: RetentionRule, now: float) -> Iterator[Due]:
    for run in RunStore(workspace).all():
        if fnmatch.fnmatchcase(run.name, rule.terms.get("name", "*")) and now - run.created_at >= rule.days * _DAY:
            yield _work(workspace, rule, Work.TRAINING, run.name, now - run.created_at)


def _jobs(workspace: Workspace, rule: RetentionRule, now: float) -> Iterator[Due]:
    event_log = EventLog(workspace)
    try:
        jobs = JobStore(event_log).all(100_000)
    finally:
        event_log.close()
    # What went on with a job's work lies in its folder, and goes with it: the latest end counts.
    ends: dict[str, float] = {}
    for job in jobs:
        folder = job.resumes or job.id
        ends[folder] = max(ends.get(folder, 0.0), job.finished_at or job.created_at)
    for job in jobs:
        ended = ends[job.id] if job.resumes is None else now
        first = job.resumes is None and job.state.final
        if first and fnmatch.fnmatchcase(job.kind, rule.terms.get("kind", "*")) and now - ended >= rule.days * _DAY:
            yield _work(workspace, rule, Work.JOB, job.id, now - ended)


def _work(workspace: Workspace, rule: RetentionRule, kind: Work, name: str, age: float) -> Due:
    planned = plan_work_removal(workspace, kind, name)
    stays = "; ".join((*planned.in_the_way, *planned.uses))
    return Due(rule, f"{kind.value} {name}", (kind.name, name), age, planned.size, stays)


def _remove_work(workspace: Workspace, due: Due) -> None:
    remove_work(workspace, Work[due.ids[0]], due.ids[1])


# ── files of clients, and logs ──


def _files(workspace: Workspace, rule: RetentionRule, now: float) -> Iterator[Due]:
    store = BatchStore(workspace).files
    used = store.in_use()
    for record in store.records():
        age = now - record["created_at"]
        if age >= rule.days * _DAY and fnmatch.fnmatchcase(record["filename"], rule.terms.get("name", "*")):
            stays = "a batch answers it" if record["id"] in used else ""
            what = f"file {record['id']} of a client"
            yield Due(rule, what, (record["owner"], record["id"]), age, record["bytes"], stays)


def _remove_file(workspace: Workspace, due: Due) -> None:
    BatchStore(workspace).files.delete(*due.ids)


def _logs(workspace: Workspace, rule: RetentionRule, now: float) -> Iterator[Due]:
    if not workspace.logs.is_dir():
        return
    for path in sorted(workspace.logs.iterdir()):
        if not path.is_file() or path.is_symlink() or not fnmatch.fnmatchcase(path.name, rule.terms.get("name", "*")):
            continue
        facts = path.stat()
        if now - facts.st_mtime >= rule.days * _DAY:
            yield Due(rule, f"logs/{path.name}", (path.name,), now - facts.st_mtime, facts.st_size)


def _remove_log(workspace: Workspace, due: Due) -> None:
    path = workspace.logs / due.ids[0]
    if path.is_file() and time.time() - path.stat().st_mtime < _DAY:
        raise InputRefusedError("log_in_use", "it was written to meanwhile")
    with exclusive_maintenance(workspace):
        forget_checksums(workspace, [path])
        delete_paths([path])


_FINDERS: dict[str, Callable[[Workspace, RetentionRule, float], Iterator[Due]]] = {
    "traces": _traces, "datasets": _datasets, "evaluations": _evaluations, "trainings": _trainings, "jobs": _jobs,
    "files": _files, "logs": _logs,
}  # fmt: skip
_REMOVERS: dict[str, Callable[[Workspace, Due], None]] = {
    "traces": _remove_traces, "datasets": _remove_dataset, "evaluations": _remove_work, "trainings": _remove_work,
    "jobs": _remove_work, "files": _remove_file, "logs": _remove_log,
}  # fmt: skip
