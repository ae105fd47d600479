"""Standard streams that may be closed, on a full disk, or without a reader."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from llmops_tui.errors import LlmopsError

_INPUT, _OUTPUT, _ERRORS = 0, 1, 2


def hold() -> None:
    """Give each of the three descriptors a file where it is closed.

    Else the next file that is opened gets its number, and what is printed goes into the user's data. Input then has
    nothing in it, messages go nowhere, and output cannot be written, so that its loss is told.
    """
    for number, way in ((_INPUT, os.O_RDONLY), (_OUTPUT, os.O_RDONLY), (_ERRORS, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one, for those below it were seen to.
            os.open(os.devnull, way)
    sys.stdin = sys.stdin or os.fdopen(_INPUT, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(_OUTPUT, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_ERRORS, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """What cannot be written to standard output is an error that says so; narration that cannot be is left out."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Output(output), _Narration(errors)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = output, errors


class _Stream:
    """A text stream whose failures are seen to; all else is the stream's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text."""
        return int(self._try(self._stream.write, text) or 0)

    def flush(self) -> None:
        """Write what waits."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (OSError, ValueError) as error:
            return self._failed(error)

    def _failed(self, error: OSError | ValueError) -> None:
        raise NotImplementedError


class _Output(_Stream):
    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._failure: Exception | None = None

    def _try(self, call: Callable[..., Any], *arguments: Any) -> Any:
        # Once lost, it stays so: whoever tried the stream first may have kept the failure to himself.
        if self._failure is not None:
            raise self._failure
        return super()._try(call, *arguments)

    def _failed(self, error: OSError | ValueError) -> None:
        # What is left in the stream goes nowhere, so that the interpreter does not try again as it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        self._failure = error if isinstance(error, BrokenPipeError) else _lost(error)
        raise self._failure from error


class _Narration(_Stream):
    def _failed(self, error: OSError | ValueError) -> None:
        """Narration is no result: a command does not fail for it."""


def _lost(error: OSError | ValueError) -> LlmopsError:
    number = error.errno if isinstance(error, OSError) else errno.EBADF
    told = "it is closed" if number == errno.EBADF else os.strerror(number or 0)
    return LlmopsError(
        "output_failed",
        f"standard output cannot be written: {told}",
        "The command has finished its work, but some or all of its output is lost.",
    )
