"""A process that prints without end keeps two files of a bounded size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.inference.crash import is_for_memory, log_size, why_it_died

# Prints lines with their numbers to both descriptors, and looks after each.
PRINT = """
import os
from llmops_tui.rotating_log import RotatingLog
log = RotatingLog(most=1000)
log.stop()
for n in range(400):
    os.write(1 + n % 2, b"line %d\\n" % n)
    log.inspect()
    if n == {gone}:
        os.{how}
print("the end", flush=True)
"""


def printed(path: Path, script: str) -> None:
    with path.open("ab") as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, stderr=file, check=True, timeout=120)


def test_what_is_printed_goes_on_in_a_new_file_and_the_last_two_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "some.log"
    printed(path, PRINT.format(gone=-1, how="getpid()"))
    older = path.with_name("some.log.1")
    assert sorted(tmp_path.glob("some*")) == [path, older]
    assert older.stat().st_size < 1100
    assert path.stat().st_size < 1100
    *lines, last = (older.read_text() + path.read_text()).splitlines()
    assert last == "the end"
    numbers = [int(line.removeprefix("line ")) for line in lines]
    assert numbers == list(range(400 - len(numbers), 400))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_that_was_put_aside_or_deleted_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "some.log"
    printed(path, PRINT.format(gone=390, how=f"unlink({str(path)!r})"))
    assert path.read_text().splitlines()[0] == "line 391" or path.read_text().splitlines()[0] == "line 392"
    printed(path, PRINT.format(gone=390, how=f"rename({str(path)!r}, {str(path) + '.2'!r})"))
    assert path.read_text().splitlines()[-1] == "the end"


# An engine that prints until its log is begun anew, and then dies; what says why comes before that or after it.
DIE = """
import os
from llmops_tui.rotating_log import RotatingLog
log = RotatingLog(most=20_000)
log.stop()
said = b"CUDA error: out of memory\\n"
if {before}:
    os.write(2, said)
while not log.inspect():
    os.write(2, b"llama: working\\n")
os.write(2, b"llama: more\\n" if {before} else said)
os.abort()
"""


@pytest.mark.parametrize("before", [True, False])
def test_why_a_process_died_is_read_across_the_two_files_of_its_log(before: bool, tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    path.write_text("GGML_ASSERT(old) failed\n" * 300)
    start = log_size(path)
    with path.open("ab") as file:
        done = subprocess.run([sys.executable, "-c", DIE.format(before=before)], stderr=file, check=False, timeout=120)
    assert log_size(path) < start
    cause = why_it_died(done.returncode, path, start, None)
    assert "CUDA error: out of memory" in cause
    assert is_for_memory(cause)
    assert "old" not in cause


def test_a_pipe_is_left_alone() -> None:
    script = "from llmops_tui.rotating_log import RotatingLog\nwith RotatingLog(most=1) as log:\n    print('x' * 100)\n    print(log.inspect())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines() == ["x" * 100, "False"]
