"""Stand-ins for tests, all in one place: a model server, a clock, hostile texts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.process import ProcessIdentity, identify
from llmops_tui.models.registry import Model
from llmops_tui.workspace.event_log import EventLog


class FakeClock:
    """A clock that goes on only when it is told."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeModelServer:
    """An OpenAI-compatible server on a Unix socket that says what it was told to say.

    ``turns`` are the pieces of the next answers, one list each, before ``pieces`` are given again; a piece that is a mapping
    is sent as it is, such as one with ``tool_calls``. With ``gated`` it sends one piece for each :meth:`release`; ``die_after`` closes the connection after so many pieces.
    Runs in a thread of its own; each finished request is logged as the real server does it.
    """

    def __init__(self, socket: Path, pieces: Sequence[str], event_log: EventLog | None = None) -> None:
        self.socket = socket
        self.pieces: list[str | dict[str, Any]] = list(pieces)
        self.turns: list[list[str | dict[str, Any]]] = []
        self.thoughts: list[str] = []
        self.gated = False
        self.die_after: int | None = None
        self.requests: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self._event_log = event_log
        self._loop = asyncio.new_event_loop()
        self._gate = asyncio.Semaphore(0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self._ready.wait(120)

    @property
    def handle(self) -> ServerHandle:
        identity = identify(os.getpid())
        assert isinstance(identity, ProcessIdentity)
        return ServerHandle("fake", "0" * 64, str(self.socket), "key", identity)

    def ensure(self, model: Model) -> ServerHandle:
        return self.handle

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self._loop.call_soon_threadsafe(self._gate.release)

    @property
    def unsent(self) -> int:
        """How many pieces were released and not sent yet."""
        return self._gate._value

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(120)
        self.socket.unlink(missing_ok=True)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_unix_server(self._serve, str(self.socket)))
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(x.split(":")[1]) for x in head.lower().split("\r\n") if x.startswith("content-length")), 0
            )
            body = json.loads(await reader.readexactly(length) or b"{}")
            path = head.split()[1]
            if path == "/tokenize":
                text = body.get("content") or ""
                pieces = [w + " " for w in text.split(" ")]
                await self._answer(writer, {"tokens": list(range(len(pieces))), "pieces": pieces, "text": text})
            elif path == "/health":
                await self._answer(writer, {"status": "ok"})
            else:
                self.requests.append(body)
                await self._stream(writer, reader, body)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % len(raw)
            + raw
        )
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, body: dict[str, Any]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        gone = asyncio.ensure_future(self._until_gone(reader))
        for piece in self.thoughts:
            thought = {"choices": [{"index": 0, "delta": {"reasoning_content": piece}, "finish_reason": None}]}
            writer.write(f"data: {json.dumps(thought)}\n\n".encode())
        sent: list[str] = []
        pieces = self.turns.pop(0) if self.turns else self.pieces
        for count, piece in enumerate(pieces):
            if self.die_after is not None and count >= self.die_after:
                return
            if self.gated:
                gate = asyncio.ensure_future(self._gate.acquire())
                await asyncio.wait({gate, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                self._keep(body, sent, "cancelled")
                self.cancelled.set()
                return
            delta = piece if isinstance(piece, dict) else {"content": piece}
            event = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            writer.write(f"data: {json.dumps(event)}\n\n".encode())
            await writer.drain()
            sent.append(piece if isinstance(piece, str) else json.dumps(piece))
        timings = {
            "prompt_tokens": 10,
            "completion_tokens": len(pieces),
            "reused_tokens": 0,
            "ttft_ms": 12.0,
            "total_ms": 30.0,
            "tokens_per_s": 100.0,
            "context": 1024,
            "reasoning_tokens": len(self.thoughts),
        }
        reason = "tool_calls" if any(isinstance(piece, dict) for piece in pieces) else "stop"
        self._keep(body, sent, reason, timings)
        event = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "timings": timings}
        writer.write(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode())
        await writer.drain()

    async def _until_gone(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()

    def _keep(self, body: dict[str, Any], sent: list[str], reason: str, timings: dict[str, Any] | None = None) -> None:
        if self._event_log is None:
            return
        known = body["metadata"]
        record = {
            "started_at": 1.0,
            "model": "fake",
            **{name: known[name] for name in ("prompt", "prompt_version", "variables") if name in known},
            "messages": body["messages"],
            "output": "".join(sent),
            "finish_reason": reason,
        }
        self._event_log.append("request", known["run_id"], record | (timings or {}))


class FailingEnsure:
    """A model server that cannot be started."""

    def __init__(self, error: LlmopsError) -> None:
        self.error = error

    def __call__(self, model: Model) -> ServerHandle:
        raise self.error


def hostile_strings() -> list[str]:
    """At least a hundred texts that attack a terminal or a markup parser; each holds the word ``PWN``."""
    esc, csi1, osc1, dcs1, st1, bel = "\x1b", "\x9b", "\x9d", "\x90", "\x9c", "\x07"
    found = []
    for osc in (f"{esc}]", osc1):
        for end in (bel, f"{esc}\\", st1, ""):
            found += [
                f"{osc}{n};{arg}{end}"
                for n, arg in (
                    ("52", "c;UFdO"),
                    ("0", "PWN"),
                    ("2", "PWN"),
                    ("8", ";http://PWN/"),
                    ("9", "PWN"),
                    ("1337", "PWN"),
                )
            ]
    for csi in (f"{esc}[", csi1):
        tails = (
            "2J",
            "H",
            "?1049l",
            "?1000h",
            "?25l",
            "6n",
            "c",
            "8m",
            "31m",
            "1;1H",
            "3J",
            "5i",
            "?2004l",
            "!p",
            ">4;1m",
            "t",
        )
        found += [f"{csi}{tail}PWN" for tail in tails]
    found += [f"{d}+q544e{end}PWN" for d in (f"{esc}P", dcs1) for end in (f"{esc}\\", st1, "")]
    found += [f"{esc}{c}PWN" for c in ("c", "7", "8", "#8", "(0", "=", ">", "D", "M", "E", "^x", "_x", "X", "N", "O")]
    found += [
        f"PWN{chr(c)}PWN" for c in (0, 1, 7, 8, 11, 12, 13, 14, 15, 24, 26, 27, 127, 0x80, 0x85, 0x8D, 0x9B, 0x9F)
    ]
    found += [
        f"{chr(c)}PWN"
        for c in (0x202E, 0x202D, 0x2066, 0x2067, 0x2069, 0x200B, 0x200E, 0x2060, 0xFEFF, 0xE0041, 0x2028)
    ]
    found += [
        "[/",
        "[/a/x] PWN",
        "[@click=app.quit_app]PWN[/]",
        "[bold]PWN",
        "a[b and [c] PWN",
        "[red]PWN[/red]",
        "[$x]PWN",
        "[link=http://x]PWN[/link]",
        "\ud800PWN",
        "P\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301WN",
        "{{ PWN }}",
        "%(PWN)s",
    ]
    return found


class FakeNvml:
    """NVML as a session of it was, a frame at a time; ``fails`` names calls that raise, with NVML's number of the error.

    The frames have the form that tools/record_nvml.py writes. In tests/data, nvml_session.jsonl was made by hand in it;
    nvml_h200.jsonl was recorded while a card trained. ``old`` is a driver that knows the first questions alone.
    """

    NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = 0, 1

    def __init__(self, frames: list[dict[str, Any]]) -> None:
        self.frames = frames
        self.place = 0
        self.fails: dict[str, int] = {}
        self.ready = False
        self.calls = 0
        self.old = False

    @classmethod
    def session(cls, name: str = "nvml_session") -> FakeNvml:
        path = Path(__file__).parent / "data" / f"{name}.jsonl"
        return cls([json.loads(line) for line in path.read_text().splitlines()])

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            import pynvml

            self.calls += 1
            if name in self.fails:
                raise pynvml.NVMLError(self.fails[name])
            if name != "nvmlInit" and not self.ready:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
            return self._answer(name, *arguments)

        return call

    def _answer(self, name: str, *arguments: Any) -> Any:
        import pynvml

        frame = self.frames[self.place]
        if name in {"nvmlInit", "nvmlShutdown"}:
            self.ready = name == "nvmlInit"
            return None
        if name == "nvmlDeviceGetCount":
            return len(frame["gpus"])
        if name == "nvmlDeviceGetHandleByIndex":
            return arguments[0]
        if name == "nvmlEventSetCreate":
            return "events"
        if name in {"nvmlDeviceRegisterEvents", "nvmlDeviceGetIndex"}:
            return arguments[0]
        if name == "nvmlEventSetWait_v2":
            if not frame.get("xid"):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
            device, number = frame.pop("xid")
            return SimpleNamespace(device=device, eventData=number)
        return self._value(name, frame["gpus"][arguments[0]], arguments[1:])

    def _value(self, name: str, gpu: dict[str, Any], rest: tuple[Any, ...]) -> Any:
        import pynvml

        from tools.record_nvml import CALLS

        whole = {
            "nvmlDeviceGetUtilizationRates": "rates",
            "nvmlDeviceGetMemoryInfo": "memory",
            "nvmlDeviceGetComputeRunningProcesses": "processes",
        }
        keys = [key for key, (call, given) in CALLS.items() if call == name and given == rest]
        key = whole.get(name) or (keys[0] if keys else "")
        value = gpu.get(key, {"error": "NotSupported"})
        if isinstance(value, dict):
            raise getattr(pynvml, f"NVMLError_{value['error']}")
        if key == "rates":
            return SimpleNamespace(gpu=value[0], memory=value[1])
        if key == "memory" and rest and self.old:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        if key == "memory":
            # The first question counts what the driver keeps for itself as used; the second, with its version, does not.
            used, total, kept = (*value, 0)[:3]
            return SimpleNamespace(used=used if rest else used + kept, total=total)
        if key == "processes":
            return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in value]
        return value


_HELD: list[int] = []


def start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs get no process from here on, and count as starting: this one keeps the locks that theirs would hold."""
    monkeypatch.setattr(JobLauncher, "_spawn", lambda _self, _job, lock: _HELD.append(os.dup(lock)))


def end_processes() -> None:
    """Let go of all that was kept, as processes that end do."""
    while _HELD:
        os.close(_HELD.pop())
