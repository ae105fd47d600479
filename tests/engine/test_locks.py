from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.workspace.locks import is_held, try_lock, wait_lock
from tests.waiting import wait_for


def test_a_look_says_whether_a_lock_is_held_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not is_held(path)
    assert not path.exists()
    held = try_lock(path)
    assert held is not None
    assert is_held(path)
    assert try_lock(path) is None
    os.close(held)
    assert not is_held(path)
    # Looks do not stand in each other's way.
    looking = os.open(path, os.O_RDONLY)
    try:
        assert not is_held(path)
    finally:
        os.close(looking)


def test_a_lock_is_held_until_the_last_process_that_has_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    held = try_lock(path)
    assert held is not None
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held,))
    os.close(held)
    assert is_held(path)
    assert wait_lock(path, 0.1) is None
    heir.kill()
    heir.wait()
    wait_for(lambda: not is_held(path))


def test_a_lock_whose_file_was_taken_away_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first = try_lock(path)
    path.unlink()
    second = try_lock(path)
    assert second is not None
    assert is_held(path)
    os.close(second)
    assert not is_held(path)
    assert first is not None
    os.close(first)


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is unreadable to root")
def test_what_cannot_be_looked_at_is_held(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.touch(mode=0o000)
    assert is_held(path)
