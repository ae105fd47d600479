"""The server's side of the engine process: keeps it running, talks to it, and reports its death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import cast

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.crash import why_it_died
from llmops_tui.inference.engine_launch import Launched, launch
from llmops_tui.inference.engine_wire import Call, EngineInfo, EngineStart, Event, Generated, Standing
from llmops_tui.inference.fallback import RUNGS
from llmops_tui.jobs.process import child_ends

# Seconds before the engine is started again: after each of the first deaths in a row, and after those that follow. From
# the fourth on requests are turned away in the meantime.
_BACKOFF_SECONDS = (0.0, 0.5, 2.0)
_PAUSE_SECONDS = (30.0, 60.0, 120.0, 300.0)
_STEADY_SECONDS = 60.0
# What shows that the engine does its work.
_WORK = {"generate", "embed", "rank"}


class EngineProcess:
    """One engine process, started again, after a pause, whenever it died.

    ``hang_seconds`` is how long it may say nothing at work before it is ended.
    ``visible`` finds the control tokens that are part of answers; it may take its time, while the engine starts.
    ``news`` is told when the engine had to be started in a safer way than asked for, once for each machine and build.
    """

    def __init__(
        self,
        options: EngineStart,
        log: Path,
        *,
        hang_seconds: float = 300.0,
        news: Callable[[str], None] = lambda _text: None,
        pauses: tuple[float, ...] = _PAUSE_SECONDS,
        visible: Callable[[], list[str]] = list,
    ) -> None:
        self._options = options
        self.hang_seconds = hang_seconds
        self._news = news
        self._pauses = pauses
        self._visible = visible
        self._heard_at = 0.0
        self._hung = False
        self._stopping = False
        self._log = log
        self._engine: Launched | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._revival: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Queue[Event]] = {}
        # What the engine still has to end, whether anybody waits for it or not.
        self._owed: dict[str, str] = {}
        # Who wants to know of what was left before its end what it came to.
        self._left: dict[str, Callable[[Generated | None], None]] = {}
        self._start_lock = asyncio.Lock()
        self._failures = 0
        self._started_at = 0.0
        self._retry_at = 0.0
        # Told of each death.
        self.lost: Callable[[], None] = lambda: None
        self.loading: tuple[str, float] = ("loading", 0.0)
        # Empty before it was ready once: who needs what is in there asks for its facts, and waits.
        self.info: EngineInfo = {}
        self.last_failure = ""

    @property
    def pid(self) -> int | None:
        """Pid of the live engine process; it decoded before it was called alive."""
        engine = self._engine
        return engine.process.pid if engine is not None and engine.process.returncode is None else None

    @property
    def state(self) -> str:
        """``loading`` before it was ready once, then ``ok``, ``restarting``, or ``failing`` while it is left alone.

        The process itself is looked at: that it ended is told to us only when its last memory is given back.
        """
        pid = self.pid
        if pid is not None and not child_ends(pid):
            return "ok"
        if not self.info:
            return "loading"
        return "failing" if self.retry_in > 0 else "restarting"

    @property
    def silent_for(self) -> float:
        """Seconds since an engine that owes an answer said anything; 0 where it owes none."""
        return time.monotonic() - self._heard_at if self._owed else 0.0

    @property
    def works(self) -> bool:
        """Whether it has anything to do but to say how it is."""
        return any(op != "state" for op in self._owed.values())

    @property
    def retry_in(self) -> float:
        """Seconds until an engine that keeps dying is started again; 0 where none is waited for."""
        return max(0.0, self._retry_at - time.monotonic())

    @property
    def fallback(self) -> dict[str, str]:
        """The safer way it runs in: ``rung``, ``told``, ``cause`` and ``remedy``; empty where nothing is left out."""
        if self._engine is None or self._engine.rung.name == RUNGS[0].name:
            return {}
        rung = self._engine.rung
        return {"rung": rung.name, "told": rung.told, "cause": self._engine.cause, "remedy": rung.remedy}

    @property
    def standings(self) -> list[Standing]:
        """How it stands, as one of one."""
        return [{"pid": self.pid, "state": self.state, "last_failure": self.last_failure}]

    def owes(self, request_id: str) -> bool:
        """Whether it still has to end this request."""
        return request_id in self._owed

    async def start(self) -> None:
        """Make sure the engine runs.

        Raises:
            LlmopsError: it cannot load the model, or it keeps dying and is left alone for a while.
        """
        async with self._start_lock:
            if self.pid is not None:
                return
            if self.retry_in > 0:
                raise LlmopsError(
                    "engine_keeps_dying",
                    f"the engine died {self._failures} times in a row, the last time: {self.last_failure}",
                    f"It is started again in {self.retry_in:.0f} s. Its log is {self._log}.",
                )
            if 0 < self._failures <= len(_BACKOFF_SECONDS):
                await asyncio.sleep(_BACKOFF_SECONDS[self._failures - 1])
            await self._launch()

    async def facts(self) -> EngineInfo:
        """What the engine says of the model; waits for it where it was never ready yet.

        Raises:
            LlmopsError: as :meth:`start`.
        """
        if not self.info:
            await self.start()
        return self.info

    async def _launch(self) -> None:
        def told(phase: str, share: float) -> None:
            self.loading = (phase, share)

        reading = asyncio.create_task(asyncio.to_thread(self._visible))
        try:
            engine = await launch(self._options, self._log, hang_seconds=self.hang_seconds, told=told)
            visible = await reading
        except LlmopsError as error:
            self._count_failure(error.message)
            raise
        except Exception as error:
            # No more processes or files, no folder for its log: whatever it is, it is told, and the next try comes later.
            cause = f"the engine could not be started: {error}"
            self._count_failure(cause)
            raise LlmopsError("engine_start_failed", cause, f"Its log is {self._log}.") from error
        self._engine, self.info = engine, engine.info
        self._started_at = self._heard_at = time.monotonic()
        self._hung = False
        self._owed.clear()
        # Before all requests.
        self._send({"op": "visible", "id": "", "texts": visible})
        self._tasks = [asyncio.create_task(self._watch(engine)), asyncio.create_task(self._read(engine))]
        if engine.news:
            news = (
                f"llama.cpp runs {engine.rung.told} on this machine, because it crashed otherwise: {engine.cause}. "
                f"{engine.rung.remedy}. llmops doctor --retry then tries everything again."
            )
            try:
                self._news(news)
            except OSError as error:
                # It runs all the same; the server's log has it at least.
                sys.stderr.write(f"the notice could not be saved ({error}): {news}\n")

    async def stop(self) -> None:
        """End the engine process."""
        self._stopping = True
        if self._revival is not None:
            self._revival.cancel()
        engine = self._engine
        if engine is not None and engine.process.returncode is None:
            engine.process.kill()
            await engine.process.wait()
        for task in self._tasks:
            await task

    async def call(self, request: Call) -> AsyncGenerator[list[Event]]:
        """Send one request; yields its messages, all that are there at a time, the last being ``done`` or ``error``.

        Leaving the iteration early cancels the work.
        """
        await self.start()
        request_id = request["id"]
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._waiting[request_id] = queue
        self._owed[request_id] = request["op"]
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

    def when_over(self, request_id: str, tell: Callable[[Generated | None], None]) -> None:
        """Have it told what a generation that was left early came to; none where that is not known any more."""
        if request_id in self._owed:
            self._left[request_id] = tell
        else:
            tell(None)

    def _send(self, message: Call) -> None:
        stdin = self._engine.process.stdin if self._engine is not None else None
        if stdin is not None and not stdin.is_closing():
            stdin.write(json.dumps(message).encode() + b"\n")

    async def _watch(self, engine: Launched) -> None:
        """Kill an engine that has work and says nothing: a hang in native code ends no other way."""
        while engine.process.returncode is None:
            await asyncio.sleep(min(1.0, self.hang_seconds / 4))
            if not self._owed:
                self._heard_at = time.monotonic()
            elif time.monotonic() - self._heard_at > self.hang_seconds:
                self._hung = True
                with contextlib.suppress(ProcessLookupError):
                    engine.process.kill()

    async def _read(self, engine: Launched) -> None:
        """Pass on what the engine says until it ends; one that cannot be understood is ended, so that nobody waits for it."""
        fault = ""
        try:
            await self._pass_on(engine)
        except Exception as error:  # noqa: BLE001 - whatever it is, all who wait are told
            traceback.print_exception(error)
            fault = f"the engine sent an invalid message, and was stopped: {error}"
            await _end(engine)
        code = await engine.process.wait()
        if not self._stopping:
            self._bury(engine, code, fault)

    async def _pass_on(self, engine: Launched) -> None:
        assert engine.process.stdout is not None
        while line := await engine.process.stdout.readline():
            message: Event = json.loads(line)
            self._heard_at = time.monotonic()
            if message["event"] in {"done", "error", "dropped"}:
                work = self._owed.pop(message["id"], "")
                if message["event"] == "done" and work in _WORK:
                    self._failures = 0
                if (tell := self._left.pop(message["id"], None)) is not None:
                    tell(_result_of(message))
            queue = self._waiting.get(message["id"])
            if queue is not None:
                queue.put_nowait(message)

    def _bury(self, engine: Launched, code: int, fault: str) -> None:
        """Tell everybody who waits why the engine died, and have it started again."""
        if fault:
            told, name = fault, "engine_died"
        elif self._hung:
            told, name = f"the engine sent nothing for {self.hang_seconds:g} s, and was stopped", "engine_hung"
        else:
            cause = why_it_died(code, self._log, engine.log_start, engine.oom_before)
            told, name = f"the engine was {cause}", "engine_died"
        if time.monotonic() - self._started_at < _STEADY_SECONDS:
            self._count_failure(told)
        self.last_failure = told
        self.lost()
        error = LlmopsError(name, told, "It is started again; retry the request.")
        for name, queue in self._waiting.items():
            queue.put_nowait({"id": name, "event": "error", "error": error.as_dict()})
        for tell in self._left.values():
            tell(None)
        self._left.clear()
        self._owed.clear()
        self.revive()

    def _count_failure(self, told: str) -> None:
        self._failures += 1
        self.last_failure = told
        late = self._failures - len(_BACKOFF_SECONDS)
        if late >= 0:
            self._retry_at = time.monotonic() + self._pauses[min(late, len(self._pauses) - 1)]

    def revive(self) -> None:
        """Start the engine again without waiting for a request: a server that could answer says so."""

        async def again() -> None:
            while not self._stopping and self.pid is None:
                await asyncio.sleep(self.retry_in)
                with contextlib.suppress(LlmopsError):
                    await self.start()

        if self._revival is None or self._revival.done():
            self._revival = asyncio.create_task(again())


def _result_of(message: Event) -> Generated | None:
    """What a generation came to by its last message; what was dropped before it began used nothing."""
    if message["event"] == "done":
        return cast("Generated", message["result"])
    return (
        {"finish_reason": "cancelled", "prompt_tokens": 0, "completion_tokens": 0}
        if message["event"] == "dropped"
        else None
    )


async def _end(engine: Launched) -> None:
    """End an engine that nobody listens to any more. What it had said is read away: its pipe keeps it from ending else."""
    with contextlib.suppress(ProcessLookupError):
        engine.process.kill()
    assert engine.process.stdout is not None
    while await engine.process.stdout.read(1 << 20):
        pass
