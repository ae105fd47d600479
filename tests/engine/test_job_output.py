"""What jobs print stays small: its head and its tail are kept, and what is between is counted."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.jobs.output import NAME, OutputLog, head_of, piped, read_output
from llmops_tui.rotating_log import rotate

MOST = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "job"
    made.mkdir()
    return made


def kept(folder: Path) -> bytes:
    return b"".join(itertools.takewhile(bool, read_output(folder)))


def lines_of(folder: Path) -> list[int]:
    return [int(line.removeprefix(b"line ")) for line in kept(folder).splitlines() if line.startswith(b"line ")]


def test_what_is_short_is_as_it_was_printed(folder: Path) -> None:
    with piped(folder / NAME) as log:
        subprocess.run(
            [sys.executable, "-c", "import os; os.write(1, b'out\\n'); os.write(2, b'\\xffno text')"],
            stdout=log,
            stderr=log,
            check=True,
        )
    assert (folder / NAME).read_bytes() == b"out\n\xffno text"
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


def test_a_process_that_prints_without_end_keeps_its_head_and_its_tail(folder: Path) -> None:
    script = "for n in range(20_000): print('line', n, flush=n % 7 == 0)"
    with piped(folder / NAME, MOST) as log:
        subprocess.run([sys.executable, "-c", script], stdout=log, stderr=log, check=True)
    log_file = folder / NAME
    files = [head_of(log_file), rotate(log_file), log_file]
    assert sorted(folder.iterdir()) == sorted(files)
    assert all(path.stat().st_size <= MOST for path in files)
    numbers = lines_of(folder)
    gap = next(at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1] + 1)
    assert numbers[:gap] == list(range(gap))
    assert numbers[gap:] == list(range(numbers[gap], 20_000))
    printed = sum(len(f"line {n}\n") for n in range(20_000))
    told = int(log_file.read_bytes().split(b" ")[1].replace(b",", b""))
    assert told == printed - sum(len(f"line {n}\n") for n in numbers)


def test_what_is_resumed_goes_on_in_the_same_log(folder: Path) -> None:
    for turn in range(3):
        with piped(folder / NAME, MOST) as log:
            os.write(log, b"".join(b"line %d\n" % n for n in range(turn * 200, turn * 200 + 200)))
    numbers = lines_of(folder)
    assert (numbers[0], numbers[-1]) == (0, 599)
    assert numbers == sorted(numbers)


def test_who_follows_sees_each_line_once_over_the_turns_of_the_log(folder: Path) -> None:
    log = OutputLog(folder / NAME, MOST)
    parts = read_output(folder)
    seen = b""
    for n in range(600):
        log.write(b"line %d\n" % n)
        seen += b"".join(itertools.takewhile(bool, parts))
    log.close()
    assert [line for line in seen.splitlines() if line.startswith(b"line")] == [b"line %d" % n for n in range(600)]


def test_one_long_line_is_cut_and_does_not_stop_the_work(folder: Path) -> None:
    with piped(folder / NAME, MOST) as log:
        os.write(log, b"x" * 30_000)
    assert all(path.stat().st_size <= MOST for path in folder.iterdir())


def test_a_child_that_goes_on_holding_the_pipe_does_not_hold_up_the_end(folder: Path) -> None:
    with piped(folder / NAME) as log:
        holder = subprocess.Popen(["sleep", "300"], stdout=log)
        os.write(log, b"line 1\n")
    try:
        assert kept(folder) == b"line 1\n"
    finally:
        holder.kill()
        holder.wait()


def test_a_full_disk_costs_what_cannot_be_written_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = OutputLog(folder / NAME)
    log.write(b"before\n")

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.write(b"lost\n")
        log.write(b"lost too\n")
    log.write(b"after\n")
    assert kept(folder) == b"before\n[llmops: 14 bytes could not be written here]\nafter\n"


def test_a_disk_that_fills_up_within_a_line_costs_only_the_rest_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = OutputLog(folder / NAME)
    write, room = os.write, [4]

    def filling(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = write(descriptor, data[: room[0]])
        room[0] -= done
        return done

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", filling)
        log.write(b"half of it\n")
        log.write(b"lost too\n")
    log.write(b"after\n")
    assert kept(folder) == b"half\n[llmops: 16 bytes could not be written here]\nafter\n"


def test_a_disk_that_was_full_as_a_log_was_turned_loses_only_what_came_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / NAME
    log = OutputLog(path, MOST)
    for turn in ("head", "1"):
        log.write(b"before\n" * (MOST // 7))
        with monkeypatch.context() as full:
            full.setattr("llmops_tui.jobs.output.append_bytes", _no_space)
            log.write(b"lost\n" * 100)
        log.write(f"after {turn}\n".encode())
    log.close()
    assert b"after head\n" in kept(folder)
    assert b"could not be written here" in kept(folder)
    assert kept(folder).endswith(b"after 1\n")


def _no_space(path: Path) -> object:
    raise OSError(28, "No space left on device", str(path))
