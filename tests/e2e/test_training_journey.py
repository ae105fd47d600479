"""A run outlives the app, its terminal and tmux, and is found again at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.conftest import OpenTerminal
from tests.fakes import FakeModelServer
from tests.hub import FakeHub, Repo
from tests.waiting import wait_for

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


def step_of(store: RunStore, name: str) -> int:
    return int(store.state(store.get(name)).as_dict()["step"])


def goes_on(store: RunStore, name: str) -> bool:
    before = step_of(store, name)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if step_of(store, name) > before + 2:
            return store.state(store.get(name)).state == "running"
        time.sleep(0.1)
    return False


def stop(store: RunStore, name: str) -> None:
    store.stop(name)
    deadline = time.monotonic() + 180
    while store.state(store.get(name)).state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_started_on_the_screen_outlives_a_killed_app_and_its_terminal(
    terminal: OpenTerminal, store: RunStore, found_server: FakeModelServer
) -> None:
    app = terminal()
    app.wait("{{ question }}")
    app.go("3", "long@1")
    app.press("f5")
    app.wait("Train long?")
    app.press("y")
    app.wait("▶ running", seconds=60)
    app.wait("of 5,000", seconds=60)
    try:
        app.child.kill(signal.SIGKILL)
        app.finish()
        app.close()
        assert goes_on(store, "long-1")
        began = time.monotonic()
        again = terminal()
        again.wait("{{ question }}")
        started = time.monotonic() - began
        again.go("3", "Recipes")
        # Two seconds after the app can be used, however long it took to start on this machine.
        again.wait("▶ running", seconds=2 + started)
        again.jump("r", "Runs")
        again.press("x")
        again.wait("Stop long-1 now?")
        again.press("y")
        again.wait("stopped", seconds=30)
    finally:
        if store.state(store.get("long-1")).state == "running":
            stop(store, "long-1")


class Tmux:
    """A tmux of its own with one command of ours in it."""

    def __init__(self, folder: Path, workspace: Workspace, command: str) -> None:
        self._socket = ["tmux", "-S", str(folder / "t"), "-f", "/dev/null"]
        line = f"{sys.executable} -m llmops_tui --workspace {workspace.root} {command}"
        subprocess.run([*self._socket, "new-session", "-d", "-x", "100", "-y", "30", line], check=True)

    def kill(self) -> None:
        subprocess.run([*self._socket, "kill-server"], check=True)


@needs_tmux
def test_a_job_outlives_tmux(
    workspace: Workspace, tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are jobs as this one is, which needs no trainer; a run is among the slow tests."""
    hub = FakeHub()
    hub.repos["maker/small-GGUF"] = Repo({"small-Q4_K_M.gguf": model_file.read_bytes()})
    hub.hold_after = 1_000_000 // 16_384 * 16_384
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    tmux = Tmux(tmp_path, workspace, "model get hf:maker/small-GGUF:Q4_K_M --yes")
    wait_for(hub.held.is_set)
    tmux.kill()
    jobs = JobStore(EventLog(workspace))
    (job,) = jobs.all()
    assert job.state == JobState.RUNNING
    hub.released.set()
    wait_for(lambda: jobs.get(job.id).state.final)
    assert jobs.get(job.id).state == JobState.DONE, jobs.get(job.id).cause
    hub.close()


@pytest.mark.slow
@needs_tmux
def test_a_run_outlives_tmux(store: RunStore, tmp_path: Path) -> None:
    tmux = Tmux(tmp_path, store.workspace, "train start long --beside --follow")
    wait_for(lambda: bool(store.all()) and step_of(store, "long-1") >= 3)
    tmux.kill()
    assert goes_on(store, "long-1")
    stop(store, "long-1")
    assert store.state(store.get("long-1")).state == "stopped"
