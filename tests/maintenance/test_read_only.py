"""A workspace that can only be read: it is read, listed, queried, checked and backed up, and nothing in it changes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmops_tui.maintenance.archive import verify
from llmops_tui.workspace.layout import Workspace
from tests.maintenance.conftest import fill_traces
from tests.maintenance.forked_cli import ForkedCommands

Command = Callable[..., subprocess.CompletedProcess[str]]
# Root may write anywhere but on a mount that is read-only.
MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def contents(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """All files with their sizes, times and bytes."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            facts = path.stat()
            found[str(path.relative_to(root))] = (facts.st_size, facts.st_mtime_ns, path.read_bytes())
    return found


@pytest.fixture
def before(lived: Workspace) -> Iterator[tuple[str, ...]]:
    """The start of a command line whose process cannot write in the workspace."""
    root = str(lived.root)
    before = ("unshare", "-m", "sh", "-c", MOUNTED, root) if os.geteuid() == 0 else ()
    if before and subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting read-only needs a mount namespace")
    if not before:
        for folder, _, names in os.walk(root):
            for name in names:
                (Path(folder) / name).chmod(0o400)
            Path(folder).chmod(0o500)
    yield before
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o700)


@pytest.fixture
def llmops(lived: Workspace, before: tuple[str, ...]) -> Command:
    """The command line on it."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*before, sys.executable, "-m", "llmops_tui", "--workspace", str(lived.root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    return run


READING = (
    ("data", "list"), ("prompt", "show", "triage"), ("prompt", "list"), ("model", "list"), ("job", "list"), ("traces", "list"),
    ("eval", "list"), ("train", "list"), ("sql", "SELECT count(*) AS n FROM requests"), ("lineage", "run_000003"), ("doctor",),
    ("monitor", "alerts"), ("gc",), ("model", "verify", "support-base"), ("check",),
)  # fmt: skip


@pytest.mark.slow
def test_everything_that_reads_works_and_nothing_changes(lived: Workspace, before: tuple[str, ...]) -> None:
    found = contents(lived.root)
    commands = ForkedCommands(before)
    for arguments in READING:
        done = commands.run("--workspace", str(lived.root), *arguments)
        assert done.code == 0 or arguments[0] == "doctor", (arguments, done.output[-500:], done.errors[-1500:])
        assert "Traceback" not in done.errors, (arguments, done.errors)
    out = lived.root.parent / "out.jsonl"
    done = commands.run("--workspace", str(lived.root), "data", "export", "triage", "--to", str(out))
    assert done.code == 0, done.errors
    assert out.stat().st_size
    done = commands.run("--workspace", str(lived.root), "backup", str(out.with_suffix(".tar")))
    assert done.code == 0, done.errors
    assert {"workspace.duckdb", "journal.db", "history.db"} <= set(verify(out.with_suffix(".tar")).files)
    assert contents(lived.root) == found
    commands.close()


@pytest.mark.slow
def test_what_a_killed_writer_left_in_the_log_is_read(lived: Workspace, llmops: Command) -> None:
    from tests.engine.test_catalog_file import WRITER

    subprocess.run([sys.executable, "-c", WRITER, str(lived.root), "3", "0"], check=False)
    names = llmops("sql", "SELECT name FROM prompts WHERE name LIKE 'p00%' ORDER BY 1")
    assert [line for line in names.stdout.split() if line.startswith("p00")] == ["p000", "p001", "p002"]


def test_requests_that_wait_in_its_event_log_are_told(lived: Workspace, llmops: Command) -> None:
    fill_traces(lived, 3, 100)
    told = llmops("traces", "list")
    assert told.returncode == 0, told.stderr
    assert "3 requests" in told.stderr


CHANGING = (
    ("prompt", "tag", "triage@1", "staging"), ("traces", "feedback", "run_000003", "--score", "up"),
    ("gc", "--yes"), ("serve", "support-base"), ("generate", "--model", "support-base", "--prompt", "hello"),
)  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(one, id=" ".join(one[:2]), marks=() if one[0] in {"prompt", "serve"} else pytest.mark.slow)
        for one in CHANGING
    ],
)
def test_what_would_change_it_is_refused_by_name(lived: Workspace, llmops: Command, arguments: tuple[str, ...]) -> None:
    before = contents(lived.root)
    done = llmops(*arguments)
    assert done.returncode != 0, arguments
    assert "is read-only" in done.stderr, (arguments, done.stderr)
    assert "Traceback" not in done.stderr, (arguments, done.stderr)
    assert contents(lived.root) == before
