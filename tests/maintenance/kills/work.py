"""Writers of work: evaluations, training runs and jobs, by stand-ins that do nothing dear; and their removal.

A job's supervisor and worker are forked, not started anew, and do what the real ones do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.runner import job as evaluation_job
from llmops_tui.evaluation.runner.results import ResultLog, read_line
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.asking.asker import Asker, Request
from llmops_tui.jobs import supervisor, worker
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.jobs.worker import JobContext
from llmops_tui.maintenance.work_removal import Work, remove_work
from llmops_tui.models import tasks
from llmops_tui.training import checkpoints, runs
from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.maintenance.kills.ledger import Kind, Known, Ledger, Place

CASES = 3
STEPS = 4
RECIPE = {"name": "run", "base": "weights", "data": ["base"], "trackers": []}
# How those that are started tell, in the process that writes.
TELL: list[Ledger] = []


# ── stand-ins ──


class _Worker:
    """A worker that was forked, as ``subprocess.Popen`` has one."""

    def __init__(self, command: list[str], **_given: Any) -> None:
        root, job, parent, lock = command[-4:]
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            die_with_parent(int(parent))
            assert int(lock) > 2
            os._exit(worker.run(Workspace(Path(root)), job))

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float) -> int:
        until = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < until:
            os.sched_yield()
        return self.returncode or 0

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _spawn(launcher: JobLauncher, job: Job, lock: int) -> None:
    """Fork the supervisor, in a session of its own."""
    if os.fork():
        return
    os.setsid()
    kept = os.dup2(lock, 1000)
    os.closerange(3, 1000)
    code = 1
    with contextlib.suppress(BaseException):
        code = supervisor.supervise(launcher.workspace, job.id, kept)
    os._exit(code)


def at_once(launcher: JobLauncher, job: Job, lock: int) -> None:
    """Do the work in the process that starts it."""
    held = os.dup(lock)
    launcher.store.update(job.id, state="running", pid=os.getpid(), pid_started=0.0, started_at=time.time())
    code = worker.run(launcher.workspace, job.id)
    ended = launcher.store.get(job.id)
    launcher.store.update(
        job.id, state="failed" if code else "done", finished_at=time.time(), exit_code=code, cause=ended.cause
    )
    os.close(held)


def _train(context: JobContext, run_name: str) -> dict[str, Any]:
    """Steps, a checkpoint every second one, and an end; goes on from the last whole checkpoint."""
    store = RunStore(context.workspace)
    run = store.get(run_name)
    folder = context.folder / "checkpoints"
    last, _ = checkpoints.newest(folder)
    record = Recorder(context.folder)
    for step in range(1 if last is None else last.step + 1, STEPS + 1):
        record.write("step", step, loss=1.0 / step)
        TELL[0].noted("step", run=run_name, step=step)
        if step % 2 == 0:
            target = checkpoints.staging(folder) / f"checkpoint-{step}"
            target.mkdir()
            (target / "weights").write_text(f"{run_name} {step}" * 1000)
            checkpoints.commit(folder, step, None)
            TELL[0].noted("checkpoint", run=run_name, step=step)
        context.report(step / STEPS)
    record.close()
    store.keep_result(run, {"steps": STEPS})
    return {"run": run_name, "steps": STEPS}


class _Renderer:
    def __init__(self, **_options: object) -> None:
        """As the real one; nothing is rendered here."""

    def close(self) -> None:
        return


class _KeepingLog(ResultLog):
    def add(self, result: Any) -> None:
        super().add(result)
        TELL[0].noted("case", path=str(self.path), index=result.case.index)


async def _answer(asker: Asker, name: str, request: Request, sampled: Mapping[str, object]) -> tuple[Any, str]:
    reply: Any = {"choices": [{"message": {"content": f"{name} says yes"}, "finish_reason": "stop"}], "usage": {}}
    asker.cache.keep(asker.key(asker.identity(name), request.path, sampled), reply)
    return reply, "run_of_" + request.path[-4:]


def stand_in() -> None:
    """Have the stand-ins do the work in this process and in those that it forks."""
    module: Any = evaluation_job
    others: Any = tasks
    asker: Any = Asker
    supervising: Any = supervisor
    module.TemplateRenderer, module.ResultLog = _Renderer, _KeepingLog
    module.render_each = lambda cases, *_, **_more: ([[{"role": "user", "content": str(c.index)}] for c in cases], {})
    asker.answer = _answer
    _train.__module__ = tasks.__name__
    others.pretend = _train
    runs.ENTRY = f"{tasks.__name__}:pretend"
    supervising.subprocess.Popen = _Worker


@contextlib.contextmanager
def working(tell: Ledger, how: Any) -> Iterator[None]:
    TELL[:] = [tell]
    JobLauncher._spawn = how  # type: ignore[method-assign]
    yield


# ── runs ──


def write_evaluations(place: Place, tell: Ledger, chance: Random) -> None:
    store = EvaluationStore(place.workspace)
    suite = store.suite("suite")
    with working(tell, at_once):
        while True:
            for name in _unfinished(store, store.all(), tell):
                with tell.doing("evaluated", run=name):
                    store.resume(name)
            with tell.doing("started"):
                (run,) = store.start(suite, [Asked("hello@1", f"far-{tell.label[0]}", {"seed": chance.randrange(3)})])
            with tell.doing("evaluated", run=run.name):
                assert store.get(run.name).summary is not None


def write_training(place: Place, tell: Ledger, _chance: Random) -> None:
    store = RunStore(place.workspace)
    recipe = check(RECIPE | {"name": f"of-{tell.label[0]}"})
    with working(tell, at_once):
        while True:
            for run in _unfinished(store, store.all(), tell):
                with tell.doing("trained", run=run):
                    store.resume(run)
            with tell.doing("started"):
                name = store.start(recipe).name
            with tell.doing("trained", run=name):
                assert store.get(name).result is not None


def _unfinished(store: Any, all_: list[Any], tell: Ledger) -> list[str]:
    """The runs of earlier writers of this kind that were killed."""
    mine = [run for run in all_ if f"of-{tell.label[0]}" in run.name or getattr(run, "asked", None) is not None]
    if mine and hasattr(mine[0], "asked"):
        mine = [run for run in mine if run.asked.model == f"far-{tell.label[0]}"]
    return [s.run.name for s in store.states(mine) if s.state not in {"done", "running", "queued", "starting"}]


def verify_evaluations(place: Place, known: Known, whole: bool) -> None:
    store = EvaluationStore(place.workspace)
    states = {state.run.name: state for state in store.states(store.all())}
    for told in known.acknowledged("evaluated"):
        assert states[told.facts["run"]].run.summary is not None
    cases: dict[str, Counter[int]] = {}
    for told in known.acknowledged("case"):
        cases.setdefault(told.facts["path"], Counter())[told.facts["index"]] += 1
    for state in states.values():
        path = state.run.results
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        there = Counter(read_line(line).case.index for line in lines)
        # Each answer once, and all that had been kept.
        assert max(there.values(), default=0) <= 1
        assert cases.get(str(path), Counter()).keys() <= there.keys()
        if state.run.summary is not None:
            assert sum(there.values()) == CASES == state.run.summary["cases"]
        assert not whole or state.run.summary is not None, (state.run.name, state.state, state.cause)
    _check_jobs(place, {state.run.job for state in states.values()})


def verify_training(place: Place, known: Known, whole: bool) -> None:
    store = RunStore(place.workspace)
    states = {state.run.name: state for state in store.states(store.all())}
    for told in known.acknowledged("trained"):
        assert states[told.facts["run"]].run.result is not None
    for told in known.acknowledged("step"):
        record = read_history(states[told.facts["run"]].run.folder)
        assert record.step >= told.facts["step"] or record.total or record.step > 0
    for told in known.acknowledged("checkpoint"):
        kept = checkpoints.complete(states[told.facts["run"]].run.folder / "checkpoints")
        mine = [checkpoint for checkpoint in kept if checkpoint.step == told.facts["step"]]
        assert len(mine) == 1
        assert checkpoints.verify(mine[0]) == ""
    for state in states.values():
        assert not whole or state.run.result is not None, (state.run.name, state.state, state.cause)
    _check_jobs(place, {state.run.job for state in states.values()})


def _check_jobs(place: Place, needed: set[str]) -> None:
    """Every job of a run is that of a run; what is not at work says so."""
    for job in JobStore(EventLog(place.workspace)).all(100_000):
        assert (job.resumes or job.id) in needed, f"{job.id} is of no run"


# ── jobs ──


def write_jobs(place: Place, tell: Ledger, chance: Random) -> None:
    """Jobs that are started, asked to stop, gone on with, and removed."""
    launcher = JobLauncher(place.workspace)
    entry = f"{tasks.__name__}:verify"
    with working(tell, _spawn):
        while True:
            with tell.doing("start") as done:
                title = tell.fresh()
                job = launcher.start(kind="verify", title=title, entry=entry, arguments={"name": "tiny"})
                done["job"] = job.id
            what = chance.choice(["wait", "cancel", "remove"])
            if what == "cancel":
                with tell.doing("cancel", job=job.id):
                    launcher.cancel(job.id)
            ended = _ended(launcher.store, job.id)
            with tell.doing("ended", job=job.id, state=ended.state.value):
                pass
            if what == "remove":
                with tell.doing("remove", job=job.id):
                    remove_work(place.workspace, Work.JOB, job.id)
            elif chance.random() < 0.5:
                with tell.doing("resume", job=job.id) as done:
                    done["job"] = launcher.resume(job.id).id
                _ended(launcher.store, done["job"])


def _ended(store: JobStore, job: str) -> Job:
    until = time.monotonic() + 60
    while not (found := store.get(job)).state.final:
        assert time.monotonic() < until, f"{job} never ended"
        os.sched_yield()
    return found


_ENDS = {JobState.DONE, JobState.CANCELLED, JobState.KILLED, JobState.LOST}


def verify_jobs(place: Place, known: Known, _whole: bool) -> None:
    store = JobStore(EventLog(place.workspace))
    for job in store.all(100_000):
        # Its supervisor may have been killed too, at the same line.
        if not job.state.final:
            _ended(store, job.id)
    jobs = {job.id: job for job in store.all(100_000)}
    removing = {told.facts["job"] for told in known.begun("remove")}
    for told in (*known.acknowledged("start"), *known.acknowledged("resume")):
        job = (told.done or {})["job"]
        assert job in jobs or job in removing
        assert job in removing or jobs[job].state in _ENDS, jobs[job]
    for told in known.acknowledged("ended"):
        if told.facts["job"] in jobs:
            assert jobs[told.facts["job"]].state.value == told.facts["state"]
    for told in known.acknowledged("remove"):
        assert told.facts["job"] not in jobs
        assert not (place.workspace.runs / told.facts["job"]).exists()
    for folder in place.workspace.runs.glob("job_*"):
        assert folder.name in {job.resumes or job.id for job in jobs.values()} or _bare(folder), folder


def _bare(folder: Path) -> bool:
    """Whether nothing but a lock is in a folder: its job never had a record."""
    return [path.name for path in folder.iterdir()] in ([], ["work.lock"])


# ── removal ──


def write_removals(place: Place, tell: Ledger, chance: Random) -> None:
    """Runs that one starts and removes while another goes on with whatever there is."""
    store = RunStore(place.workspace)
    recipe = check(RECIPE | {"name": f"of-{tell.label[0]}"})
    with working(tell, _nothing):
        while True:
            with tell.doing("started") as done:
                run = store.start(recipe)
                name, done["run"], done["job"] = run.name, run.name, run.job
                (run.folder / "weights").write_text(run.job * 100)
            others = [run.name for run in store.all() if run.name != name]
            with tell.doing("resumed"), _refused():
                if others:
                    store.resume(chance.choice(others))
            with tell.doing("removed", job=run.job), _refused() as refused:
                remove_work(place.workspace, Work.TRAINING, name)
            if not refused:
                tell.noted("gone", job=run.job)


def _nothing(launcher: JobLauncher, job: Job, _lock: int) -> None:
    launcher.store.update(job.id, state="done", result=json.dumps({}))


@contextlib.contextmanager
def _refused() -> Iterator[list[str]]:
    """What two that want different things of one run are told."""
    found: list[str] = []
    try:
        yield found
    except NotFoundError as error:
        found.append(error.message)
    except (InputRefusedError, LlmopsError) as error:
        if error.code not in {"in_the_way", "job_running", "job_done", "job_not_started", "run_removed"}:
            raise
        found.append(error.message)


def verify_removals(place: Place, known: Known, _whole: bool) -> None:
    store = RunStore(place.workspace)
    kept = {run.job: run for run in store.all()}
    trying = {told.facts["job"] for told in known.begun("removed")}
    for told in known.acknowledged("started"):
        job = (told.done or {})["job"]
        assert job in kept or job in trying
        if job not in trying:
            assert (kept[job].folder / "weights").read_text() == job * 100
    for told in known.acknowledged("gone"):
        assert told.facts["job"] not in kept
        assert not (place.workspace.runs / told.facts["job"]).exists()
    half = trying - {told.facts["job"] for told in known.acknowledged("removed")}
    strays = {job.resumes or job.id for job in store.jobs.all(100_000)} - kept.keys()
    # Of a removal that was killed the records of jobs may be left; asked for by the job, they go.
    assert strays <= half | _of_others(strays, known)
    for folder in place.workspace.runs.glob("job_*"):
        assert folder.name in kept.keys() | strays or _bare(folder), folder


def _of_others(jobs: set[str], known: Known) -> set[str]:
    """Those of jobs that the other writer may be at."""
    mine = {(told.done or {})["job"] for told in known.acknowledged("started")}
    return jobs - mine


KINDS = {
    "evaluations": Kind(write_evaluations, verify_evaluations),
    "training": Kind(write_training, verify_training),
    "jobs": Kind(write_jobs, verify_jobs),
    "removals": Kind(write_removals, verify_removals),
}
