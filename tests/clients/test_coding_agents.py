"""Coding agents, unmodified, as docs/serving.md sets them up: each reads a file by a call and says what is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.running import beside
from tests.clients.scripted import Scripted, serve_script
from tests.clients.templates import QWEN, called, thinking

pytestmark = pytest.mark.slow

SAID = "It says that kettles boil."
ASKED = "What is in a.txt?"
CODEX = """\
model = "{model}"
model_provider = "llmops"
web_search = "disabled"
[agents]
enabled = false
[model_providers.llmops]
name = "llmops"
base_url = "{url}"
env_key = "LLMOPS_API_KEY"
wire_api = "responses"
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with serve_script(tmp_path_factory.mktemp("agents") / "ws", QWEN) as made:
        yield made


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with the file that is asked about, and a home beside it."""
    made = tmp_path / "work"
    made.mkdir()
    (made / "a.txt").write_text("Kettles boil.\n")
    return made


def run(script: str, arguments: list[str], work: Path, **variables: str) -> str:
    """What an agent writes to its standard output, once it is done; it may reach nothing but this machine."""
    node, program = shutil.which("node"), beside("coding-agents") / "node_modules" / script
    if node is None or not program.exists():
        pytest.skip(f"{program} is not there: make test-slow installs it where node is")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LC_ALL", "TERM")}
    done = subprocess.run(
        [node, str(program), *arguments],
        cwd=work,
        env=kept | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def first_call(tool: str, **arguments: Any) -> str:
    """A model that thinks, and calls a tool."""
    return thinking("Let me look.") + called("qwen", (tool, json.dumps(arguments)))


def went_well(said: str, served: Scripted) -> None:
    """Both answers were asked for, the call was made, and what was thought and called is before the model again."""
    assert said.strip() == SAID
    assert served.unsaid == 0
    first, second = served.prompts
    assert ASKED in first
    assert "Kettles boil." not in first
    assert "Let me look." in second
    assert "Kettles boil." in second[second.index("<tool_response>") :]


def test_codex(served: Scripted, work: Path) -> None:
    home = work.parent / "codex"
    home.mkdir()
    (home / "config.toml").write_text(CODEX.format(model=served.model, url=served.url))
    served.say(first_call("exec_command", cmd="cat a.txt"), SAID)
    # Its own sandbox needs what a container may not have.
    given = ["exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", ASKED]
    said = run("@openai/codex/bin/codex.js", given, work, CODEX_HOME=str(home), LLMOPS_API_KEY=served.key)
    went_well(said, served)


def test_claude_code(served: Scripted, work: Path) -> None:
    served.say(first_call("Read", file_path=str(work / "a.txt")), SAID)
    said = run(
        "@anthropic-ai/claude-code/cli-wrapper.cjs",
        ["-p", ASKED, "--allowedTools", "Read"],
        work,
        ANTHROPIC_BASE_URL=served.root,
        ANTHROPIC_AUTH_TOKEN=served.key,
        ANTHROPIC_MODEL=served.model,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    went_well(said, served)
