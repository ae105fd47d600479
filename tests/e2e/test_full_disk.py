from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_tui.prompts.drafts import Drafts
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import trust
from tests.e2e.terminal import Terminal

ROOM = 16 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path, filled_once: Path) -> Iterator[Path]:
    """A disk with the sample workspace and little room beside it, which is enough for a session."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(file.stat().st_size for file in filled_once.rglob("*") if file.is_file()) + ROOM
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root and the right to mount")
    shutil.copytree(filled_once, disk / "ws")
    trust(Workspace(disk / "ws"))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64 * 1024))
        except OSError:
            return


@pytest.mark.slow
def test_a_full_disk_is_told_the_app_lives_and_nothing_saved_is_lost(small_disk: Path) -> None:
    workspace = Workspace(small_disk / "ws")
    before = [v.ref for v in PromptStore(Catalog(workspace)).versions("support")]
    app = Terminal("--workspace", str(workspace.root))
    app.wait("{{ question }}")
    app.wait("support-base Q8_0")
    fill_up(small_disk / "filler")
    app.press("on a full disk ")
    app.press("x" * 40)
    app.press("f5")
    app.wait("error: disk_full")
    app.wait("no space left")
    (small_disk / "filler").unlink()
    app.press(" and after ")
    app.press("ctrl+s")
    app.wait("A note for this version")
    app.press("room again", "enter")
    app.wait("@3 room again")
    app.press("ctrl+q")
    assert app.finish() == 0
    assert app.unchanged()
    versions = PromptStore(Catalog(workspace)).versions("support")
    assert [v.ref for v in versions[1:]] == before
    assert versions[0].template.startswith("on a full disk xxx")
    draft = Drafts(EventLog(workspace)).load("support")
    assert draft is not None
    assert draft.template == versions[0].template
