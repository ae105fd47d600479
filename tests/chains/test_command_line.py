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


def test_a_run_of_which_every_row_failed_is_no_success(sample: Workspace, tmp_path: Path) -> None:
    llmops, file = Llmops(sample), tmp_path / "each.yaml"
    file.write_text("inputs: {texts: list}\nsteps:\n  each: {map: texts, steps: {read: {parse: item}}}\n")
    llmops.run("chain", "save", "reading", "--file", str(file))
    some = llmops.run("chain", "run", "reading", "-i", 'texts=["1", "no"]')
    assert (some["output"], some["failed"], some["all_failed"]) == ([1, None], 1, "")
    told = llmops.run("chain", "run", "reading", "-i", 'texts=["neither", "no"]', code=1)["error"]
    assert (told["code"], told["message"]) == ("all_failed", "every row of each failed")
    none = llmops.run("chain", "run", "reading", "-i", "texts=[]")
    assert (none["output"], none["all_failed"]) == ([], "")


def test_a_model_that_no_step_would_ask_is_refused_by_name(sample: Workspace, tmp_path: Path) -> None:
    llmops, file = Llmops(sample), tmp_path / "own.yaml"
    file.write_text("model: support-base\ninputs: {question: text}\nsteps:\n  answer: {prompt: support}\n")
    llmops.run("chain", "save", "own", "--file", str(file))
    given = ("-i", "question=hello", "--plan", "--model")
    assert llmops.run("chain", "run", "own", *given, "support-base")
    for arguments in (("run", "own", *given, "nothere"), ("check", "own", "--model", "nothere")):
        told = llmops.run("chain", *arguments, code=3)["error"]
        assert (told["code"], "support-base" in told["message"]) == ("model_unused", True)
