"""Have the forms that answers are held to checked in a process that is killed when one takes too much."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.helper_process import HelperLostError, HelperProcess

# Of the clock; the process itself counts the processor's time, and ends after two seconds of it.
_SECONDS = 20.0
_MAX_FORM = 1_000_000
_MAX_WAITING = 64
_KEPT = 64


class FormChecker:
    """One checking process for one model, started when the first form comes and replaced after it was lost.

    What was found lately is kept, so that a form that is asked for again and again waits for no other.
    """

    def __init__(self, path: str, visible: Sequence[str]) -> None:
        self._process = HelperProcess(
            "llmops_tui.inference.grammar_worker", path, *visible, greeting=b'{"type": "text"}\n'
        )
        # A thread of its own: the server's others must not wait behind a grammar that takes its time.
        self._thread = ThreadPoolExecutor(1, "forms")
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._waiting = 0

    @property
    def pid(self) -> int | None:
        """Pid of the checking process, where one lives."""
        return self._process.pid

    async def grammar_of(self, form: dict[str, Any] | None) -> str:
        """The grammar that holds an answer to a form, for the engine; empty for plain text.

        Raises:
            InputRefusedError: ``grammar_invalid``, ``schema_invalid``, ``bad_response_format``: it cannot be held to;
                ``grammar_too_costly``: compiling it takes too much time, memory or room.
            LlmopsError: ``queue_full``: too many wait to be checked.
        """
        if form is None or form.get("type", "text") == "text":
            return ""
        try:
            line = json.dumps(form).encode() + b"\n"
        except RecursionError as error:
            raise _costly("it nests too deep") from error
        if len(line) > _MAX_FORM:
            raise _costly(f"it has {len(line):,} bytes, more than {_MAX_FORM:,}")
        if line not in self._known:
            if self._waiting >= _MAX_WAITING:
                raise LlmopsError("queue_full", f"{self._waiting} grammars are being checked", "Try again in a moment.")
            self._waiting += 1
            try:
                grammar = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, line)
            finally:
                self._waiting -= 1
            self._known[line] = grammar
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(line)
        return self._known[line]

    def close(self) -> None:
        """End the process."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._process.close()

    def _ask(self, line: bytes) -> str:
        try:
            reply = json.loads(self._process.ask(line, _SECONDS))
        except HelperLostError as error:
            raise _costly(str(error)) from error
        if "error" in reply:
            raise InputRefusedError(**reply["error"])
        return str(reply["grammar"])


def _costly(reason: str) -> InputRefusedError:
    return InputRefusedError(
        "grammar_too_costly", f"the form of the answer is too costly to hold to: {reason}", "Make it smaller."
    )
