"""A server is found by whoever looks: when its starter was killed, and from a container that does not see its process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference import server_conflict
from llmops_tui.inference import supervisor as supervisor_module
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server import serving
from llmops_tui.inference.server_lock import lock_of
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.process import ProcessIdentity, identify
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import is_held
from tests.waiting import wait_for

# Starts a server and is killed once its process is there, before its pid is written down.
STARTER = """
import os, signal, sys
from pathlib import Path
from llmops_tui.inference import supervisor
from llmops_tui.inference.options import LoadOptions
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
identify = supervisor.identify
supervisor.identify = lambda pid: identify(pid) if pid == os.getpid() else os.kill(os.getpid(), signal.SIGKILL)
workspace = Workspace(Path(sys.argv[1]))
model = ModelRegistry(Catalog(workspace)).get("support-base")
supervisor.ServerSupervisor(workspace).ensure(model, LoadOptions(threads=1))
"""


def ensure(workspace: Workspace) -> ServerHandle:
    model = ModelRegistry(Catalog(workspace)).get("support-base")
    return ServerSupervisor(workspace).ensure(model, LoadOptions(threads=1))


@pytest.mark.slow
def test_a_server_whose_starter_was_killed_is_found_and_used(sample: Workspace) -> None:
    starter = subprocess.run([sys.executable, "-c", STARTER, str(sample.root)], check=False)
    assert starter.returncode == -signal.SIGKILL
    supervisor = ServerSupervisor(sample)
    found = supervisor.find("support-base")
    assert found is not None
    # By this a copy of the folder is known, where no server of it ever ran.
    assert found.lock == (sample.runs / "servers" / "support-base.held").stat().st_ino
    assert ensure(sample).process == found.process
    assert [handle.process for handle in supervisor.running()] == [found.process]
    assert supervisor.stop("support-base")
    wait_for(lambda: not found.process.alive())
    assert supervisor.running() == []


@pytest.mark.slow
def test_a_starter_killed_before_there_is_a_process_leaves_nothing_that_counts(sample: Workspace) -> None:
    folder = sample.runs / "servers"
    folder.mkdir(parents=True)
    (folder / "support-base.json").write_text(
        json.dumps({"pid": 0, "started": 0, "options": {"model": "support-base"}})
    )
    lock_of(folder, "support-base").touch()
    assert ServerSupervisor(sample).find("support-base") is None
    assert ServerSupervisor(sample).running() == []
    handle = ensure(sample)
    assert is_held(lock_of(folder, "support-base"))
    assert handle.process.alive()


@pytest.mark.slow
def test_a_server_whose_process_cannot_be_seen_is_used_and_never_doubled(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = ensure(sample)
    supervisor = ServerSupervisor(sample)
    with monkeypatch.context() as patch:
        # As from another container, which shares the folder and sees other processes.
        patch.setattr("llmops_tui.jobs.process.start_time", lambda _pid: None)
        assert not handle.process.alive()
        assert [found.process for found in supervisor.running()] == [handle.process]
        assert ensure(sample).process == handle.process
        with pytest.raises(LlmopsError, match="another container"):
            supervisor.stop("support-base")
        # Its socket is in a folder of its container's own.
        patch.setattr("llmops_tui.inference.supervisor.reachable", lambda _handle: False)
        with pytest.raises(LlmopsError, match="another container"):
            ensure(sample)
    assert supervisor.stop("support-base")
    assert not handle.process.alive()


def test_a_server_that_was_just_being_stopped_is_started_anew(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, model = ServerSupervisor(sample), ModelRegistry(Catalog(sample)).get("support-base")
    process = ProcessIdentity(1, 1.0)
    ending = ServerHandle(model.name, model.sha256, "", "", process, asked={})
    fresh = ServerHandle(model.name, model.sha256, "fresh", "", process, asked={})
    lives = True

    def ends(_handle: ServerHandle, _waiting: object) -> None:
        raise LlmopsError("server_start_failed", "its process ended while starting")

    monkeypatch.setattr(supervisor_module, "reachable", lambda _handle: True)
    monkeypatch.setattr(supervisor, "find", lambda _name: ending)
    monkeypatch.setattr(supervisor, "alive", lambda _handle: lives)
    monkeypatch.setattr(supervisor, "_wait_ready", ends)
    monkeypatch.setattr(supervisor, "_start", lambda *_: fresh)
    # What fails and lives on says why itself.
    with pytest.raises(LlmopsError, match="ended while starting"):
        supervisor.ensure(model)
    lives = False
    assert supervisor.ensure(model) is fresh


class _Idle:
    """What is looked at to see whether a server is to end, and what is told so."""

    def __init__(self, needed_by: int, active: int) -> None:
        self.options = LoadOptions(needed_by=needed_by)
        self.engine = SimpleNamespace(state="loading")
        self.generator = SimpleNamespace(active=active, last_used=time.monotonic())
        self.failure = None
        self.started = self.should_exit = False


@pytest.mark.parametrize(("alive", "active", "ends"), [(True, 0, False), (False, 1, False), (False, 0, True)])
async def test_a_server_that_was_loaded_for_a_job_ends_without_it_once_nobody_is_answered(
    alive: bool, active: int, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def look(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks > 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", look)
    monkeypatch.setattr(
        serving, "identify", lambda _pid: ProcessIdentity(os.getpid(), 0.0) if not alive else identify(os.getpid())
    )
    found = _Idle(4711, active)
    with contextlib.suppress(asyncio.CancelledError):
        await serving._stop_when_idle(found, found)  # type: ignore[arg-type]
    assert found.should_exit is ends


@pytest.mark.slow
def test_a_server_ends_with_the_process_that_it_was_loaded_for(sample: Workspace) -> None:
    job = subprocess.Popen(["sleep", "600"])
    model = ModelRegistry(Catalog(sample)).get("support-base")
    supervisor = ServerSupervisor(sample)
    handle = supervisor.ensure(model, LoadOptions(threads=1, needed_by=job.pid))
    assert handle.process.alive()
    job.kill()
    job.wait()
    wait_for(lambda: not handle.process.alive())
    assert supervisor.running() == []


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        ({"status": "ok", "active": 0, "batched": 0}, False),
        ({"status": "ok", "active": 2, "batched": 2}, False),
        ({"status": "ok", "active": 2, "batched": 1}, True),
        ({"status": "loading"}, True),
        ({}, True),
    ],
)
def test_a_server_that_answers_others_than_a_batch_is_not_replaced_unasked(
    facts: Any, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_conflict, "health", lambda _handle: facts)
    handle = ServerHandle("m", "", "/s", "key", ProcessIdentity(1, 1.0), asked={"needed_by": 7})
    told = server_conflict.differences(handle, LoadOptions(threads=2))
    assert "it is loaded for process 7" in told
    with pytest.raises(InputRefusedError) if refused else contextlib.nullcontext():
        server_conflict.check_replaceable(handle, told)


# Each helper is given nothing to do that ends: a parent that is killed while one is at work takes it along.
_HELPED = """
import sys, threading
from llmops_tui.inference.template_renderer import TemplateRenderer
renderer = TemplateRenderer()
renderer.render("{{ 1 }}", {}, "prompt")
print(renderer._process.pid, flush=True)
renderer.render("{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}", {}, "prompt")
"""


@pytest.mark.slow
def test_a_helper_at_work_ends_with_whoever_it_works_for() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _HELPED], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    helper = identify(int(parent.stdout.readline()))
    assert helper is not None
    parent.kill()
    parent.wait()
    wait_for(lambda: not helper.alive())
