"""A process that does foreign work, one JSON line a question, and is killed and replaced where that takes too much."""

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

_START_SECONDS = 60.0
# Eight million characters, each as an escape of JSON.
_MAX_ANSWER = 50_000_000


class HelperLostError(Exception):
    """The process was killed or died over a question; says why, as the end of a sentence about what it worked on."""


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

    @property
    def pid(self) -> int | None:
        """Pid of the live process."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def ask(self, line: bytes, seconds: float) -> bytes:
        """The answer to one line, which both end with a newline.

        Raises:
            HelperLostError: it took longer than ``seconds``, or the process ended over it.
            LlmopsError: ``helper_unusable``: the process cannot be started, which is no fault of the question.
        """
        with self._lock:
            if self.pid is None:
                self._kill()
                self._start()
            return self._talk(line, seconds)

    def _start(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="llmops-helper-") as log:
            try:
                self._process = process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
                    start_new_session=True, env={**os.environ, **NO_DEVICES},
                )  # fmt: skip
                assert process.stdin is not None
                # A process that stands still must not hold up the one that asks: it reads no more than the pipe has room for.
                os.set_blocking(process.stdin.fileno(), False)
                self._talk(self._greeting, _START_SECONDS)
            except OSError as error:
                raise self._unusable(error.strerror or str(error)) from error
            except HelperLostError as error:
                ended = process.returncode is not None and process.returncode != -signal.SIGKILL
                cause = why_it_died(process.returncode, Path(log.name), 0, None) if ended else str(error)
                raise self._unusable(cause) from error

    def _unusable(self, cause: str) -> LlmopsError:
        return LlmopsError(
            "helper_unusable",
            f"the process that {self._work} cannot be started: {cause}",
            "llmops doctor looks at llama.cpp.",
        )

    def close(self) -> None:
        """End the process, whatever it works on; a question after that starts another."""
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._kill()

    def _talk(self, line: bytes, seconds: float) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + seconds
        unsent = memoryview(line)
        answer = bytearray()
        # Not select: it knows no descriptor above 1023, and a server has as many as it has clients.
        ready = select.poll()
        ready.register(process.stdin, select.POLLOUT)
        try:
            while not answer.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not ready.poll(left * 1000):
                    raise HelperLostError(f"it took longer than {seconds:g} s")
                if unsent:
                    unsent = unsent[os.write(process.stdin.fileno(), unsent) :]
                    if not unsent:
                        ready.unregister(process.stdin)
                        ready.register(process.stdout, select.POLLIN)
                    continue
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    raise HelperLostError(_ending(process.wait()))
                answer += part
                if len(answer) > _MAX_ANSWER:
                    raise HelperLostError("what came of it is too large")
        except OSError as error:
            self._kill()
            raise HelperLostError("its process ended") from error
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


def _ending(code: int) -> str:
    if code == -signal.SIGXCPU:
        return "it took too much time of the processor"
    # Python and native code alike end where their address space does, by an exception, SIGABRT or SIGSEGV.
    return "it needed too much memory"
