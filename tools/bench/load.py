"""What benchmarks put load on a server with: streams over raw sockets, so that the client costs next to nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_PIECES = (b'"finish_reason": null', b'"finish_reason":null')


class Endpoint(Protocol):
    """Where a server listens: ours, or another one that speaks the same."""

    @property
    def model(self) -> str: ...
    @property
    def socket(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def process(self) -> Any: ...


class BareLoop:
    """The yardstick as a process."""

    def __init__(self, path: Path, context: int, *, threads: int, streams: int = 1) -> None:
        script = Path(__file__).with_name("bare_loop.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(path), str(threads), str(context), str(streams)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read()

    def run(self, prompts: list[list[int]], tokens: int, streams: int = 1) -> dict[str, float]:
        """``seconds`` of decoding, ``tokens`` made in it, seconds of ``prefill``."""
        assert self._process.stdin is not None
        request = {"prompts": prompts, "tokens": tokens, "streams": streams}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))


@dataclass
class Streamed:
    """One streamed answer: when its first and its last piece came, in seconds of one clock, and its figures."""

    asked: float
    first: float
    last: float
    timings: dict[str, Any]

    @property
    def made(self) -> int:
        """How many tokens it has; llama-server has a name of its own for it."""
        return int(self.timings["completion_tokens" if "completion_tokens" in self.timings else "predicted_n"])


async def stream(handle: Endpoint, body: dict[str, Any], path: str = "/v1/completions") -> Streamed:
    """Ask for one streamed answer and read it to its end."""
    raw = json.dumps({"model": handle.model, "stream": True, **body}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {handle.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_unix_connection(handle.socket, limit=1 << 24)
    asked = time.perf_counter()
    writer.write(head.encode() + raw)
    first = last = 0.0
    tail = b""
    while part := await reader.read(1 << 16):
        if any(piece in part for piece in _PIECES):
            last = time.perf_counter()
            first = first or last
        tail = (tail + part)[-4000:]
    writer.close()
    event = next((e for e in reversed(tail.split(b"\n\n")) if b'"timings":' in e), None)
    if event is None:
        raise RuntimeError(f"no whole answer: {tail[-500:]!r}")
    return Streamed(asked, first, last, json.loads(event[event.index(b"data: ") + 6 :])["timings"])
