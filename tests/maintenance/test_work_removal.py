"""Removing runs and jobs: what goes, what stays, what depends on them, what stands in the way, and kills on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.maintenance import gc
from llmops_tui.maintenance.check import check as check_all
from llmops_tui.maintenance.erasure import due_mark, erase_deleted, note_erasure
from llmops_tui.maintenance.work_removal import Work, plan_work_removal, remove_work
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.settings import Settings
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from llmops_tui.workspace.locks import try_lock
from tests.commands import Llmops
from tests.engine.engines import MODEL


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job ends at once, done."""

    def spawn(launcher: JobLauncher, job: object, _lock: int) -> None:
        launcher.store.update(job.id, state="done", result="{}")  # type: ignore[attr-defined]

    monkeypatch.setattr(JobLauncher, "_spawn", spawn)


def trained(workspace: Workspace, model: str = "") -> Run:
    """A run that ended, with a file of ten bytes."""
    store = RunStore(workspace)
    run = store.start(check({"name": "mine", "base": "support-base-hf", "data": ["triage"], "trackers": []}))
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "weights").write_bytes(b"0123456789")
    result = json.dumps({"model": model or None})
    store.catalog.write(
        lambda connection: connection.execute("UPDATE training_runs SET result = ? WHERE name = ?", [result, run.name])
    )
    return store.get(run.name)


def evaluated(workspace: Workspace, columns: int) -> list[str]:
    """Runs of one job, with results."""
    store = EvaluationStore(workspace)
    suite = store.save_suite(check_suite({"cases": [{"vars": {"message": "hi"}}], "metrics": ["exact"]}, "tiny"))
    runs = store.start(suite, [Asked("", "support-base", {"seed": n}) for n in range(columns)])
    for run in runs:
        run.folder.mkdir(parents=True)
        run.results.write_text("x" * 5)
        summary = {"metrics": {}, "cases": 1, "answers": 1, "cached": 0, "errors": 0, "costs": {}, "variations": []}
        store.finish(run.name, {"model_sha256": "m"}, summary, f"results of {run.name}")
    return [run.name for run in runs]


def edges(workspace: Workspace, output: str) -> int:
    sql = "SELECT count(*) FROM lineage WHERE output = ?"
    return int(Catalog(workspace).read(lambda connection: connection.execute(sql, [output]).fetchall())[0][0])


def test_a_training_run_goes_with_its_folder_and_its_jobs_and_its_model_stays(sample: Workspace) -> None:
    run = trained(sample, model="support-base")
    again = RunStore(sample).jobs.add_resumed(RunStore(sample).jobs.get(run.job))
    RunStore(sample).jobs.update(again.id, state="done")
    cli = Llmops(sample)
    shown = cli.run("train", "remove", run.name)
    assert (shown["done"], shown["size_bytes"], shown["removed_paths"]) == (False, 10, [str(run.folder)])
    assert set(shown["jobs"]) == {run.job, again.id}
    assert shown["uses"] == ["model support-base was made by it, and can no longer be exported in another form"]
    assert (run.folder / "adapter" / "weights").exists()
    cli.run("train", "remove", run.name, "--yes", code=3)
    assert (run.folder / "adapter" / "weights").exists()
    assert cli.run("train", "remove", run.name, "--yes", "--force")["done"]
    assert not run.folder.exists()
    assert not list(sample.runs.glob(".cleared-*"))
    assert RunStore(sample).all() == []
    assert RunStore(sample).jobs.all() == []
    assert ModelRegistry(Catalog(sample)).get("support-base").present
    with pytest.raises(NotFoundError):
        remove_work(sample, Work.TRAINING, run.name)
    record_checksums(sample)
    assert check_all(sample).errors == []


def test_an_evaluation_goes_alone_and_the_last_of_a_job_takes_the_job_along(sample: Workspace) -> None:
    first, second = evaluated(sample, 2)
    store = EvaluationStore(sample)
    job = store.get(first).job
    record = f"results of {first}"
    store.catalog.write(
        lambda connection: record_edges(connection, output=record, kind="evaluation", recipe="", inputs=["m"])
    )
    done = remove_work(sample, Work.EVALUATION, first)
    assert (done.paths, done.jobs) == ((sample.runs / job / first,), ())
    assert edges(sample, record) == 0
    assert edges(sample, f"results of {second}") == 1
    assert store.get(second).results.exists()
    assert store.jobs.get(job).state == JobState.DONE
    done = remove_work(sample, Work.EVALUATION, second)
    assert (done.paths, done.jobs) == ((sample.runs / job,), (job,))
    assert store.all() == []
    assert store.jobs.all() == []
    assert not (sample.runs / job).exists()


def reply(text: str) -> Any:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def test_the_kept_answers_of_an_evaluation_go_with_it_where_no_other_run_has_them(sample: Workspace) -> None:
    first, second = evaluated(sample, 2)
    store = EvaluationStore(sample)
    secret, shared, theirs = (f"what {name} answered, at some length" for name in ("the first", "both", "the second"))
    for name, texts in ((first, (secret, shared)), (second, (shared, theirs))):
        lines = [json.dumps({"case": {"index": n}, "answer": {"text": text}}) for n, text in enumerate(texts)]
        store.get(name).results.write_text("\n".join([*lines, "torn"]))
    cache = AnswerCache(sample)
    for text in (secret, shared, theirs, "of no run"):
        cache.keep(text, reply(text))
    cache.close()
    assert secret.encode() in (sample.root / "answers.db").read_bytes()
    cli = Llmops(sample)
    assert cli.run("eval", "remove", first)["answers"] == 0
    done = cli.run("eval", "remove", first, "--yes")
    assert (done["done"], done["answers"]) == (True, 1)
    for path in sample.root.glob("answers.db*"):
        assert secret.encode() not in path.read_bytes()
    cache = AnswerCache(sample)
    assert cache.find([secret, shared, theirs, "of no run"]).keys() == {shared, theirs, "of no run"}
    cache.close()
    assert not due_mark(sample).exists()
    remove_work(sample, Work.EVALUATION, second)
    cache = AnswerCache(sample)
    assert cache.find([shared, theirs, "of no run"]).keys() == {"of no run"}
    cache.close()


def test_a_job_that_does_the_work_of_a_run_is_not_removed_alone(sample: Workspace) -> None:
    run = trained(sample)
    (name,) = evaluated(sample, 1)
    evaluation = EvaluationStore(sample).get(name).job
    for job, told in ((run.job, f"llmops train remove {run.name}"), (evaluation, f"llmops eval remove {name}")):
        with pytest.raises(InputRefusedError, match=told):
            remove_work(sample, Work.JOB, job)
    assert run.folder.exists()


def test_an_ended_job_goes_with_all_that_went_on_with_it(sample: Workspace) -> None:
    launcher = JobLauncher(sample)
    job = launcher.start(kind="verify", title="v", entry="llmops_tui.models.tasks:verify", arguments={})
    again = launcher.resume(job.id, unfinished=True)
    (launcher.store.folder(job) / "output.log").write_text("done")
    other = launcher.start(kind="verify", title="other", entry="llmops_tui.models.tasks:verify", arguments={})
    shown = Llmops(sample).run("job", "remove", again.id[:-1])
    assert set(shown["jobs"]) == {job.id, again.id}
    assert Llmops(sample).run("job", "remove", again.id, "--yes")["done"]
    assert [each.id for each in launcher.store.all()] == [other.id]
    assert not launcher.store.folder(job).exists()


def test_what_a_search_found_is_told_before_it_goes(sample: Workspace) -> None:
    job = JobLauncher(sample).start(kind="sweep", title="s", entry="llmops_tui.training.sweeps:search", arguments={})
    JobLauncher(sample).store.update(job.id, result='{"best": {}}')
    with pytest.raises(InputRefusedError, match="what the search found is stored only in this job"):
        remove_work(sample, Work.JOB, job.id)
    assert remove_work(sample, Work.JOB, job.id, force=True).done


def test_what_is_at_work_is_refused_by_name(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobLauncher, "_spawn", lambda _self, _job, lock: os.dup(lock))
    store = RunStore(sample)
    run = store.start(check({"name": "mine", "base": "support-base-hf", "data": ["triage"], "trackers": []}))
    with pytest.raises(InputRefusedError, match=f"queued.*llmops train stop {run.name}"):
        remove_work(sample, Work.TRAINING, run.name)
    job = JobLauncher(sample).start(kind="x", title="x", entry="llmops_tui.x:y", arguments={"model": "none"})
    with pytest.raises(InputRefusedError, match=f"{job.id} is queued"):
        remove_work(sample, Work.JOB, job.id)
    assert store.get(run.name).folder.exists()


def test_a_run_that_another_job_works_on_is_in_use(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(sample)
    monkeypatch.setattr(JobLauncher, "_spawn", lambda _self, _job, lock: os.dup(lock))
    job = JobLauncher(sample).start(kind="export", title="export", entry="llmops_tui.x:y", arguments={"run": run.name})
    assert plan_work_removal(sample, Work.TRAINING, run.name).in_the_way == (f"{job.id} is working on it (export)",)


def test_a_folder_where_a_process_is_at_work_stays_whatever_the_records_say(sample: Workspace) -> None:
    run = trained(sample)
    lock = try_lock(RunStore(sample).jobs.lock_of(run.job))
    assert lock is not None
    with pytest.raises(InputRefusedError, match="a process is running in its folder"):
        remove_work(sample, Work.TRAINING, run.name)
    os.close(lock)
    assert remove_work(sample, Work.TRAINING, run.name).done


def test_a_model_that_lies_in_a_runs_folder_is_in_the_way(sample: Workspace) -> None:
    run = trained(sample)
    (run.folder / "made.gguf").write_bytes(MODEL.read_bytes())
    ModelRegistry(Catalog(sample)).add(run.folder / "made.gguf", "made")
    with pytest.raises(InputRefusedError, match="llmops model remove made"):
        remove_work(sample, Work.TRAINING, run.name, force=True)
    assert (run.folder / "made.gguf").exists()


@pytest.mark.parametrize("job", ["../../elsewhere", "linked"])
def test_what_is_not_inside_the_workspaces_runs_is_never_deleted(sample: Workspace, tmp_path: Path, job: str) -> None:
    run = trained(sample)
    elsewhere = sample.runs / job if job.startswith("..") else tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    if job == "linked":
        (sample.runs / job).symlink_to(elsewhere)
    Catalog(sample).write(lambda connection: connection.execute("UPDATE training_runs SET job = ?", [job]))
    with pytest.raises(InputRefusedError, match=r"is not a folder inside|is not a valid name"):
        remove_work(sample, Work.TRAINING, run.name, force=True)
    assert (elsewhere / "precious").exists()


# Removes a run and is killed at its N-th step: moving a folder away, a write into the catalog, the records, the deletion.
KILLED = """
import os, signal, sys
from pathlib import Path
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance import work_removal, deletion
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
steps = [0]
def dies(work):
    def step(*given, **named):
        steps[0] += 1
        if steps[0] == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*given, **named)
    return step
deletion._move = dies(deletion._move)
Catalog.write = dies(Catalog.write)
JobStore.forget = dies(JobStore.forget)
deletion.shutil.rmtree = dies(deletion.shutil.rmtree)
work_removal.remove_work(Workspace(Path(sys.argv[1])), work_removal.Work.TRAINING, sys.argv[2])
print(steps[0])
"""


@pytest.mark.parametrize("step", [1, 3, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 4))])
def test_a_removal_that_is_killed_is_ended_by_the_next(sample: Workspace, step: int) -> None:
    run, other = trained(sample), trained(sample)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(sample.root), run.name, str(step)], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = [path for path in sample.runs.rglob("weights") if other.folder not in path.parents]
    # Up to the deletion itself nothing of it is lost.
    assert [path.read_bytes() for path in kept] == [b"0123456789"]
    if run.name in {each.name for each in RunStore(sample).all()}:
        assert remove_work(sample, Work.TRAINING, run.name).done
    elif any(job.id == run.job for job in RunStore(sample).jobs.all()):
        assert remove_work(sample, Work.JOB, run.job).done
    assert [each.name for each in RunStore(sample).all()] == [other.name]
    assert [job.id for job in RunStore(sample).jobs.all()] == [other.job]
    assert (other.folder / "adapter" / "weights").exists()


def strays(workspace: Workspace) -> list[str]:
    """What is left in the folder of runs, and of records of jobs."""
    jobs = [job.id for job in RunStore(workspace).jobs.all()]
    return jobs + [path.name for path in workspace.runs.iterdir() if path.name != "jobs.lock"]


@pytest.mark.parametrize("began", [True, False], ids=["gone on with", "begun again"])
def test_nobody_goes_on_with_a_run_that_is_being_removed(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch, began: bool
) -> None:
    run = trained(sample)
    store = RunStore(sample)
    if began:
        store.jobs.update(run.job, state="failed")
    else:
        store.jobs.forget(run.job)
    store.catalog.write(lambda connection: connection.execute("UPDATE training_runs SET result = NULL"))
    monkeypatch.setattr("llmops_tui.jobs.store._DOOR_SECONDS", 0.0)
    written, refusals = Catalog.write, []

    def busy(catalog: Catalog, work: Any) -> Any:
        # The folder is away, and the catalog is waited for.
        assert not run.folder.exists()
        with pytest.raises(LlmopsError) as caught:
            RunStore(sample).resume(run.name)
        refusals.append(caught.value.code)
        assert not run.folder.exists()
        return written(catalog, work)

    monkeypatch.setattr(Catalog, "write", busy)
    assert remove_work(sample, Work.TRAINING, run.name).done
    assert refusals == ["jobs_busy"]
    assert strays(sample) == []


@pytest.mark.slow
def test_a_run_that_is_just_gone_on_with_is_not_removed(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(sample)
    RunStore(sample).catalog.write(lambda connection: connection.execute("UPDATE training_runs SET result = NULL"))
    recorded, refusals = JobStore.add_resumed, []

    def meanwhile(store: JobStore, old: Any) -> Any:
        with pytest.raises(InputRefusedError) as caught:
            remove_work(sample, Work.TRAINING, run.name, force=True)
        refusals.append(caught.value.code)
        return recorded(store, old)

    monkeypatch.setattr(JobStore, "add_resumed", meanwhile)
    RunStore(sample).resume(run.name)
    assert refusals == ["in_the_way"]
    assert (run.folder / "adapter" / "weights").read_bytes() == b"0123456789"


@pytest.mark.parametrize("kind", [Work.TRAINING, Work.EVALUATION])
@pytest.mark.parametrize("began", [True, False], ids=["gone on with", "begun again"])
def test_what_was_removed_before_its_folder_was_taken_is_not_begun_again(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch, kind: Work, began: bool
) -> None:
    if kind is Work.TRAINING:
        store: Any = RunStore(sample)
        name = trained(sample).name
        store.catalog.write(lambda connection: connection.execute("UPDATE training_runs SET result = NULL"))
    else:
        store = EvaluationStore(sample)
        (name,) = evaluated(sample, 1)
        store.catalog.write(lambda connection: connection.execute("UPDATE evaluation_runs SET summary = NULL"))
    if not began:
        store.jobs.forget(store.get(name).job)
    place = JobLauncher.place

    def later(launcher: JobLauncher, job_id: str | None = None) -> Any:
        remove_work(sample, kind, name, force=True)
        return place(launcher, job_id)

    monkeypatch.setattr(JobLauncher, "place", later)
    with pytest.raises(NotFoundError):
        store.resume(name)
    assert strays(sample) == []


def test_a_jobs_folder_is_not_cleared_away_from_whoever_goes_on_in_it(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = JobLauncher(sample)
    job = launcher.start(kind="verify", title="v", entry="llmops_tui.models.tasks:verify", arguments={})
    launcher.store.update(job.id, state="failed", finished_at=1.0)
    monkeypatch.setattr("llmops_tui.jobs.store._DOOR_SECONDS", 0.0)
    taken, refusals = gc.delete_paths, []

    def meanwhile(paths: list[Path]) -> None:
        if launcher.store.folder(job) in paths:
            with pytest.raises(LlmopsError) as caught:
                launcher.resume(job.id)
            refusals.append(caught.value.code)
        taken(paths)

    monkeypatch.setattr(gc, "delete_paths", meanwhile)
    assert [removal.path for removal in gc.collect(sample, Settings())] == [launcher.store.folder(job)]
    assert refusals == ["jobs_busy"]
    assert launcher.store.get(launcher.resume(job.id).id).state == JobState.DONE


def test_jobs_start_while_databases_are_written_anew_and_keep_their_folders(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = JobLauncher(sample)
    job = launcher.start(kind="verify", title="v", entry="llmops_tui.models.tasks:verify", arguments={})
    launcher.store.update(job.id, state="failed", finished_at=1.0)
    note_erasure(sample)
    held: list[int | None] = []

    def long(workspace: Workspace) -> list[str]:
        # Somebody goes on in a folder that was planned to go.
        with launcher.store.door():
            held.append(try_lock(launcher.store.lock_of(job.id)))
        return erase_deleted(workspace)

    monkeypatch.setattr(gc, "erase_deleted", long)
    monkeypatch.setattr("llmops_tui.jobs.store._DOOR_SECONDS", 0.0)
    gone = gc.collect(sample, Settings())
    (lock,) = held
    assert lock is not None
    assert launcher.store.folder(job) not in [removal.path for removal in gone]
    assert launcher.store.lock_of(job.id).exists()
    os.close(lock)
