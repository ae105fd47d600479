"""Streaming through server and client against the bare loop, interleaved in one run; and overhead a token by length."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from make_random_model import write_model

from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.supervisor import ServerHandle, ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalogue import Catalogue
from llmops_tui.workspace.layout import Workspace

PROMPT = "kettle " * 16
THREADS = 1


class BareLoop:
    """The yardstick as a process."""

    def __init__(self, path: Path, context: int) -> None:
        script = Path(__file__).with_name("bare_loop.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(path), str(THREADS), str(context)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._read()

    def rate(self, prompt: list[int], tokens: int) -> float:
        """Seconds a token after the first."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompt": prompt, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        result = self._read()
        return float(result["seconds"] / result["tokens"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))


async def served(handle: ServerHandle, tokens: int) -> tuple[float, int]:
    """Seconds a token after the first, as the client sees them arrive; and how many came."""
    parameters = SamplingParameters(max_tokens=tokens)
    first = last = 0.0
    async with ModelClient(handle) as client:
        async for event in client.stream_completion(PROMPT, parameters):
            last = time.perf_counter()
            if isinstance(event, str):
                first = first or last
            else:
                made = int(event.timings["completion_tokens"])
    return (last - first) / (made - 1), made


def compare(folder: Path, shape: str, lengths: tuple[int, ...], rounds: int) -> dict[int, dict[str, float]]:
    """For each length: median seconds a token, bare and served, of ``rounds`` interleaved pairs."""
    path = folder / f"{shape}.gguf"
    write_model(path, shape)
    workspace = Workspace(folder / f"ws-{shape}")
    model = ModelRegistry(Catalogue(workspace)).add(path, shape)
    supervisor = ServerSupervisor(workspace)
    handle = supervisor.ensure(model, threads=THREADS, context=max(lengths) + 64)
    bare = BareLoop(path, max(lengths) + 64)

    async def prompt_tokens() -> list[int]:
        async with ModelClient(handle) as client:
            return list((await client.tokenize(content=PROMPT))["tokens"])

    prompt = asyncio.run(prompt_tokens())
    results: dict[int, dict[str, float]] = {}
    try:
        for length in lengths:
            pairs = []
            for _ in range(rounds):
                plain = bare.rate(prompt, length)
                ours, made = asyncio.run(served(handle, length))
                assert made == length, "the random model ended early"
                pairs.append((plain, ours))
            results[length] = {
                "bare_s": statistics.median(p for p, _ in pairs),
                "served_s": statistics.median(o for _, o in pairs),
                "ratio": statistics.median(p / o for p, o in pairs),
                "overhead_us": statistics.median((o - p) * 1e6 for p, o in pairs),
            }
    finally:
        supervisor.stop(model.name)
        bare.close()
    return results


def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as folder:
        big = compare(Path(folder), "500m", (96,), 7)[96]
        tiny = compare(Path(folder), "tiny", (512, 4096), 9)
    return {
        "streaming_ratio": big["ratio"],
        "served_tokens_per_s": 1 / big["served_s"],
        "bare_tokens_per_s": 1 / big["bare_s"],
        "overhead_us_512": tiny[512]["overhead_us"],
        "overhead_us_4096": tiny[4096]["overhead_us"],
        "overhead_ratio": tiny[4096]["overhead_us"] / tiny[512]["overhead_us"],
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
