"""Paths that a user types: the home folder in them, and the names of users that nobody has."""

from __future__ import annotations

from pathlib import Path

import pytest

import llmops_tui
import screens
from llmops_tui.user_files import with_home
from llmops_tui.workspace.layout import Workspace
from tests.commands import llmops


def test_the_home_folder_stands_for_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert with_home("~/a b") == tmp_path / "a b"
    assert [str(with_home(Path(text))) for text in ("~no-such-user/x", "a/~", "~~")] == ["~no-such-user/x", "a/~", "~~"]


def test_a_user_that_is_not_known_is_a_file_that_is_not_there(workspace: Workspace) -> None:
    done = llmops("data", "import", "~no-such-user/rows.csv", "--yes", workspace=workspace)
    assert (done.returncode, "there is no file ~no-such-user/rows.csv" in done.stderr) == (3, True)


def test_paths_are_never_expanded_by_what_raises_for_an_unknown_user() -> None:
    found = [
        str(path)
        for package in (llmops_tui, screens)
        for path in Path(str(package.__file__)).parent.rglob("*.py")
        if ".expanduser" in path.read_text() and path.name != "user_files.py"
    ]
    assert found == []
