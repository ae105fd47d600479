"""Process identity: a pid with its start time, never a pid alone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The signals that ask a process to end in good order.
ENDING = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
_ORPHAN_SECONDS = 1.0
# The kernel's mark of a process that is on its way out, and SIGKILL in a mask of signals.
_PF_EXITING = 0x4
_KILL_PENDING = 1 << (signal.SIGKILL - 1)


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that was seen alive: its pid, and its start time as the system counts it."""

    pid: int
    started: float

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_time(self.pid) == self.started

    def send(self, number: int) -> bool:
        """Send a signal to that very process; false where it is gone, so a reused pid is never hit."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, or none where there is no such process."""
    started = start_time(pid)
    return None if started is None else ProcessIdentity(pid, started)


def start_time(pid: int) -> float | None:
    """When a process started, in clock ticks since boot where /proc tells; none for a dead one or a zombie.

    Ticks since boot do not move when the wall clock is set.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        # The name in parentheses may itself hold blanks and parentheses; fields are counted after the last one.
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return _start_time_elsewhere(pid)
    return None if fields[0] in {"Z", "X"} else float(fields[19])


def boot_time() -> float:
    """When this machine started, in seconds since 1970 by the clock as it is set now; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0


def child_ends(pid: int) -> bool:
    """Whether a child of ours has ended or is about to: it was killed, or gives its memory back.

    That takes a large process tenths of a second, in which its pipes are open and nobody can wait for it yet. The child
    is not reaped: whoever started it gets its exit code as ever.
    """
    try:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        folder = Path(f"/proc/{pid}")
        flags = int((folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[6])
        if flags & _PF_EXITING:
            return True
        return any(
            int(line.split()[1], 16) & _KILL_PENDING
            for line in (folder / "status").read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith(("SigPnd:", "ShdPnd:"))
        )
    except (ChildProcessError, ProcessLookupError):
        # It was waited for already.
        return True
    except FileNotFoundError:
        # Gone between two looks, or a system without /proc, where the wait above is all there is.
        return Path("/proc/self/stat").exists()


def _start_time_elsewhere(pid: int) -> float | None:
    if Path("/proc/self/stat").exists():
        return None
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def die_with_parent(parent: int, by: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process by a signal when its parent ends; leaves at once where it has ended already."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(1)


def end_when_orphaned() -> None:
    """End this process within a second of its parent's end, whatever it is busy with; for one that reads its parent's pipe.

    The kernel's way, :func:`die_with_parent`, ends a child with the thread that started it, and helpers outlive those.
    """
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_ORPHAN_SECONDS)
        os._exit(1)

    threading.Thread(target=look, name="orphaned", daemon=True).start()


@contextlib.contextmanager
def endings_put_off() -> Iterator[None]:
    """What asks to end waits, for this thread and for the processes that it starts, until they unblock those signals.

    By default they would end a process that has not come so far as to listen, and nothing would be put in order.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def oom_kills() -> int | None:
    """How many processes the kernel killed for memory in our control group, or none where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/sys/fs/cgroup/memory.events").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def describe_exit(returncode: int, oom_before: int | None) -> str:
    """Why a process ended, in words: its exit code, or the signal and its probable cause."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    number = -returncode
    name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
    causes = {
        signal.SIGSEGV: "a crash in native code",
        signal.SIGABRT: "an abort in native code",
        signal.SIGBUS: "a file that shrank or a failing disk",
        signal.SIGILL: "an instruction this CPU does not have",
    }
    cause = causes.get(signal.Signals(number)) if number in signal.valid_signals() else None
    if number == signal.SIGKILL:
        after = oom_kills()
        out_of_memory = oom_before is not None and after is not None and after > oom_before
        cause = (
            "the kernel killed it for lack of memory" if out_of_memory else "by another process, or for lack of memory"
        )
    return f"killed by signal {number} ({name})" + (f": {cause}" if cause else "")
