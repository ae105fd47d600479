"""Start of an engine process: it must decode before it is ready; if it dies, the next fallback is tried."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.child_python import module_command
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.crash import is_for_memory, log_size, why_it_died
from llmops_tui.inference.engine_wire import (
    EndedEvent,
    EngineInfo,
    EngineStart,
    FailedEvent,
    ReadyEvent,
    Starting,
    UnsoundEvent,
)
from llmops_tui.inference.fallback import Descent, Rung, is_crash
from llmops_tui.jobs.process import oom_kills
from llmops_tui.sample_files import check_model
from llmops_tui.workspace.files import append_bytes

LINE_LIMIT = 64 * 1024 * 1024
# A model may have to come from a slow disk before it can decode.
_SLOWEST_DISK = 20_000_000
# How long a process may take to end after its output did: the kernel may write its memory to disk.
_DYING_SECONDS = 60.0
_LEAST_SECONDS = 120.0
_CHECK_CONTEXT = 256
_DOING = {"loading": "while loading the model", "checking": "while evaluating its first tokens"}


@dataclass(frozen=True)
class Launched:
    """An engine that is ready.

    Attributes:
        process: its process; its next line is an answer.
        info: what it says of the model.
        rung: the way it runs.
        cause: why no way before that one did; empty for the first.
        news: whether the user was never told of this.
        oom_before: the kernel's count of kills for memory before it started.
        log_start: where its part of the log begins.
    """

    process: asyncio.subprocess.Process
    info: EngineInfo
    rung: Rung
    cause: str
    news: bool
    oom_before: int | None
    log_start: int


async def launch(
    options: EngineStart,
    log: Path,
    *,
    hang_seconds: float,
    told: Callable[[str, float], None] = lambda _phase, _share: None,
) -> Launched:
    """Start the engine the best way it runs here; ``told`` hears the phase (``loading``, ``checking``) and its share done.

    Raises:
        LlmopsError: it cannot load the model, or llama.cpp crashes whatever is left out.
    """
    descent = Descent(options, Path(options["path"]))
    for rung in descent.rungs:
        attempt = _Attempt(options | rung.options, log, rung.environment, hang_seconds, told)
        info = await attempt.run()
        if info is not None:
            try:
                of_the_build = bool(descent.failed) and await crashes_with_any(options, descent.failed[-1])
                news = descent.worked(rung, of_the_build=of_the_build, told=True)
            except BaseException:
                await attempt.end()
                raise
            return Launched(attempt.process, info, rung, descent.cause, news, attempt.oom_before, attempt.log_start)
        descent.crashed(rung, attempt.cause)
    raise LlmopsError(
        "engine_crashes",
        f"llama.cpp crashes with this model with every fallback option: {descent.last_cause}",
        f"llmops doctor tests llama.cpp with another model. The engine's log is {log}.",
    )


async def crashes_with_any(options: EngineStart, rung: Rung) -> bool:
    """Whether llama.cpp crashes in this way with the smallest model there is too, and so with any.

    Where that cannot be tried, it is not known, and taken for a matter of the one model.
    """
    try:
        model = check_model()
        if Path(options["path"]) == model:
            return True
        given: EngineStart = {
            **options, "path": str(model), "context": _CHECK_CONTEXT, "parallel": 1, "draft": "", "cache_bytes": 0,
        }  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="llmops-check-") as scratch:
            attempt = _Attempt(
                given | rung.options,
                Path(scratch) / "log",
                rung.environment,
                _LEAST_SECONDS,
                lambda _phase, _share: None,
            )
            if await attempt.run() is None:
                return True
            await attempt.end()
    except (LlmopsError, OSError):
        return False  # such as for want of memory
    return False


class _Attempt:
    """One start of the engine process."""

    process: asyncio.subprocess.Process

    def __init__(
        self,
        options: EngineStart,
        log: Path,
        environment: dict[str, str],
        hang_seconds: float,
        told: Callable[[str, float], None],
    ) -> None:
        self._options = options
        self._log = log
        self._environment = environment
        self._told = told
        self._phase = "loading"
        # What is a hang of a step may be the time that Python takes to start on a busy machine.
        hang_seconds = max(hang_seconds, _LEAST_SECONDS)
        with contextlib.suppress(OSError):
            hang_seconds += Path(options["path"]).stat().st_size / _SLOWEST_DISK
        self._hang_seconds = hang_seconds
        self.cause = ""
        self.oom_before = oom_kills()
        self.log_start = log_size(log)

    async def run(self) -> EngineInfo | None:
        """What the engine says of the model when it is ready; nothing where it crashed, and ``cause`` says how.

        Raises:
            LlmopsError: the engine said what is wrong, or ended in another way than a crash.
        """
        with append_bytes(self._log) as log:
            self.process = await asyncio.create_subprocess_exec(
                *module_command("llmops_tui.inference.worker", json.dumps(self._options), str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=LINE_LIMIT,
                env={**os.environ, **self._environment},
            )
        try:
            message = await self._until_ready()
        except BaseException:
            await self.end()
            raise
        if message["event"] == "ready":
            return message["info"]
        code = await self.end(died=message["event"] == "died")
        if message["event"] == "failed":
            error = message["error"]
            hint = error["hint"] or f"The engine's log is {self._log}."
            raise LlmopsError(error["code"], error["message"], hint)
        if message["event"] == "unsound":
            self.cause = str(message["cause"])
            return None
        doing = _DOING[self._phase]
        if message["event"] == "hung":
            raise LlmopsError(
                "engine_hung",
                f"the engine sent nothing for {self._hang_seconds:.0f} s {doing}, and was stopped",
                f"Its log is {self._log}.",
            )
        self.cause = why_it_died(code, self._log, self.log_start, self.oom_before, doing)
        if not is_crash(code) or is_for_memory(self.cause):
            raise LlmopsError("engine_died", f"the engine was {self.cause}", f"Its log is {self._log}.")
        return None

    async def _until_ready(self) -> ReadyEvent | FailedEvent | UnsoundEvent | EndedEvent:
        assert self.process.stdout is not None
        while True:
            try:
                async with asyncio.timeout(self._hang_seconds):
                    line = await self.process.stdout.readline()
            except TimeoutError:
                return {"event": "hung"}
            message: Starting = json.loads(line) if line else {"event": "died"}
            if message["event"] != "phase":
                return message
            self._phase = message["phase"]
            self._told(self._phase, message["share"])

    async def end(self, *, died: bool = False) -> int:
        """The exit code; a process that ended by itself is not killed, which would take its code from asyncio."""
        if died:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DYING_SECONDS):
                    return await self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return await self.process.wait()
