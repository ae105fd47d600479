"""Chains on the command line."""

from __future__ import annotations

from pathlib import Path

from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops


def test_whoever_checks_a_file_by_its_path_is_told_the_option(sample: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("steps: {}\n")
    told = Llmops(sample).run("chain", "check", str(file), code=3)["error"]
    assert f"--file {file}" in told["hint"]
    assert "chain list" in Llmops(sample).run("chain", "check", "nothere", code=3)["error"]["hint"]
