"""How many keys the usual tasks take, in the real app: what is typed as text is not counted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.maintenance.archiving import Archivable, Archive
from llmops_tui.prompts.store import PromptStore
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.conftest import OpenTerminal
from tests.e2e.terminal import Terminal
from tests.fakes import FakeModelServer
from tests.screens.lived import live
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


class Fingers:
    """Presses keys, waits for what they lead to, and counts them."""

    def __init__(self, app: Terminal) -> None:
        self.app = app
        self.keys = 0

    def press(self, *keys: str, sees: str | Callable[[str], bool] = "") -> None:
        """Press keys one by one, then wait for a text, or for what holds of the screen."""
        for key in keys:
            self.app.press(key)
        self.keys += len(keys)
        if sees:
            self.app.wait(sees)

    def type(self, text: str) -> None:
        """Text, which is not counted."""
        self.app.press(text)


def test_the_slowest_request_of_the_last_hour(
    terminal: OpenTerminal, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(sample, monkeypatch)
    app = terminal()
    app.wait("{{ question }}")
    fingers = Fingers(app)
    fingers.press("f9", "7", sees="took ms")
    fingers.press("s", sees="slowest of the last hour")
    app.wait("▾took ms")
    assert fingers.keys <= 4


def test_which_cases_flipped(terminal: OpenTerminal, sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    live(sample, monkeypatch)
    app = terminal()
    app.wait("{{ question }}")
    fingers = Fingers(app)
    fingers.press("f9", "4", sees="6 of 6")
    fingers.press(" ", sees="◆")
    fingers.press("down", sees="worse")
    app.wait("better")
    assert fingers.keys <= 9


def test_the_last_three_acts_are_undone(terminal: OpenTerminal, sample: Workspace) -> None:
    for name in ("one", "two", "three"):
        subprocess.run(
            [sys.executable, "-m", "llmops_tui", "--workspace", str(sample.root), "data", "tag", "triage@1", name],
            check=True,
            capture_output=True,
        )
    app = terminal()
    app.wait("{{ question }}")
    app.press("f9", "8")
    app.wait("No jobs yet")
    fingers = Fingers(app)
    store = DatasetStore(Catalog(sample))
    for left in (2, 1, 0):
        fingers.press("z")
        wait_for(lambda left=left: len(store.get("triage@1").tags) == left)  # type: ignore[misc]
    assert fingers.keys == 3


def test_a_file_is_imported_freed_of_duplicates_and_split(
    terminal: OpenTerminal, sample: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "faq.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"How is thing {n % 20} opened?"},
                {"role": "assistant", "content": f"With key {n % 20}."},
            ]
        }
        for n in range(25)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = terminal()
    app.wait("support-base")
    fingers = Fingers(app)
    fingers.press("f9", "2", sees="triage@1")
    fingers.press("i", sees="Path of a file or folder")
    fingers.type(str(path))
    fingers.press("enter", sees="as faq")
    fingers.press("enter", sees=lambda text: re.search(r"Duplicate rows +5 ", text) is not None)
    fingers.press("f", sees="It concerns 5 rows of 25")
    fingers.press("y", sees="faq@2 · 20 rows")
    fingers.press("o")
    app.wait("without duplicates across")
    fingers.type("split")
    fingers.press("enter", sees="train=0.9")
    fingers.type("train=0.8 eval=0.2")
    fingers.press("enter")
    store, archive = DatasetStore(Catalog(sample)), Archive(EventLog(sample))
    wait_for(lambda: {"faq-train", "faq-eval"} <= set(store.logs()))
    app.wait("faq-train@1")
    assert fingers.keys <= 14
    # And the three of them are taken back with three keys: the parts, the rows, what was imported.
    fingers.keys = 0
    fingers.press("z")
    wait_for(lambda: archive.names(Archivable.DATASET) == {"faq-train", "faq-eval"})
    fingers.press("z")
    wait_for(lambda: store.get("faq").sha256 == store.get("faq@1").sha256)
    fingers.press("z")
    wait_for(lambda: archive.names(Archivable.DATASET) == {"faq-train", "faq-eval", "faq"})
    assert fingers.keys == 3


def test_five_versions_are_made_and_compared(
    terminal: OpenTerminal, sample: Workspace, found_server: FakeModelServer
) -> None:
    app = terminal()
    app.wait("{{ question }}")
    fingers = Fingers(app)
    fingers.press("f7", sees="New prompt")
    fingers.type("letters")
    fingers.press("enter", sees="No versions yet")
    for number in range(1, 6):
        fingers.type("Once more. ")
        fingers.press("f5", sees=f"@{number} · 1")
    fingers.press("f9", "v")
    # All that are listed, since these are all there are.
    fingers.press("\x01", sees="◆")
    fingers.press("v", sees="5 columns")
    fingers.press("f5", sees="1 asked")
    assert len(PromptStore(Catalog(sample)).versions("letters")) == 5
    wait_for(lambda: len(found_server.requests) == 10)
    assert fingers.keys <= 12


def test_two_models_answer_one_prompt(terminal: OpenTerminal, sample: Workspace, found_server: FakeModelServer) -> None:
    app = terminal()
    app.wait("support-base Q8_0")
    app.wait("{{ question }}")
    fingers = Fingers(app)
    fingers.press("\x1bv", sees="1 column")
    fingers.press("a", sees="Add a column:")
    fingers.press("enter", sees="2 columns")
    fingers.press("f5", sees="1 asked")
    try:
        # The second is a real model, which the app starts.
        app.wait(lambda text: text.count("Hello world.") == 1 and text.count("/s · stop") == 2)
    finally:
        supervisor = ServerSupervisor(sample)
        for handle in supervisor.running():
            if handle.model != "support-base":
                supervisor.stop(handle.model)
    assert fingers.keys <= 6


@pytest.mark.timeout(300)
def test_a_qlora_is_started_left_and_found_again(
    terminal: OpenTerminal, store: RunStore, found_server: FakeModelServer
) -> None:
    app = terminal()
    app.wait("{{ question }}")
    fingers = Fingers(app)
    fingers.press("f9", "3", sees="long@1")
    fingers.press("f5", sees="Train long?")
    fingers.press("y")
    try:
        app.wait("▶ running")
        app.wait("of 5,000")
        fingers.press("ctrl+q")
        assert app.finish() == 0
        app.close()
        assert store.get("long-1").recipe.quantization.type == "nf4"
        # No key: a restart returns to the place.
        again = terminal()
        again.wait("▶ running")
        again.wait("of 5,000")
        assert fingers.keys <= 8
    finally:
        for run in store.all():
            store.stop(run.name)
            wait_for(lambda name=run.name: store.state(store.get(name)).state != "running")  # type: ignore[misc]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_an_answer_is_copied_inside_tmux(sample: Workspace, found_server: FakeModelServer, tmp_path: Path) -> None:
    socket = ["tmux", "-S", str(tmp_path / "t"), "-f", "/dev/null"]

    def tmux(*arguments: str, check: bool = True) -> str:
        return subprocess.run([*socket, *arguments], capture_output=True, text=True, check=check).stdout

    command = f"{sys.executable} -m llmops_tui --workspace {sample.root}"
    tmux("new-session", "-d", "-x", "120", "-y", "40", command)
    try:
        wait_for(lambda: "{{ question }}" in tmux("capture-pane", "-p"))
        tmux("send-keys", "F5")
        wait_for(lambda: "Hello world." in tmux("capture-pane", "-p"))
        # The focus is in an editor still, where a letter alone would be text: one key of the two allowed, and it is told.
        wait_for(lambda: "alt+y Copy" in tmux("capture-pane", "-p"))
        tmux("send-keys", "M-y")
        wait_for(lambda: tmux("show-buffer", check=False) == "Hello world.")
        # And the two that the line of jump mode names, for whoever has no alt.
        tmux("delete-buffer")
        tmux("send-keys", "F9")
        wait_for(lambda: "y  Copy answer" in tmux("capture-pane", "-p"))
        tmux("send-keys", "y")
        wait_for(lambda: tmux("show-buffer", check=False) == "Hello world.")
    finally:
        tmux("kill-server", check=False)
