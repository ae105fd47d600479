"""No code of the folder that the program is started in ever runs: the folder is full of modules that would tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.child_python import module_command
from llmops_tui.workspace.layout import Workspace

# What each kind of process imports, from the standard library and beyond.
TRAPS = [
    "json",
    "typing",
    "base64",
    "asyncio",
    "dataclasses",
    "secrets",
    "sqlite3",
    "numpy",
    "duckdb",
    "pyarrow",
    "polars",
    "jinja2",
    "httpx",
    "pydantic",
    "orjson",
    "gguf",
    "llama_cpp",
    "llguidance",
    "starlette",
    "uvicorn",
    "typer",
    "torch",
    "transformers",
    "sitecustomize",
    "usercustomize",
    "llmops_tui",
    "screens",
    "gettext",
]


@pytest.fixture
def trapped(tmp_path: Path, sample: Workspace) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'a').write('{name}\\n')\n")
    (folder / "rows.jsonl").write_text('{"question": "a", "answer": "b"}\n' * 30)
    return folder


@pytest.mark.slow
def test_no_code_of_the_folder_at_hand_runs(trapped: Path, sample: Workspace) -> None:
    """Of a server, its engine, its checks of templates and forms; of jobs; of tokenizing, and of what doctor tries."""

    def llmops(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*module_command("llmops_tui", "--workspace", str(sample.root)), *arguments],
            cwd=trapped,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    llmops("doctor")
    llmops("data", "import", "rows.jsonl", "--name", "rows", "--yes")
    llmops("data", "profile", "rows", "--model", "support-base")
    llmops("data", "check", "rows")
    llmops("model", "verify", "support-base")
    (trapped / "form.json").write_text(json.dumps({"type": "object", "properties": {"a": {"type": "boolean"}}}))
    llmops("generate", "--model", "support-base", "--prompt", "x", "--max-tokens", "8", "--schema", "form.json")
    llmops("model", "stop", "support-base")
    assert not (trapped.parent / "sprung").exists()


def test_the_command_line_takes_no_module_of_the_folder_at_hand(trapped: Path) -> None:
    """The start of one process, which all others start as; the slow one has the work of each."""
    command = module_command("llmops_tui", "data", "import", "rows.jsonl", "--help")
    done = subprocess.run(command, cwd=trapped, capture_output=True, text=True, check=False)
    assert "--name" in done.stdout, done.stderr
    assert not (trapped.parent / "sprung").exists()


def test_the_traps_are_traps(trapped: Path) -> None:
    subprocess.run([sys.executable, "-m", "json.tool", os.devnull], cwd=trapped, check=False, capture_output=True)
    assert "json" in (trapped.parent / "sprung").read_text()


def test_every_process_is_started_in_the_one_way() -> None:
    root = Path(__file__).parents[2]
    files = [path for folder in ("llmops_tui", "screens") for path in (root / folder).rglob("*.py")]
    own = [path.name for path in files if '"-m", ' in path.read_text() and "sys.executable" in path.read_text()]
    assert own == ["child_python.py"]
