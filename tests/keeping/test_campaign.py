"""Each file of a workspace, spoilt in each way: every command answers in one clear line, and nothing else is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import trust


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    for place in range(0, len(raw), max(1, len(raw) // 16)):
        raw[place] ^= 0xFF
    path.write_bytes(raw)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILING: tuple[Callable[[Path], None], ...] = (gone, empty, halved, flipped, folder, link, fifo)
COMMANDS = (
    ("check",), ("data", "list"), ("prompt", "list"), ("model", "list"), ("job", "list"), ("traces", "list"), ("eval", "list"),
    ("train", "list"), ("sql", "SELECT 1"), ("monitor", "alerts"), ("gc",), ("doctor",), ("backup", "OUT"),
)  # fmt: skip
# Files that people write, or that are made again: they may be missing without a word.
QUIET = ("logs/", "runs/", "answers.db", ".lock", "-wal", "-shm", "workspace.json")


def names_of(root: Path) -> list[str]:
    """One file of each kind below a workspace."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            name = path.relative_to(root).as_posix()
            kind = name if "/" not in name else f"{name.split('/')[0]}/{path.suffix}"
            found.setdefault(kind, name)
    return list(found.values())


def snapshot(root: Path, but: str) -> dict[str, bytes]:
    """The bytes of all files that a look must not change: not what is live, nor the seals, nor the one that was spoilt."""
    # The check notes in the book when it read a model.
    live = (
        "logs/",
        "runs/",
        "seals.json",
        "workspace.json",
        ".lock",
        "-wal",
        "-shm",
        "history.db",
        "journal.db",
        "workspace.duckdb",
    )
    return {
        name: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and (name := path.relative_to(root).as_posix()) != but
        and not any(name.startswith(one) or name.endswith(one) for one in live)
    }


@pytest.mark.slow
@pytest.mark.parametrize("spoil", SPOILING, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_file_is_told_and_nothing_else_changes(
    lived: Workspace, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    troubles = []
    for number, name in enumerate(names_of(lived.root)):
        copy = Workspace(tmp_path / f"copy{number}")
        shutil.copytree(lived.root, copy.root)
        trust(copy)
        spoil(copy.root / name)
        before = snapshot(copy.root, name)
        told = ""
        for command in COMMANDS:
            arguments = [one.replace("OUT", str(tmp_path / f"{number}.tar")) for one in command]
            done = subprocess.run(
                [sys.executable, "-m", "llmops_tui", "--workspace", str(copy.root), *arguments],
                capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120,
            )  # fmt: skip
            said = done.stderr + (done.stdout if command[0] in {"check", "doctor"} else "")
            told += said
            if "Traceback" in said or "should not have happened" in said:
                troubles.append(f"{spoil.__name__} {name}: {' '.join(command)}: {said[-300:]}")
            if done.returncode == 0:
                continue
            if not said.strip():
                troubles.append(f"{spoil.__name__} {name}: {' '.join(command)}: {done.returncode} without a word")
        after = snapshot(copy.root, name)
        changed = [one for one in before if after.get(one) != before[one]]
        if changed:
            troubles.append(f"{spoil.__name__} {name}: changed {changed[:3]}")
        if Path(name).name not in told and not name.startswith(QUIET) and not name.endswith(QUIET):
            troubles.append(f"{spoil.__name__} {name}: no command names it")
        shutil.rmtree(copy.root, ignore_errors=True)
    assert not troubles, "\n".join(troubles)
