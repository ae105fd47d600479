"""The cause of death of a llama.cpp process in one line, from its signal and its log."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from llmops_tui.jobs.process import describe_exit
from llmops_tui.rotating_log import rotate
from llmops_tui.safe_text import safe_line

_READ_BYTES = 64 * 1024
# The most telling first: what llama.cpp says before it aborts, then what C++ says, then Python's own fault handler.
_TELLING = (
    re.compile(r"^.*(?:GGML_ASSERT|GGML_ABORT|CUDA error|ROCm error|out of memory).*$", re.MULTILINE | re.IGNORECASE),
    re.compile(r"^\s*what\(\):.*$", re.MULTILINE),
    re.compile(r"^.*(?:error while loading shared|undefined symbol|cannot open shared object).*$", re.MULTILINE),
    re.compile(r"^(?!Fatal Python)(?:.*\berror:|\S+ \S+ error |\w*Error\b).*$", re.MULTILINE),
)
# So many of these say why a process had to end; the last is said of what was refused, too.
_FATAL = 3
# What is said at a death stands close before the fault handler's own words.
_NEAR = 4000
_FAULT = "Fatal Python error"
_FOR_MEMORY = re.compile(r"out of memory|bad_alloc|(?:failed|unable|cannot) to allocate|cannot allocate", re.IGNORECASE)
# The fault handler lists the innermost frame first.
_FRAME = re.compile(r'^  File ".*?([^/"]+)", line (\d+) in (\S+)', re.MULTILINE)
_OURS = "Current thread"


def log_size(log: Path) -> int:
    """Where a log ends now; what a process writes after this is its own."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def why_it_died(returncode: int, log: Path, start: int, oom_before: int | None, doing: str = "") -> str:
    """The cause of a death in words.

    Args:
        returncode: of the process; negative for a signal.
        log: what its standard error went to.
        start: the log's size when it was started.
        oom_before: the kernel's count of kills for memory at that time.
        doing: what it was at, such as "while loading the model".
    """
    told = describe_exit(returncode, oom_before) + (f", {doing}" if doing else "")
    # A kill comes from outside, and nothing in the log has led to it.
    found = "" if returncode == -signal.SIGKILL else _said(_since(log, start))
    return f"{told}; {found}" if found else told


def _since(log: Path, start: int) -> str:
    # One that is shorter was full, and begun anew: what was said before that is in the one which was put aside.
    anew = log_size(log) < start
    said = _tail(rotate(log), start) + _tail(log, 0) if anew else _tail(log, start)
    return said[-_READ_BYTES:].decode("utf-8", "replace")


def _tail(log: Path, start: int) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(max(start, log_size(log) - _READ_BYTES))
            return file.read(_READ_BYTES)
    except OSError:
        return b""


def is_for_memory(cause: str) -> bool:
    """Whether a death was for want of memory, which no other build would change."""
    return _FOR_MEMORY.search(cause) is not None


def _said(text: str) -> str:
    fault = text.rfind(_FAULT)
    near = text[max(0, fault - _NEAR) : fault] if fault >= 0 else text
    for pattern in _TELLING[:_FATAL] if fault >= 0 else _TELLING:
        if found := pattern.findall(near):
            return f"its last message: {safe_line(found[-1].strip())[:200]}"
    at = text.rfind(_OURS, max(0, fault))
    if at >= 0 and (frame := _FRAME.search(text, at)):
        return f"in {frame[3]} ({frame[1]} line {frame[2]})"
    return ""
