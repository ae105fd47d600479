"""Embeddings beside llama-server's, in turns, with the same thread: rate, agreement, and what streams beside them feel.

``embedding.py --server PATH MODEL…`` (or ``LLAMA_SERVER``). JSON comes out. Rates are told by the clock and by processor
time: others on the machine change the first and hardly the second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving import served

THREADS = 1
TEXTS = 64
BATCHES = (16, 32)
_WORDS = [
    "refund",
    "kettle",
    "rug",
    "open",
    "hello",
    "please",
    "urgent",
    "price",
    "desk",
    "lamp",
    "warranty",
    "cancel",
    "order",
    "thanks",
    "when",
    "where",
    "broken",
    "late",
]


@dataclass
class Side:
    """One server: how it is asked, and the process whose processor time, with its children's, counts."""

    name: str
    client: httpx.Client
    process: psutil.Process

    def embed(self, texts: list[str], batch: int) -> tuple[list[list[float]], int, float, float]:
        """The vectors; tokens, seconds by the clock, and seconds of processor time."""
        vectors: list[list[float]] = []
        tokens, started, before = 0, time.perf_counter(), self._processor_seconds()
        for at in range(0, len(texts), batch):
            answer = self.client.post("/v1/embeddings", json={"input": texts[at : at + batch], "model": self.name})
            answer.raise_for_status()
            found = answer.json()
            vectors += [d["embedding"] for d in sorted(found["data"], key=lambda d: d["index"])]
            tokens += found["usage"]["prompt_tokens"]
        return vectors, tokens, time.perf_counter() - started, self._processor_seconds() - before

    def _processor_seconds(self) -> float:
        times = [p.cpu_times() for p in (self.process, *self.process.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))


@contextmanager
def reference(server: str, model: Path) -> Iterator[Side]:
    """llama-server with one model, pooling by the mean as this engine does where a model names none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            server,
            "--model",
            str(model),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--embeddings",
            "--pooling",
            "mean",
            "--threads",
            str(THREADS),
            "--threads-batch",
            str(THREADS),
            "--parallel",
            "16",
            "--kv-unified",
            "--ctx-size",
            "8192",
            "--batch-size",
            "2048",
            "--ubatch-size",
            "512",
            "--no-webui",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            deadline = time.monotonic() + 120
            while not _ready(client):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("llama-server did not start")
                time.sleep(0.2)
            yield Side(model.stem, client, psutil.Process(process.pid))
    finally:
        process.kill()
        process.wait()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def texts_of(seed: int) -> list[str]:
    """64 texts of about 10 to 400 tokens."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(_WORDS, k=rng.randint(8, 300))) for _ in range(TEXTS)]


def compare(folder: Path, server: str, model: Path, rounds: int, count: int) -> dict[str, Any]:
    """Rates in turns, ours over theirs, for batches of each size; the worst cosine between the two."""
    found: dict[str, Any] = {"model": model.name, "texts": count, "rounds": rounds}
    with served(folder, model, context=2048, parallel=4) as handle, reference(server, model) as theirs:
        ours = Side(
            handle.model,
            httpx.Client(
                transport=httpx.HTTPTransport(uds=handle.socket),
                base_url="http://localhost",
                timeout=600,
                headers={"Authorization": f"Bearer {handle.key}"},
            ),
            psutil.Process(handle.process.pid),
        )
        worst = 1.0
        for side in (ours, theirs):
            side.client.post("/v1/embeddings", json={"input": ["warm"], "model": side.name}).raise_for_status()
        for batch in BATCHES:
            by_clock, by_processor, rates = [], [], []
            for n in range(rounds):
                texts = texts_of(n)[:count]
                sides = (ours, theirs) if n % 2 == 0 else (theirs, ours)
                results = {id(side): side.embed(texts, batch) for side in sides}
                a, b = results[id(ours)], results[id(theirs)]
                worst = min(worst, *(_cosine(x, y) for x, y in zip(a[0], b[0], strict=True)))
                by_clock.append((a[1] / a[2]) / (b[1] / b[2]))
                by_processor.append((a[1] / a[3]) / (b[1] / b[3]))
                rates.append((a[1] / a[2], b[1] / b[2]))
            found[f"batches_of_{batch}"] = {
                "tokens_per_s": statistics.median(r for r, _ in rates),
                "reference_tokens_per_s": statistics.median(r for _, r in rates),
                "ratio": statistics.median(by_clock),
                "ratios": by_clock,
                "ratio_by_processor_time": statistics.median(by_processor),
            }
    return found | {"worst_cosine": worst}


def _cosine(a: list[float], b: list[float]) -> float:
    x, y = np.array(a), np.array(b)
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def beside_streams(folder: Path, model: Path, *, streams: int = 2, words: int = 1100) -> dict[str, Any]:
    """The longest gap between two pieces of any stream: alone, and beside three long texts that are embedded."""

    async def pieces(client: httpx.AsyncClient, tokens: int, stop: asyncio.Event) -> list[float]:
        body = {"prompt": "kettle " * 8, "max_tokens": tokens, "stream": True, "ignore_eos": True, "temperature": 0}
        times = []
        async with client.stream("POST", "/v1/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if '"finish_reason": null' in line:
                    times.append(time.perf_counter())
                if stop.is_set():
                    break
        return times

    async def run() -> dict[str, Any]:
        async with httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=handle.socket),
            base_url="http://localhost",
            timeout=600,
            headers={"Authorization": f"Bearer {handle.key}"},
        ) as client:
            never, done = asyncio.Event(), asyncio.Event()
            alone = await asyncio.gather(*(pieces(client, 60, never) for _ in range(streams)))
            running = [asyncio.create_task(pieces(client, 1500, done)) for _ in range(streams)]
            await asyncio.sleep(1)
            started = time.perf_counter()
            texts = [" ".join(random.Random(n).choices(_WORDS, k=words)) for n in range(3)]
            answer = (await client.post("/v1/embeddings", json={"input": texts})).json()
            ended = time.perf_counter()
            done.set()
            beside = [[t for t in times if started <= t <= ended] for times in await asyncio.gather(*running)]
        return {
            "embedded_tokens": answer["usage"]["prompt_tokens"],
            "seconds": ended - started,
            "longest_gap_alone_s": _longest(alone),
            "longest_gap_beside_s": _longest(beside),
            "pieces_beside": sum(map(len, beside)),
        }

    with served(folder, model, context=2048, parallel=streams) as handle:
        return asyncio.run(run())


def _longest(times: list[list[float]]) -> float:
    return max((b - a for one in times for a, b in pairwise(one)), default=float("inf"))


def main() -> None:
    """Measure every model given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default=os.environ.get("LLAMA_SERVER", ""), help="path of llama-server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--streams", action="store_true", help="measure streams beside embeddings, too")
    parser.add_argument("models", nargs="+", type=Path)
    given = parser.parse_args()
    if not given.server:
        parser.error("--server PATH or LLAMA_SERVER says where llama-server is")
    results = []
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        for model in given.models:
            found = compare(Path(name), given.server, model, given.rounds, given.texts)
            if given.streams:
                found["streams"] = beside_streams(Path(name) / "streams", model)
            results.append(found)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
