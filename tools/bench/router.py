"""What the one address of all models costs: the same model's server asked directly and through it, in pairs that take turns.

``python tools/bench/router.py [--model FILE] [--pairs N] [--streams N ...] [--tokens N]``. Both ways go over TCP to one
server, so that what differs is the router alone. A rate is from the first piece that a client gets of any stream to the last
of any; of the first piece the time is told. The machine need not be idle: ratios are of neighbouring runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import httpx  # noqa: E402
from drawing import processor_seconds  # noqa: E402

from llmops_tui.inference.options import LoadOptions, RouterOptions  # noqa: E402
from llmops_tui.inference.server_record import ServerHandle  # noqa: E402
from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor  # noqa: E402
from llmops_tui.models.registry import ModelRegistry  # noqa: E402
from llmops_tui.sample_files import sample_folder  # noqa: E402
from llmops_tui.workspace.catalog import Catalog  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402

KEY = "a-key-of-at-least-sixteen-characters"


async def ask(handle: ServerHandle, streams: int, tokens: int) -> dict[str, float]:
    """So many streams at once: tokens a second of all, and milliseconds to the first piece, the median of them."""
    spans: list[tuple[float, float, float]] = []

    async def one(client: httpx.AsyncClient) -> None:
        body = {
            "model": "bench",
            "prompt": "The shop is open",
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        }
        begun, first = time.perf_counter(), 0.0
        async with client.stream("POST", "/v1/completions", json={**body, "temperature": 0}) as answer:
            async for piece in answer.aiter_raw():
                first = first or time.perf_counter()
                last = piece
        assert last.endswith(b"[DONE]\n\n"), last[-300:]
        spans.append((begun, first, time.perf_counter()))

    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=handle.address, headers=headers, timeout=None) as client:
        await asyncio.gather(*(one(client) for _ in range(streams)))
    seconds = max(end for *_, end in spans) - min(first for _, first, _ in spans)
    first = statistics.median(first - begun for begun, first, _ in spans)
    return {"tokens_per_s": streams * (tokens - 1) / seconds, "first_ms": first * 1000}


def measure(direct: ServerHandle, router: ServerHandle, streams: int, tokens: int, pairs: int) -> dict[str, Any]:
    """Pairs in turns, each way first every other time."""
    found: dict[str, list[dict[str, float]]] = {"direct": [], "router": []}
    ways = {"direct": direct, "router": router}
    for handle in ways.values():
        asyncio.run(ask(handle, streams, tokens))
    spent = processor_seconds(router.process.pid)
    for number in range(pairs):
        for way in sorted(ways, reverse=bool(number % 2)):
            found[way].append(asyncio.run(ask(ways[way], streams, tokens)))
    spent = processor_seconds(router.process.pid) - spent
    both = list(zip(found["router"], found["direct"], strict=True))
    ratios = sorted(a["tokens_per_s"] / b["tokens_per_s"] for a, b in both)
    return {
        "streams": streams,
        "tokens": tokens,
        "pairs": pairs,
        "ratio": statistics.median(ratios),
        "ratios": [ratios[0], ratios[-1]],
        **{f"{way}_tokens_per_s": statistics.median(r["tokens_per_s"] for r in runs) for way, runs in found.items()},
        "first_ms_more": statistics.median(a["first_ms"] - b["first_ms"] for a, b in both),
        "router_cpu_us_per_token": spent / (pairs * streams * tokens) * 1e6,
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=sample_folder() / "models" / "support-base-Q8_0.gguf")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=900)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="llmops-bench") as folder:
        workspace = make_workspace(Workspace(Path(folder) / "ws"))
        registry = ModelRegistry(Catalog(workspace))
        registry.add(given.model, "bench")
        supervisor = ServerSupervisor(workspace)
        shared: dict[str, Any] = {"host": "127.0.0.1", "keys": (KEY,), "threads": 1, "parallel": max(given.streams)}
        direct = supervisor.ensure(registry.get("bench"), LoadOptions(**shared, port=_port(), idle_seconds=1e9))
        router = supervisor.serve_all(RouterOptions(**shared, port=_port()))
        try:
            found = [measure(direct, router, n, given.tokens, given.pairs) for n in given.streams]
        finally:
            supervisor.stop(ALL_MODELS)
            supervisor.stop("bench")
    result = {"model": given.model.name, "measured": found}
    print(json.dumps(result, indent=2))
    return result


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
