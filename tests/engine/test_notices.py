"""Notices say when they were left, so that two of the same words are told apart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.notices import noted_at, read_notices, write_notice
from tests.commands import llmops


def test_the_command_line_says_when_a_notice_was_left(workspace: Workspace) -> None:
    before = time.time()
    write_notice(workspace, "it went back")
    ((path, text),) = read_notices(workspace)
    at = noted_at(path)
    assert text == "it went back"
    assert at is not None
    assert before - 1 < at < time.time() + 1
    (workspace.logs / "notice-by-hand.txt").write_text("mine")
    said = llmops("model", "list", workspace=workspace).stderr
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    assert f"notice of {when}: it went back (llmops doctor shows and clears this)" in said
    assert "notice: mine (llmops doctor" in said


@pytest.mark.parametrize("name", ["notice-.txt", "notice-x.txt", "notice-²³.txt"])
def test_a_name_that_is_no_time_says_none(name: str) -> None:
    assert noted_at(Path(name)) is None
