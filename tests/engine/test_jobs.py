from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.jobs import worker
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.moved_entries import MOVED
from llmops_tui.jobs.process import ProcessIdentity, child_ends, describe_exit, identify
from llmops_tui.jobs.store import NEVER_BEGAN, Job, JobState, JobStore
from llmops_tui.jobs.supervisor import _told_of_its_end
from llmops_tui.jobs.worker import _entry
from llmops_tui.workspace import catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.waiting import wait_for


@pytest.fixture
def launcher(sample: Workspace) -> JobLauncher:
    return JobLauncher(sample)


@pytest.fixture
def endless(launcher: JobLauncher, tmp_path: Path, model_file: Path) -> Job:
    """A job that hashes a file of a terabyte, which is all holes but its head."""
    path = tmp_path / "huge.gguf"
    shutil.copyfile(model_file, path)
    os.truncate(path, 1 << 40)
    job = launcher.start(
        kind="add", title="add huge", entry="llmops_tui.models.tasks:add", arguments={"path": str(path), "name": "huge"}
    )
    wait_for(lambda: launcher.store.get(job.id).progress > 0 or launcher.store.get(job.id).state.final)
    assert launcher.store.get(job.id).state == JobState.RUNNING
    return launcher.store.get(job.id)


def children(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(launcher: JobLauncher, job: Job) -> Job:
    wait_for(lambda: launcher.store.get(job.id).state.final)
    return launcher.store.get(job.id)


def test_a_job_runs_to_its_end_and_keeps_its_result(launcher: JobLauncher) -> None:
    job = launcher.start(
        kind="verify", title="verify", entry="llmops_tui.models.tasks:verify", arguments={"name": "support-base"}
    )
    done = ended(launcher, job)
    assert (done.state, done.progress, done.exit_code) == (JobState.DONE, 1.0, 0)
    assert done.result is not None
    assert done.result["intact"] is True


def test_a_job_that_fails_says_why(launcher: JobLauncher) -> None:
    job = launcher.start(kind="verify", title="v", entry="llmops_tui.models.tasks:verify", arguments={"name": "nope"})
    failed = ended(launcher, job)
    assert failed.state == JobState.FAILED
    assert "no model 'nope' in this workspace. Known: " in failed.cause
    # What was foreseen is told in one line; what was not, with its place in the code.
    assert (launcher.store.folder(failed) / "output.log").read_text() == failed.cause + "\n"
    unforeseen = launcher.start(
        kind="x", title="x", entry="llmops_tui.models.tasks:verify", arguments={"name": 7, "x": 1}
    )
    assert "Traceback" in (launcher.store.folder(ended(launcher, unforeseen)) / "output.log").read_text()


def test_a_job_may_only_be_a_part_of_llmops(launcher: JobLauncher) -> None:
    failed = ended(launcher, launcher.start(kind="x", title="x", entry="os:system", arguments={"command": "true"}))
    assert failed.state == JobState.FAILED
    assert "not part of llmops" in failed.cause


@pytest.mark.parametrize("recorded", MOVED)
def test_a_job_recorded_before_its_module_moved_can_be_resumed(recorded: str) -> None:
    assert _entry(recorded) is _entry(MOVED[recorded])


def test_a_job_that_is_done_is_not_done_again(launcher: JobLauncher, workspace: Workspace) -> None:
    done = launcher.store.add(kind="import", title="import a", spec={"entry": "", "arguments": {}})
    launcher.store.update(done.id, state="done", progress=1.0, finished_at=1.0)
    with pytest.raises(InputRefusedError, match="import a is done: nothing is left to resume") as refused:
        launcher.resume(done.id)
    assert refused.value.code == "job_done"
    assert [job.id for job in launcher.store.all()] == [done.id]


def test_work_that_another_job_went_on_with_to_the_end_is_not_done_again(
    launcher: JobLauncher, workspace: Workspace
) -> None:
    lost = launcher.store.add(kind="import", title="import a", spec={"entry": "", "arguments": {}})
    launcher.store.update(lost.id, state="lost", finished_at=1.0)
    again = launcher.store.add_resumed(lost)
    launcher.store.update(again.id, state="done", progress=1.0, finished_at=2.0)
    for job in (lost, again):
        with pytest.raises(InputRefusedError, match="import a is done") as refused:
            launcher.resume(job.id)
        assert refused.value.code == "job_done"
    with pytest.raises(InputRefusedError, match=f"by job {again.id} that went on with it"):
        launcher.resume(lost.id)
    assert [job.id for job in launcher.store.all()] == [again.id, lost.id]


def test_a_cancelled_job_ends_and_can_be_resumed(launcher: JobLauncher, endless: Job) -> None:
    launcher.cancel(endless.id)
    stopped = ended(launcher, endless)
    assert stopped.state == JobState.CANCELLED
    again = launcher.resume(endless.id)
    assert again.resumes == endless.id
    assert launcher.store.folder(again) == launcher.store.folder(stopped)
    with pytest.raises(InputRefusedError):
        launcher.resume(again.id)
    launcher.cancel(again.id)
    ended(launcher, again)


def test_a_worker_killed_from_outside_is_killed_with_its_signal(launcher: JobLauncher, endless: Job) -> None:
    assert endless.process is not None
    os.kill(children(endless.process.pid)[0], signal.SIGKILL)
    killed = ended(launcher, endless)
    assert killed.state == JobState.KILLED
    assert "signal 9" in killed.cause


def test_a_job_whose_supervisor_vanished_is_lost_and_leaves_no_orphan(launcher: JobLauncher, endless: Job) -> None:
    assert endless.process is not None
    worker = children(endless.process.pid)[0]
    identity = identify(worker)
    assert identity is not None
    os.kill(endless.process.pid, signal.SIGKILL)
    # The supervisor is this test's child; until it is waited for it is a zombie, which counts as gone.
    lost = ended(launcher, endless)
    assert lost.state == JobState.LOST
    assert "disappeared" in lost.cause
    wait_for(lambda: not identity.alive())


STARTER = """
import sys
from pathlib import Path
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.workspace.layout import Workspace
job = JobLauncher(Workspace(Path(sys.argv[1]))).start(kind="add", title="add", entry="llmops_tui.models.tasks:add",
    arguments={"path": sys.argv[2], "name": "huge"})
print(job.id, flush=True)
sys.stdin.read()
"""


def test_a_job_outlives_the_session_that_started_it(launcher: JobLauncher, tmp_path: Path, model_file: Path) -> None:
    path = tmp_path / "huge.gguf"
    shutil.copyfile(model_file, path)
    os.truncate(path, 1 << 40)
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(launcher.workspace.root), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert starter.stdout is not None
    job_id = starter.stdout.readline().strip()
    wait_for(lambda: launcher.store.get(job_id).progress > 0)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    before = launcher.store.get(job_id).progress
    wait_for(lambda: launcher.store.get(job_id).progress > before)
    found = JobStore(EventLog(launcher.workspace)).get(job_id)
    assert found.state == JobState.RUNNING
    launcher.cancel(job_id)
    ended(launcher, found)


@pytest.mark.parametrize("module", ["models.quantize_worker", "training.worker.trial"])
def test_what_a_job_started_writes_nothing_once_the_job_is_gone(module: str, tmp_path: Path, model_file: Path) -> None:
    # Whoever started it is not the one that it was started for: as after a kill between the two.
    given = {"models.quantize_worker": [str(model_file), str(tmp_path / "out.gguf"), "2"]}
    (tmp_path / "metrics.jsonl").write_text("kept")
    command = [sys.executable, "-m", f"llmops_tui.{module}", *given.get(module, [str(tmp_path), str(tmp_path)]), "1"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert not (tmp_path / "out.gguf").exists()
    assert (tmp_path / "metrics.jsonl").read_text() == "kept"


def test_a_reused_pid_is_never_signalled() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        real = identify(stranger.pid)
        assert real is not None
        assert not ProcessIdentity(stranger.pid, real.started - 1).send(signal.SIGKILL)
        assert real.alive()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_child_that_was_killed_is_known_to_end_at_once_and_is_not_reaped() -> None:
    # To give that much memory back takes the kernel a while, in which nobody can wait for the process yet.
    holding = "held = b'x' * 200_000_000; print(len(held), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"200000000\n"
    assert not child_ends(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    assert child_ends(child.pid)
    assert child.wait() == -signal.SIGKILL
    assert child_ends(child.pid)
    assert child.communicate() == (b"", None)


def test_a_python_without_descriptors_of_processes_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert _told_of_its_end(os.getpid()) == []


def test_jobs_are_found_by_the_beginning_of_their_id(launcher: JobLauncher) -> None:
    job = launcher.store.add(kind="x", title="x", spec={})
    assert launcher.store.get(job.id[:-2]).id == job.id
    with pytest.raises(NotFoundError):
        launcher.store.get("job_zzzz")


def recorded(launcher: JobLauncher, job_id: str) -> str:
    """The state that is written down, whatever it is taken for."""
    row = launcher.store.event_log.connection().execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return str(row[0])


def test_a_job_is_starting_as_long_as_somebody_holds_its_place_and_then_it_never_began(launcher: JobLauncher) -> None:
    with launcher.place() as place:
        job = launcher.store.add(kind="x", title="x", spec={}, job_id=place.id)
        assert job.id == place.id
        assert launcher.store.get(job.id).state == JobState.QUEUED
        with pytest.raises(InputRefusedError, match="is running in"), launcher.place(job.id):
            pass
    lost = launcher.store.get(job.id)
    assert (lost.state, lost.cause) == (JobState.LOST, NEVER_BEGAN)
    assert lost.finished_at is not None
    # A look writes nothing.
    assert recorded(launcher, job.id) == "queued"


def test_a_place_where_nothing_came_of_it_is_gone(launcher: JobLauncher) -> None:
    with pytest.raises(ZeroDivisionError), launcher.place() as place:
        raise ZeroDivisionError
    assert not launcher.store.lock_of(place.id).parent.exists()


def test_a_system_that_starts_no_process_fails_the_job(launcher: JobLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("llmops_tui.jobs.launcher.subprocess.Popen", refuse)
    with pytest.raises(LlmopsError, match="temporarily unavailable"):
        launcher.start(kind="x", title="x", entry="llmops_tui.models.tasks:verify", arguments={})
    (job,) = launcher.store.all()
    assert job.state == JobState.FAILED
    assert "temporarily unavailable" in job.cause


@pytest.mark.parametrize("made", ["file", "folder", "fifo"])
def test_a_folder_that_cannot_be_locked_is_told(launcher: JobLauncher, made: str) -> None:
    job = launcher.store.add(kind="x", title="x", spec={})
    lock = launcher.store.lock_of(job.id)
    lock.parent.parent.mkdir(exist_ok=True)
    if made == "file":
        lock.parent.write_text("")
    elif made == "folder":
        lock.mkdir(parents=True)
    else:
        lock.parent.mkdir()
        os.mkfifo(lock)
    assert launcher.store.get(job.id).state == JobState.LOST
    if made == "fifo":
        # It can be locked as well as any file.
        with launcher.place(job.id):
            assert launcher.store.get(job.id).state == JobState.QUEUED
        return
    with pytest.raises(LlmopsError, match="no job can be started in"):
        launcher.resume(job.id)


LOOK = """
import sys
from pathlib import Path
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.workspace.layout import Workspace
launcher = JobLauncher(Workspace(Path(sys.argv[1])))
job = launcher.store.get(sys.argv[2])
print(job.state.value, job.process.alive())
try:
    launcher.resume(job.id)
except InputRefusedError as error:
    print(error.code)
launcher.cancel(job.id)
"""


def test_a_look_from_another_container_finds_a_job_at_work_and_can_end_it(launcher: JobLauncher, endless: Job) -> None:
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    if os.getuid():
        apart += ["--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespaces can be made here")
    inspected = subprocess.run(
        [*apart, sys.executable, "-c", LOOK, str(launcher.workspace.root), endless.id],
        capture_output=True,
        text=True,
        check=True,
    )
    assert inspected.stdout.splitlines() == ["running False", "job_running"]
    assert ended(launcher, endless).state == JobState.CANCELLED


def test_a_job_whose_process_cannot_be_seen_is_at_work_all_the_same(
    launcher: JobLauncher, endless: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("llmops_tui.jobs.process.start_time", lambda _pid: None)
        found = launcher.store.get(endless.id)
        assert found.process is not None
        assert not found.process.alive()
        assert found.state == JobState.RUNNING
        assert [job.state for job in launcher.store.all()] == [JobState.RUNNING]
        with pytest.raises(InputRefusedError):
            launcher.resume(endless.id)
        # No signal reaches it, and the record does.
        launcher.cancel(endless.id)
    assert ended(launcher, endless).state == JobState.CANCELLED


@pytest.mark.slow
def test_one_job_goes_on_in_a_folder(launcher: JobLauncher, endless: Job) -> None:
    launcher.cancel(endless.id)
    ended(launcher, endless)
    again = launcher.resume(endless.id)
    # The first has ended, and its work has not.
    with pytest.raises(InputRefusedError, match="is running in"):
        launcher.resume(endless.id)
    launcher.cancel(again.id)
    ended(launcher, again)


@pytest.mark.slow
def test_a_lost_job_is_recorded_as_that_when_another_goes_on(launcher: JobLauncher) -> None:
    spec = {"entry": "llmops_tui.models.tasks:verify", "arguments": {"name": "support-base"}}
    lost = launcher.store.add(kind="verify", title="v", spec=spec)
    assert recorded(launcher, lost.id) == "queued"
    again = launcher.resume(lost.id)
    assert recorded(launcher, lost.id) == "lost"
    assert ended(launcher, again).state == JobState.DONE
    assert launcher.store.newest_for([lost.id, "job_none"])[lost.id].id == again.id
    assert "job_none" not in launcher.store.newest_for(["job_none"])


@pytest.mark.parametrize(
    ("code", "before", "words"),
    [
        (-9, None, "by another process"),
        (-11, None, "crash in native code"),
        (-6, None, "abort"),
        (3, None, "exit code 3"),
    ],
)
def test_causes_are_told_in_words(code: int, before: int | None, words: str) -> None:
    assert words in describe_exit(code, before)


def test_a_job_has_the_patience_of_a_job(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_usual_seconds", 1.0)
    monkeypatch.setattr(worker, "_entry", lambda _name: lambda _context: {"seconds": catalog._usual_seconds})
    store = JobStore(EventLog(workspace))
    job = store.add(kind="verify", title="look", spec={"entry": "", "arguments": {}})
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert worker.run(workspace, job.id) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert store.get(job.id).result == {"seconds": catalog.JOB_LOCK_SECONDS}
