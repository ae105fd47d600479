"""A server is found by whoever looks: when its starter was killed, and from a container that does not see its process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference import supervisor as supervisor_module
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server_lock import lock_of
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.process import ProcessIdentity
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
