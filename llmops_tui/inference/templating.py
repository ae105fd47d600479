"""Render chat templates and prompts in a sandboxed process that is killed when it takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from typing import Any, Literal

from llmops_tui.errors import InputRefusedError

RENDER_SECONDS = 1.0
_START_SECONDS = 20.0
_MAX_REQUEST = 4_000_000
_MAX_ANSWER = 8_000_000
_MANY = 500

Kind = Literal["chat", "prompt"]


class TemplateRenderer:
    """One template process, started on first use and replaced after it had to be killed. Thread-safe."""

    def __init__(self, seconds: float = RENDER_SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def render(self, source: str, context: dict[str, Any], kind: Kind = "prompt") -> str:
        """The rendered text.

        Raises:
            InputRefusedError: ``template_failed``: wrong syntax, too slow, too large; ``variable_missing``.
        """
        return str(self._ask({"op": "render", "source": source, "context": context, "kind": kind}))

    def render_many(self, source: str, contexts: list[dict[str, Any]], kind: Kind = "prompt") -> list[str]:
        """One template with many sets of values; much faster than one by one.

        Raises:
            InputRefusedError: as :meth:`render`, for the first set that fails.
        """
        rendered: list[str] = []
        part: list[dict[str, Any]] = []
        size = 0
        for context in contexts:
            length = len(json.dumps(context))
            if part and (size + length > _MAX_REQUEST // 4 or len(part) >= _MANY):
                rendered += self._ask({"op": "render_many", "source": source, "context": part, "kind": kind})
                part, size = [], 0
            part.append(context)
            size += length
        if part:
            rendered += self._ask({"op": "render_many", "source": source, "context": part, "kind": kind})
        return rendered

    def variables(self, source: str) -> list[str]:
        """Names of the variables a prompt template needs, in the order of their first use.

        Raises:
            InputRefusedError: ``template_failed``: the template cannot be parsed.
        """
        return list(self._ask({"op": "variables", "source": source, "kind": "prompt"}))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._kill()

    def _ask(self, request: dict[str, Any]) -> Any:
        line = json.dumps(request).encode() + b"\n"
        if len(line) > _MAX_REQUEST:
            raise _failed(f"the template and its values have {len(line):,} bytes, more than {_MAX_REQUEST:,}")
        with self._lock:
            raw = self._exchange(line)
        reply = json.loads(raw)
        if "missing" in reply:
            raise InputRefusedError(
                "variable_missing",
                f"the variable {reply['missing']} has no value",
                "Give it one, or take it out of the text.",
            )
        if "error" in reply:
            raise _failed(reply["error"])
        return reply["result"]

    def _exchange(self, line: bytes) -> bytes:
        fresh = self._process is None or self._process.poll() is not None
        if fresh:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llmops_tui.inference.template_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
            # Importing Jinja on a busy machine is not the template's fault.
            self._talk(b'{"op": "render", "source": "", "context": {}, "kind": "prompt"}\n', _START_SECONDS)
        return self._talk(line, self._seconds)

    def _talk(self, line: bytes, seconds: float) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + seconds
        answer = bytearray()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            while not answer.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                    raise _failed(f"it took longer than {seconds:g} s")
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part or len(answer) > _MAX_ANSWER:
                    raise _failed("it needed too much memory")
                answer += part
        except OSError as error:
            self._kill()
            raise _failed("its process ended") from error
        except InputRefusedError:
            self._kill()
            raise
        return bytes(answer)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def _failed(reason: str) -> InputRefusedError:
    return InputRefusedError("template_failed", f"the template cannot be rendered: {reason}", "Change the template.")
