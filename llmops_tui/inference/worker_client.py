"""The server's side of the engine process: start it, talk to it, and turn its death into an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.process import describe_exit, oom_kills

_LINE_LIMIT = 64 * 1024 * 1024
_BACKOFF_SECONDS = (0.0, 0.5, 2.0)
_STEADY_SECONDS = 60.0


class EngineProcess:
    """One engine process, started when needed and again, after a pause, when it died."""

    def __init__(
        self,
        options: dict[str, Any],
        log: Path,
        *,
        hang_seconds: float = 300.0,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._hang_seconds = hang_seconds
        self._lost = lost
        self._heard_at = 0.0
        self._hung = False
        self._stopping = False
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._start_lock = asyncio.Lock()
        self._failures = 0
        self._started_at = 0.0
        self._oom_before: int | None = None
        self.info: dict[str, Any] = {}
        self.last_failure = ""

    @property
    def pid(self) -> int | None:
        """Pid of the live engine process."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Make sure the engine runs.

        Raises:
            LlmopsError: it cannot load the model, or it died three times in a row.
        """
        async with self._start_lock:
            if self.pid is not None:
                return
            if self._failures >= len(_BACKOFF_SECONDS):
                raise LlmopsError(
                    "engine_keeps_dying",
                    f"the engine died {self._failures} times in a row",
                    f"Its log is {self._log}. Stop the server and load the model again.",
                )
            await asyncio.sleep(_BACKOFF_SECONDS[self._failures])
            await self._launch()

    async def _launch(self) -> None:
        self._oom_before = oom_kills()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "llmops_tui.inference.worker", json.dumps(self._options), str(os.getpid()),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=_LINE_LIMIT,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line else {"event": "died"}
        if message["event"] != "ready":
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            code = await self._process.wait()
            self._failures += 1
            if message["event"] == "failed":
                raise LlmopsError(**message["error"])
            cause = describe_exit(code, self._oom_before)
            raise LlmopsError("engine_died", f"the engine ended while loading: {cause}", f"Its log is {self._log}.")
        self.info = message["info"]
        self._started_at = self._heard_at = time.monotonic()
        self._hung = False
        self._watcher = asyncio.create_task(self._watch(self._process))
        self._reader = asyncio.create_task(self._read(self._process))

    async def stop(self) -> None:
        """End the engine process."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        for task in (self._reader, self._watcher):
            if task is not None:
                await task

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        """Send one request; yields its messages, all that are there at a time, the last being ``done`` or ``error``.

        Leaving the iteration early cancels the work.
        """
        await self.start()
        request_id = request["id"]
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._waiting[request_id] = queue
        ended = False
        try:
            self._send(request)
            while not ended:
                batch = [await queue.get()]
                while not queue.empty():
                    batch.append(queue.get_nowait())
                ended = batch[-1]["event"] in {"done", "error"}
                yield batch
        finally:
            self._waiting.pop(request_id, None)
            if not ended:
                self._send({"op": "cancel", "id": request_id})

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Kill an engine that owes answers and says nothing: a hang in native code ends no other way."""
        while process.returncode is None:
            await asyncio.sleep(min(1.0, self._hang_seconds / 4))
            if not self._waiting:
                self._heard_at = time.monotonic()
            elif time.monotonic() - self._heard_at > self._hang_seconds:
                self._hung = True
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            self._heard_at = time.monotonic()
            if message["event"] == "done":
                self._failures = 0
            queue = self._waiting.get(message["id"])
            if queue is not None:
                queue.put_nowait(message)
        code = await process.wait()
        if self._stopping:
            return
        if time.monotonic() - self._started_at < _STEADY_SECONDS:
            self._failures += 1
        self._lost()
        self.last_failure = (
            f"the engine said nothing for {self._hang_seconds:g} s and was ended"
            if self._hung
            else f"the engine was {describe_exit(code, self._oom_before)}"
        )
        code_name = "engine_hung" if self._hung else "engine_died"
        error = LlmopsError(code_name, self.last_failure, "The next request starts it again.")
        for queue in self._waiting.values():
            queue.put_nowait({"event": "error", "error": error.as_dict()})
