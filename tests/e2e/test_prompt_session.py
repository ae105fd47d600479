"""A session of prompt work in a terminal without a mouse, from the first word to the version that broke it."""

from __future__ import annotations

import json
import re
import shlex
from functools import partial
from pathlib import Path

import pytest

from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.prompts.folder import file_text, parse_file
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.conftest import OpenTerminal
from tests.e2e.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_QUESTION = "When are you open?"
_ANSWER = "We are open Monday to Saturday"
_SYSTEM = "You are the support assistant of Marlow & Finch."
# Nothing of the question is left: what the model answers is about something else.
_REGRESSION = "How do I return a lamp?"


def seen(number: int, text: str) -> bool:
    """Whether the lists of the playground have this version of the prompt."""
    return any("hours" in line and f"@{number}" in line for line in text.split("\n"))


def command(app: Terminal, line: str, sign: str) -> None:
    """A command on the line of the app, until it ended and said something; then the line is closed."""
    app.child.send(b"\x1bc")
    app.wait("tab completes")
    app.press(line, "enter")
    app.wait(lambda text: sign in text and "done after" in text)
    app.leave("done after")


def test_write_compare_vote_look_inside_label_sync_and_bisect(terminal: OpenTerminal, tmp_path: Path) -> None:
    app = terminal("demo", "--dir", str(tmp_path / "demo"), size=(140, 45))
    workspace = Workspace(tmp_path / "demo" / ".llmops")
    store, folder = PromptStore(Catalog(workspace)), tmp_path / "prompts"
    folder.mkdir()
    watch = None
    try:
        # Write a prompt, and run it: it is version 1.
        app.wait("{{ question }}")
        app.wait("support-base Q8_0")
        app.press("f7")
        app.wait("New prompt")
        app.press("hours", "enter")
        app.wait("No versions yet")
        app.press("{{ question }}")
        app.wait(lambda text: text.count("question") > 1)
        app.jump("i", "Variables")
        app.press(_QUESTION)
        app.wait(_QUESTION)
        app.press("f5")
        app.wait(lambda text: "Runs  @1 · 1" in text and _ANSWER in text)
        # Two models side by side, and then twenty rows of both.
        app.child.send(b"\x1bv")
        app.wait("1 column")
        app.press("a")
        app.wait("Add a column:")
        app.press("enter")
        app.wait("2 columns")
        app.press("f5")
        app.wait(lambda text: text.count("/s · stop") + text.count("/s · length") == 2)
        app.press("o")
        app.wait("Ask the rows of")
        app.press("enter")
        app.wait("How many rows?")
        app.press("enter")
        app.wait("The job is started")
        app.press("enter")
        app.wait(lambda text: "20 rows · " in text and "the job is at work" not in text, seconds=60)
        for number in range(1, 21):
            app.press(str(1 + number % 2))
            app.wait(f"{number} voted")
        app.press("w")
        app.wait("support-base-q4")
        app.leave("log-odds")
        app.leave("20 voted")
        # The winner's place: back, and look at the tokens of an answer; go on from another one.
        app.press("escape")
        app.wait("{{ question }}")
        app.jump("a", "Answer")
        app.press("i")
        app.wait("the model ended it")
        app.press("down", "enter")
        # The answer begins with the alternative, and has more: the end that is told is then that of the new answer.
        app.wait(lambda text: re.search(r"│  I[^│]*[^│\s]", text) is not None)
        app.wait("the model ended it")
        assert re.search("▸ .*chosen", app.text)
        app.leave("the model ended it")
        app.wait("{{ question }}")
        # Label the version.
        app.jump("v", "Versions")
        app.press("l")
        app.wait("Label for hours@1")
        app.press("enter")
        app.wait("production is now hours@1")
        assert store.get("hours@production").number == 1
        # Write all prompts to a folder, edit one there, and see it here without a key.
        command(app, f"prompt sync {shlex.quote(str(folder))}", "written")
        file = folder / "hours.prompt.yaml"
        assert parse_file(file.read_bytes())[:2] == ("", "{{ question }}")
        watch = terminal("--workspace", str(workspace.root), "prompt", "sync", str(folder), "--watch")
        watch.wait("watching")
        for number, (system, template) in enumerate(
            [
                (_SYSTEM, "{{ question }}"),
                (f"{_SYSTEM} ", "{{ question }}"),
                (_SYSTEM, _REGRESSION),
                (f"{_SYSTEM} ", _REGRESSION),
            ],
            start=2,
        ):
            file.write_text(file_text(system, template))
            app.wait(partial(seen, number))
            assert store.get(f"hours@{number}").template == template
        assert store.get("hours@production").number == 1
        # Which version broke it?
        suite = tmp_path / "opening.yaml"
        suite.write_text(
            json.dumps(
                {
                    "cases": [{"vars": {"question": _QUESTION}, "expected": _ANSWER}],
                    "prompt": "hours",
                    "parameters": {"temperature": 0, "max_tokens": 48},
                    "metrics": ["contains"],
                }
            )
        )
        asked = f"prompt bisect {shlex.quote(str(suite))} --case 0 --good hours@1 --bad hours@5 --model support-base"
        command(app, f"{asked} --dry-run", "at most")
        command(app, f"{asked} --yes", "hours@4 broke case 0")
        assert len(EvaluationStore(workspace).all()) <= 2 + 4
        app.press("ctrl+q")
        assert app.finish() == 0
        assert app.unchanged()
    finally:
        if watch is not None:
            watch.close()
        supervisor = ServerSupervisor(workspace)
        for handle in supervisor.running():
            supervisor.stop(handle.model)
