"""llama.cpp's log as lines with time and level: information while loading, errors at any time.

Its debug lines are dropped, and so is the copy of the file's metadata. After loading only warnings and errors are kept,
and the same one not more than three times, so that a log does not grow with each request.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any

from llmops_tui.safe_text import safe_line

# ggml's levels; a line of the last goes on with the one before.
_INFO, _WARNING, _ERROR, _GOES_ON = 2, 3, 4, 5
_NAMES = {_INFO: "info", _WARNING: "warning", _ERROR: "error"}
_METADATA = "llama_model_loader: - "
# What most lines begin with; it says nothing to whoever did not write llama.cpp.
_FUNCTION = re.compile(r"^\w+: ")
_REPEATS = 3
_MAX_TEXTS = 1000
_MAX_LINE = 2000


class NativeLog:
    """Writes lines to a descriptor. llama.cpp calls it from any of its threads, and never in a step that goes well."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._level = 0
        self._begun = ""
        self._seen: dict[str, int] = {}
        self._error = ""
        self.loading = True

    def why(self) -> str:
        """The first error that was told since this was last asked, behind a colon; empty where there was none.

        The first one is the cause; those after it say what could not be done for that reason.
        """
        with self._lock:
            error, self._error = self._error, ""
        return f": {error}" if error else ""

    def take(self, level: int, text: bytes) -> None:
        """Take a piece of text; a line is written when it is whole."""
        with self._lock:
            if level != _GOES_ON:
                self._level, self._begun = level, ""
            if self._level not in _NAMES:
                return
            *lines, self._begun = (self._begun + text.decode("utf-8", "replace")).split("\n")
            self._begun = self._begun[:_MAX_LINE]
            for line in lines:
                self._write(line)

    def _write(self, line: str) -> None:
        # Dots are the progress of loading.
        if not line.strip(". ") or (self._level == _INFO and (not self.loading or line.startswith(_METADATA))):
            return
        if self._level == _ERROR and not self._error:
            self._error = safe_line(_FUNCTION.sub("", line).strip(), 300)
        more = ""
        if self._level != _INFO:
            times = self._seen.get(line, 0) + 1
            if times > _REPEATS or (times == 1 and len(self._seen) >= _MAX_TEXTS):
                return
            self._seen[line] = times
            more = " (not repeated)" if times == _REPEATS else ""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        told = f"{stamp} {_NAMES[self._level]:7} {safe_line(line[:_MAX_LINE])}{more}\n"
        os.write(self._descriptor, told.encode("utf-8", "replace"))


_installed: list[Any] = []


def install(library: Any, descriptor: int = 2) -> NativeLog:
    """Have llama.cpp, the module ``library``, tell what it has to say to a new log; ``loading`` is for its owner to end."""
    log = NativeLog(descriptor)
    callback = library.llama_log_callback(lambda level, text, _data: log.take(level, text))
    library.llama_log_set(callback, None)
    # The library keeps no reference of its own.
    _installed[:] = [callback]
    return log
