"""Output that cannot be written, notices that are none, text where a number should be: each command says one line."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import typer
from typer.core import TyperGroup

from llmops_tui.cli.main import app, run
from llmops_tui.jobs.store import JobStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.representatives import representatives

# What stays, asks the machine for long, or opens the app.
ENDLESS = {("monitor",), ("demo",), ("serve",), ("doctor",), ("mcp",)}


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group by its words."""
    yield path, group
    if isinstance(group, TyperGroup):
        context = typer.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, (*path, name))


COMMAND = typer.main.get_command(app)
ALL = list(commands(COMMAND))
LISTINGS = [
    path for path, command in ALL
    if path and path not in ENDLESS and not hasattr(command, "commands") and not any(p.required for p in command.params)
]  # fmt: skip


@pytest.fixture(autouse=True)
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typer builds all commands anew for each call, which takes longer than the call."""
    monkeypatch.setattr("llmops_tui.cli.main.app", COMMAND)


class Closed(io.StringIO):
    """A stream that was closed before anything was written."""

    def __init__(self) -> None:
        super().__init__()
        self.close()


def full() -> TextIO:
    return Path("/dev/full").open("w", encoding="utf-8")


def unbuffered() -> TextIO:
    return io.TextIOWrapper(Path("/dev/full").open("wb", buffering=0), encoding="utf-8", write_through=True)


def gone() -> TextIO:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", encoding="utf-8")


def call(arguments: list[str], output: TextIO, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """One command line with an output of its own; its exit code and what it said beside."""
    errors = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", errors)
        code = run(arguments)
        if not output.closed:
            # As the interpreter does when it ends: it must find nothing that it cannot write.
            output.flush()
            output.close()
    return code, errors.getvalue().splitlines()


@pytest.mark.parametrize("output", [full, unbuffered, Closed])
def test_help_that_cannot_be_written_is_one_line(output: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(ALL) > 60
    for path, _ in ALL:
        code, said = call([*path, "--help"], output(), monkeypatch)
        assert code == 1, path
        assert len(said) == 1, path
        assert said[0].startswith("llmops: standard output cannot be written: ")


# One of each way to write: a table, a record, a page that is worked out; all others are of the slow tests.
_FEW = {("check",), ("prompt", "list"), ("traces", "list")}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=" ".join(path), marks=() if path in _FEW else pytest.mark.slow) for path in LISTINGS],
)
def test_results_that_cannot_be_written_are_one_line(
    path: tuple[str, ...], sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["--quiet", "--workspace", str(sample.root), *path]
    right, told = call(line, io.StringIO(), monkeypatch)
    for output, form in ((full, "--json"), (full, "--no-color"), (unbuffered, "--json"), (Closed, "--json")):
        code, said = call([form, *line], output(), monkeypatch)
        if right:
            # A refusal is told as ever: on standard error, with its own exit code.
            assert (code, said) == (right, told)
            continue
        assert code == 1
        assert len(said) == 1
        assert said[0].startswith("llmops: standard output cannot be written: ")
    # Whoever read enough and left is told nothing.
    assert call(line, gone(), monkeypatch) == ((right, told) if right else (1, []))


def shell(line: str, workspace: Workspace) -> subprocess.CompletedProcess[str]:
    """One command line of a shell, ``llmops`` in it being ours on this workspace."""
    command = f"{sys.executable} -m llmops_tui --workspace {workspace.root}"
    return subprocess.run(
        ["sh", "-c", line.replace("llmops", command)], capture_output=True, text=True, timeout=120, check=False
    )


STREAMS = (
    ("llmops --version >/dev/full", 1, "No space left"), ("llmops model list >&-", 1, "it is closed"),
    ("llmops model list <&- >&- 2>&-", 1, ""), ("llmops <&-", 2, "needs a terminal"),
)  # fmt: skip
MORE_STREAMS = (
    ("llmops --version >&-", 1, "it is closed"), ("llmops --json model list >/dev/full", 1, "No space left"),
    ("llmops model list 2>&-", 0, ""), ("llmops model list >&- 2>&-", 1, ""), ("llmops >&-", 2, "needs a terminal"),
    ("llmops model show nothing >&-", 3, "no model"), ("llmops --json model show nothing >/dev/full", 3, "no model"),
    ("llmops model list 2>/dev/full", 0, ""),
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code", "told"), [*STREAMS, *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE_STREAMS)]
)
def test_a_real_process_with_its_streams_closed_or_full(sample: Workspace, line: str, code: int, told: str) -> None:
    done = shell(line, sample)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if told else 0)
    assert told in done.stderr


@pytest.mark.slow
def test_no_file_of_the_workspace_takes_the_place_of_a_closed_stream(sample: Workspace, tmp_path: Path) -> None:
    """Where standard output is closed, the next file that is opened would get its number, and what is printed with it."""
    target = tmp_path / "b.tar"
    done = shell(f"llmops backup {target} <&- >&-", sample)
    assert done.returncode == 1
    assert "it is closed" in done.stderr
    # What it did is done, and whole.
    assert shell(f"llmops restore {target} --dry-run", sample).returncode in {0, 2}
    assert shell("llmops check", sample).returncode == 0
    assert target.stat().st_size > 10_000


def test_what_nobody_foresaw_is_one_line_that_says_where(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from llmops_tui.models.registry import ModelRegistry

    def broken(_self: object) -> None:
        raise KeyError("nobody\nthought of it\x1b[31m")

    monkeypatch.setattr(ModelRegistry, "list", broken, raising=False)
    monkeypatch.setattr(ModelRegistry, "all", broken, raising=False)
    line = ["--workspace", str(sample.root), "--json", "model", "list"]
    assert run(line) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["code"] == "unforeseen"
    assert len(shown.err.splitlines()) == 1
    assert "KeyError" in shown.err
    assert "\x1b" not in shown.err
    assert "Traceback" not in shown.err
    monkeypatch.setenv("LLMOPS_TRACEBACK", "1")
    assert run(line) == 1
    assert "Traceback" in capsys.readouterr().err


# ── what is odd in a workspace ──


@pytest.mark.parametrize("kind", ["latin", "folder", "pipe", "link to nothing", "long", "unreadable"])
def test_a_notice_that_is_none_keeps_nobody_from_working(
    sample: Workspace, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = sample.logs / "notice-1.txt"
    sample.logs.mkdir(exist_ok=True)
    if kind == "folder":
        notice.mkdir()
    elif kind == "pipe":
        os.mkfifo(notice)
    elif kind == "link to nothing":
        notice.symlink_to(sample.root / "nothing")
    else:
        notice.write_bytes({"latin": b"caf\xe9 \xff\xfe", "long": b"x" * 1_000_000, "unreadable": b"x"}[kind])
        notice.chmod(0o000 if kind == "unreadable" else 0o600)
    output = io.StringIO()
    monkeypatch.setattr(output, "close", lambda: None)
    code, said = call(["--workspace", str(sample.root), "--json", "model", "list"], output, monkeypatch)
    assert code == 0
    assert len(json.loads(output.getvalue())["models"]) >= 1
    assert [line.startswith("notice of 19") for line in said] == [True]


@pytest.mark.parametrize("damage", representatives([
    "pid = 'abc', pid_started = 'x', state = 'running'", "created_at = 'noon'", "progress = 'half'", "started_at = 'x'",
    "finished_at = x'ff'", "spec = '{'", "spec = '5'", "result = '['", "state = 'dancing'",
], 0, 5))  # fmt: skip
def test_a_job_whose_record_is_odd_is_shown_as_that_and_hides_no_other(
    sample: Workspace, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = JobStore(EventLog(sample))
    odd, sound = (jobs.add(kind="train", title=title, spec={}) for title in ("odd", "sound"))
    with sqlite3.connect(sample.event_log) as connection:
        connection.execute(f"UPDATE jobs SET {damage} WHERE id = ?", (odd.id,))
    listed = {job.id: job for job in jobs.all()}
    assert listed[sound.id].title == "sound"
    assert listed[odd.id].cause.startswith("its record is damaged: ")
    for path in (["job", "list"], ["job", "show", odd.id], ["train", "list"], ["monitor", "--once"]):
        code, said = call(["--workspace", str(sample.root), "--json", *path], io.StringIO(), monkeypatch)
        assert (code, said) == (0, [])


def test_times_of_requests_that_are_text_are_passed_over(sample: Workspace) -> None:
    event_log = EventLog(sample)
    event_log.append("request", "run_1", {"started_at": 5.0, "model": "m", "total_ms": 1.0, "completion_tokens": 1})
    with sqlite3.connect(sample.event_log) as connection:
        for odd in (("noon", 1.0, 1, 0), (5.0, "long", 1, 0), (5.0, 1.0, "many", 0), (5.0, 1.0, 1, "no")):
            connection.execute(
                "INSERT INTO timings (id, ended_at, model, total_ms, tokens, failed) VALUES ('x', ?, 'm', ?, ?, ?)", odd
            )
    assert [timing.id for timing in event_log.timings_after(0)] == ["run_1"]
    assert [timing.id for timing in event_log.timings_between(0, 10, 5)] == ["run_1"]
