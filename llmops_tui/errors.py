"""The one error type that crosses the engine's boundaries: what, where, why, and what to do next."""

from __future__ import annotations

from enum import IntEnum
from typing import TypedDict

# What ends a sentence, or cannot be followed by a full stop.
_ENDS = {".", "!", "?", "…", ":"}


class ExitCode(IntEnum):
    """Exit codes of the command line; they are an interface and do not change."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    INTERRUPTED = 130


class ErrorRecord(TypedDict):
    """A failure as JSON; see :class:`LlmopsError`."""

    code: str
    message: str
    hint: str


class LlmopsError(Exception):
    """A failure a person can act on.

    Attributes:
        code: stable, machine-readable name of the failure, such as ``workspace_locked``.
        message: what happened, to what, and why, in one line.
        hint: what to do next; empty where nothing helps.
        exit_code: how a command that ends with this failure exits.
    """

    def __init__(self, code: str, message: str, hint: str = "", exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    @property
    def told(self) -> str:
        """Message and hint, one sentence after the other, as people read them."""
        return sentences(self.message, self.hint)

    def as_dict(self) -> ErrorRecord:
        """The failure as the command line's JSON and the server's answers show it."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class Interrupted(SystemExit):
    """A signal's order to end, which may come in the middle of anything.

    No ``except Exception`` takes it for a failure, and event loops pass it on: other exceptions that reach them from a
    callback they only log, and go on.

    Attributes:
        message: what ended the command, for its last line.
    """

    def __init__(self, message: str = "interrupted") -> None:
        super().__init__(int(ExitCode.INTERRUPTED))
        self.message = message


def sentences(*parts: str) -> str:
    """Texts one after the other, each but the last with the full stop it may lack; empty ones are left out.

    A text that stands alone gets its full stop too. The last of several is often a command to be copied, and stays as it is.
    """
    found = [part.strip() for part in parts if part.strip()]
    ended = [part if part.rstrip("\"')")[-1:] in _ENDS else f"{part}." for part in found]
    return " ".join([*ended[:-1], found[-1]] if len(found) > 1 else ended)


class InputRefusedError(LlmopsError):
    """Input that was looked at and turned away; nothing was changed."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint, ExitCode.REFUSED)


class NotFoundError(LlmopsError):
    """A name or id that stands for nothing here."""

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        super().__init__(f"{kind}_not_found", f"no {kind} {name!r} in this workspace", hint, ExitCode.REFUSED)
