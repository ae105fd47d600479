"""The output of a job, piped into a bounded file: head and tail are kept, the middle is counted.

``output.log`` is written to. When it is full for the first time it becomes ``output.log.head``, which stays; from then on
``output.log.1``, in place of the one before. Whoever is killed loses what nobody has read from the pipe yet, 64 KiB at most.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.counts import counted
from llmops_tui.regular_files import open_regular, read_regular
from llmops_tui.rotating_log import MOST, rotate
from llmops_tui.workspace.files import append_bytes

NAME = "output.log"
_AT_ONCE = 1 << 16
_LEFT_OUT = re.compile(rb"\[llmops: ([\d,]+) (?:earlier )?bytes ")
_FIRST_LINE = 400
# What a pipe may hold without a privilege.
_LARGEST_PIPE = 1 << 20


def head_of(log: Path) -> Path:
    """Where the beginning of a log is kept that became too long."""
    return log.with_name(f"{log.name}.head")


class OutputLog:
    """A log that is appended to and stays small. What cannot be written, such as for a full disk, is counted and told later."""

    def __init__(self, path: Path, most: int = MOST) -> None:
        self._path = path
        self._most = most
        self._file = append_bytes(path)
        self._size = self._file.tell()
        # How much of it is not of the job: the line that says what is left out.
        self._begin = 0
        # Of what was printed: written, not written, and whether a line was cut by that.
        self._written = self._lost = 0
        self._cut = False

    def write(self, data: bytes) -> None:
        """Append; never raises."""
        total, before = len(data), self._written
        try:
            if self._lost:
                told = b"[llmops: %d bytes could not be written here]\n" % self._lost
                self._append(b"\n" + told if self._cut else told)
                self._lost, self._cut = 0, False
            while self._size + len(data) > self._most:
                room = max(0, self._most - self._size)
                cut = data.rfind(b"\n", 0, room) + 1
                if not cut and self._size == self._begin:
                    # A line stays whole where a whole file has room for it.
                    cut = room
                self._print(data[:cut])
                data = data[cut:]
                self._turn()
            self._print(data)
        except OSError:
            # A disk that fills up takes the beginning.
            self._lost += total - (self._written - before)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _print(self, data: bytes) -> None:
        begin = self._size
        try:
            self._append(data)
        finally:
            done = self._size - begin
            self._written += done
            if 0 < done < len(data):
                self._cut = data[done - 1 : done] != b"\n"

    def _append(self, data: bytes) -> None:
        while data:
            # Unbuffered: what was written is there, whoever dies.
            done = os.write(self._file.fileno(), data)
            self._size += done
            data = data[done:]

    def _turn(self) -> None:
        """Go on in a new file."""
        head, older = head_of(self._path), rotate(self._path)
        there = self._path.exists()
        # It has a new name already where no new file could be made the last time, such as on a full disk.
        left_out = _told_in(self._path if there else older)[0]
        if there and not head.exists():
            self._path.replace(head)
        elif there:
            with contextlib.suppress(FileNotFoundError):
                left_out += older.stat().st_size - _told_in(older)[1]
            self._path.replace(older)
        fresh = append_bytes(self._path)
        self._file.close()
        self._file, self._size = fresh, 0
        told = f"the first bytes are in {head.name}" + (
            f", the bytes before these in {older.name}" if older.exists() else ""
        )
        self._append(f"[llmops: {counted(left_out, 'earlier byte')} omitted; {told}]\n".encode())
        self._begin = self._size


@contextlib.contextmanager
def piped(path: Path, most: int = MOST) -> Iterator[int]:
    """The end of a pipe to start a process with; what comes out of the other is in the log when the block ends.

    The caller waits for its process within the block. What others that it started print after its end is not waited for.
    """
    log = OutputLog(path, most)
    # Only our end does not wait: one that prints faster than a disk takes it waits for that, as it would with a file.
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    end, ended = os.pipe2(os.O_CLOEXEC)
    thread = threading.Thread(target=_pump, args=(reading, end, log), name="output", daemon=True)
    thread.start()
    try:
        yield writing
    finally:
        os.close(ended)
        thread.join()
        for descriptor in (reading, writing, end):
            os.close(descriptor)
        log.close()


def read_output(folder: Path) -> Iterator[bytes]:
    """All that is kept of what a job printed, in order, in parts; each time again what is new, empty where nothing is."""
    log = folder / NAME
    before: tuple[int, int] | None = None
    for part in (head_of(log), rotate(log)):
        with contextlib.suppress(OSError):
            yield read_regular(part)
    while True:
        told = b""
        with contextlib.suppress(OSError), open_regular(log) as file:
            inode, seen = os.fstat(file.fileno()).st_ino, 0
            if before is not None and before[0] == inode:
                seen = before[1]
            elif before is not None:
                told = _rest(log, *before)
            file.seek(seen)
            told += file.read()
            before = inode, file.tell()
        yield told


def _rest(log: Path, inode: int, seen: int) -> bytes:
    """What was not read yet of a file that was put aside."""
    for path in (head_of(log), rotate(log)):
        with contextlib.suppress(OSError), open_regular(path) as file:
            if os.fstat(file.fileno()).st_ino == inode:
                file.seek(seen)
                return file.read()
    return b""


def _told_in(path: Path) -> tuple[int, int]:
    """How much the first line of a log says is left out before it, and how long that line is."""
    with contextlib.suppress(OSError), open_regular(path) as file:
        line = file.readline(_FIRST_LINE)
        if found := _LEFT_OUT.match(line):
            return int(found.group(1).replace(b",", b"")), len(line)
    return 0, 0


def _pump(reading: int, end: int, log: OutputLog) -> None:
    """Write what comes; at the end what is in the pipe by then, whoever else may still print into it."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(end, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if end in ready:
            left = _LARGEST_PIPE
            while left > 0 and (data := _taken(reading)):
                log.write(data)
                left -= len(data)
            return
        log.write(_taken(reading))


def _taken(reading: int) -> bytes:
    try:
        return os.read(reading, _AT_ONCE)
    except BlockingIOError:
        return b""
