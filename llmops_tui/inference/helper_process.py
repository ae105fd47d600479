"""A helper process for untrusted work, one JSON line per request, killed and replaced when it exceeds a limit."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from llmops_tui.child_python import module_command
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.crash import why_it_died
from llmops_tui.inference.fallback import NO_DEVICES
from llmops_tui.jobs.process import describe_exit

_START_SECONDS = 60.0
# Eight million characters, each as an escape of JSON.
_MAX_ANSWER = 50_000_000
# Of the clock, for what a question's time of the processor is given: a machine that does much else is no fault of it. This
# part of that time, used meanwhile, shows that the process does not stand still, and it is given as long again.
_PATIENCE_SECONDS = 20.0
_AT_WORK = 1 / 30
_LOOK_SECONDS = 0.05
# Signals that others send; a process gets the rest by what it does itself.
SENT = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
_DOCTOR = "llmops doctor checks llama.cpp."
_LATER = "Try again when the machine is less busy."


class HelperLostError(Exception):
    """A question was too much for the process; says why, as the end of a sentence about what it worked on."""


class _HinderedError(Exception):
    """The process did not come to an answer for a reason outside of it; says which, as its predicate."""


class _KilledError(_HinderedError):
    """It was killed from outside."""


class HelperProcess:
    """One Python process, started on first use and replaced after it was lost. Thread-safe; one question at a time.

    It sees no GPU: what it does needs none, and a driver that is touched takes memory of each.
    """

    def __init__(self, module: str, *arguments: str, greeting: bytes, work: str) -> None:
        """``greeting`` is a question that is answered at once: with it the time to start is no question's own.

        ``work`` says what the process does, behind "the process that".
        """
        self._command = module_command(module, *arguments)
        self._greeting = greeting
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closing = False

    @property
    def pid(self) -> int | None:
        """Pid of the live process."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def ask(self, line: bytes, seconds: float, *, of_processor: bool = False) -> bytes:
        """The answer to one line, which both end with a newline; where the process is killed over it, asked once more.

        Args:
            line: the question.
            seconds: of the clock, within which the process answers by itself whatever it is asked; or of the processor,
                which a question may take that has no other limit.
            of_processor: which of them.

        Raises:
            HelperLostError: it took longer of the processor, or the process ended over it.
            LlmopsError: ``helper_unusable``: the process cannot be started, stands still or is killed, which is no fault
                of the question.
        """
        with self._lock:
            try:
                return self._asked(line, seconds, of_processor=of_processor)
            except _KilledError:
                if self._closing:
                    raise self._unusable("was ended", "Try again.") from None
            except _HinderedError as error:
                raise self._unusable(str(error), _LATER) from error
            try:
                return self._asked(line, seconds, of_processor=of_processor)
            except _HinderedError as error:
                raise self._unusable(str(error), _LATER) from error

    def _asked(self, line: bytes, seconds: float, *, of_processor: bool) -> bytes:
        if self.pid is None:
            self._kill()
            self._start()
        return self._talk(line, seconds, of_processor=of_processor)

    def _start(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="llmops-helper-") as log:
            try:
                self._process = process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    start_new_session=True,
                    env={**os.environ, **NO_DEVICES},
                )
                assert process.stdin is not None
                # A process that stands still must not hold up the one that asks: it reads no more than the pipe has room for.
                os.set_blocking(process.stdin.fileno(), False)
                self._talk(self._greeting, _START_SECONDS)
            except OSError as error:
                raise self._unusable(f"cannot be started: {error.strerror or error}", _DOCTOR) from error
            except HelperLostError as error:
                ended = process.returncode is not None and process.returncode != -signal.SIGKILL
                cause = why_it_died(process.returncode, Path(log.name), 0, None) if ended else str(error)
                raise self._unusable(f"cannot be started: {cause}", _DOCTOR) from error

    def _unusable(self, what: str, hint: str) -> LlmopsError:
        return LlmopsError("helper_unusable", f"the process that {self._work} {what}", hint)

    def close(self) -> None:
        """End the process, whatever it works on; a question after that starts another."""
        self._closing = True
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._kill()
            self._closing = False

    def _talk(self, line: bytes, seconds: float, *, of_processor: bool = False) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        given = _Time(process.pid, seconds, of_processor=of_processor)
        unsent = memoryview(line)
        answer = bytearray()
        # Not select: it knows no descriptor above 1023, and a server has as many as it has clients.
        ready = select.poll()
        ready.register(process.stdin, select.POLLOUT)
        try:
            while not answer.endswith(b"\n"):
                if not ready.poll(given.left() * 1000):
                    continue
                if unsent:
                    unsent = unsent[os.write(process.stdin.fileno(), unsent) :]
                    if not unsent:
                        ready.unregister(process.stdin)
                        ready.register(process.stdout, select.POLLIN)
                    continue
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    raise _ending(process.wait())
                answer += part
                if len(answer) > _MAX_ANSWER:
                    raise HelperLostError("its result is too large")
        except BrokenPipeError as error:
            raise _ending(process.wait()) from error
        except BaseException:
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


class _Time:
    """What a question is given, of the clock or of the processor."""

    def __init__(self, pid: int, seconds: float, *, of_processor: bool) -> None:
        self._pid = pid
        self._processor = seconds if of_processor else None
        self._used = _processor_seconds(pid) if of_processor else 0.0
        self._clock = seconds + (_PATIENCE_SECONDS if of_processor else 0)
        self._deadline = time.monotonic() + self._clock
        self._seen = 0.0

    def left(self) -> float:
        """Seconds of the clock until it has to be asked again; raises when the time is over."""
        now = time.monotonic()
        taken = 0.0 if self._processor is None else _processor_seconds(self._pid) - self._used
        if self._processor is not None and taken > self._processor:
            raise HelperLostError(f"it took longer than {round(self._processor, 1):g} s of CPU time")
        if self._processor is not None and taken - self._seen >= self._processor * _AT_WORK:
            self._seen, self._deadline = taken, now + self._clock
        left = self._deadline - now
        if left <= 0:
            raise _HinderedError(f"did not respond for {round(self._clock, 1):g} s and was replaced")
        return left if self._processor is None else min(left, max(_LOOK_SECONDS, self._processor - taken))


def _ending(code: int) -> Exception:
    if -code in SENT:
        return _KilledError(f"was {describe_exit(code, None)}")
    # Python and native code alike end where their address space does, by an exception, SIGABRT or SIGSEGV.
    return HelperLostError("it needed too much memory")


def _processor_seconds(pid: int) -> float:
    """Time of the processor that a process has used; 0 of one that ended."""
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
