"""A workspace with something of everything, at rest."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

import pytest

from llmops_tui.monitoring.history import History
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import trust

pytest.register_assert_rewrite(
    *(f"tests.maintenance.kills.{name}" for name in ("records", "monitoring", "work", "maintenance"))
)


# What a workspace has lived through began a week ago, whatever day it is: a clock far ahead of it would not be believed.
BEGAN = float(int(time.time()) - 8 * 86_400)


def fill_traces(workspace: Workspace, count: int, start: int = 0) -> None:
    event_log = EventLog(workspace)
    event_log.append_many(
        [
            (
                "request",
                f"run_{n:06d}",
                {
                    "started_at": BEGAN + n,
                    "model": "support-base",
                    "prompt": "triage",
                    "prompt_version": 1,
                    "messages": [{"role": "user", "content": f"question {n}"}],
                    "output": f"answer {n}",
                    "finish_reason": "stop",
                    "parameters": {},
                    "total_ms": 5.0,
                },
            )
            for n in range(start, start + count)
        ]
    )
    event_log.close()


@pytest.fixture(scope="session")
def lived_once(filled_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lived") / "ws"
    shutil.copytree(filled_once, root)
    workspace = Workspace(root)
    fill_traces(workspace, 40)
    store = TraceStore(Catalog(workspace), EventLog(workspace))
    give(store, "run_000003", score="up", comment="good")
    fill_traces(workspace, 10, 40)
    history = History(workspace.history)
    for second in range(300):
        history.add(BEGAN + second, {"host.cpu": float(second)})
    history.close()
    (workspace.logs / "app.log").write_text("a line\n" * 100)
    folder = workspace.runs / "job_old"
    folder.mkdir()
    (folder / "output.log").write_text("what it printed\n" * 50)
    (folder / "state.json").write_text('{"step": 3}')
    store.event_log.close()
    record_checksums(workspace, again=True)
    return root


@pytest.fixture
def lived(workspace: Workspace, lived_once: Path) -> Workspace:
    """A copy of it."""
    shutil.rmtree(workspace.root)
    shutil.copytree(lived_once, workspace.root)
    trust(workspace)
    return workspace


def contents(root: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes; locks hold nothing."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }
