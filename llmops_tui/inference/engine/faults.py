"""Unexpected errors in the engine's process: the request is answered, or the process ends and is restarted.

A thread that died of it in silence would leave all who ask it later without an answer, while the engine seems to live.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback

from llmops_tui.errors import LlmopsError

_EXIT_CODE = 70


class UnsoundError(Exception):
    """What llama.cpp computes on this machine is not a number."""


def unexpected(error: BaseException) -> LlmopsError:
    """The answer to the one request whose work failed in a way that nobody foresaw; the log gets the traceback."""
    traceback.print_exception(error)
    return LlmopsError(
        "engine_failed",
        f"the engine failed at this request: {type(error).__name__}: {error}"[:300],
        "The engine's log, in the workspace's logs, has the traceback; other requests continue.",
    )


def end_with_any_thread() -> None:
    """From now on the process ends when one of its threads dies of an error: whoever waits is told, and it is started anew."""

    def ended(died: threading.ExceptHookArgs) -> None:
        name = died.thread.name if died.thread is not None else "unknown"
        sys.stderr.write(f"the thread {name!r} died:\n")
        traceback.print_exception(died.exc_value)
        sys.stderr.flush()
        os._exit(_EXIT_CODE)

    threading.excepthook = ended
