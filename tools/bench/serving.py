"""The model server against the bare loop, interleaved in one run: one stream, sixteen, edits, overhead, memory."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from load import BareLoop, Streamed, stream
from make_random_model import write_model

from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

if TYPE_CHECKING:  # pairs.py runs this on older trees, which have it elsewhere
    from llmops_tui.inference.server_record import ServerHandle

ROOT = Path(__file__).resolve().parents[2]
THREADS = 1
STREAMS = 16
SAMPLE = ROOT / "sample_data/models/support-base-Q8_0.gguf"
GREEDY = {"temperature": 0, "ignore_eos": True}


@contextmanager
def served(folder: Path, path: Path, *, context: int, parallel: int, gpu_layers: int = 0) -> Iterator[ServerHandle]:
    """A server of its own for one model file."""
    workspace = make_workspace(Workspace(folder / f"ws-{path.stem}-{parallel}-{context}"))
    model = ModelRegistry(Catalog(workspace)).add(path, path.stem)
    supervisor = ServerSupervisor(workspace)
    try:
        yield supervisor.ensure(
            model, LoadOptions(threads=THREADS, context=context, parallel=parallel, gpu_layers=gpu_layers)
        )
    finally:
        supervisor.stop(model.name)


def random_prompt(rng: random.Random, length: int, vocabulary: int) -> list[int]:
    return [rng.randrange(300, vocabulary) for _ in range(length)]


async def together(handle: ServerHandle, prompts: list[list[int]], tokens: int) -> list[Streamed]:
    bodies = [{"prompt": p, "max_tokens": tokens, "cache_prompt": False, **GREEDY} for p in prompts]
    return list(await asyncio.gather(*(stream(handle, body) for body in bodies)))


def decode_ratio(
    folder: Path, path: Path, *, vocabulary: int, streams: int, tokens: int, rounds: int, gpu_layers: int = 0
) -> dict[str, float]:
    """Tokens a second of decoding, bare and through server and client; medians of interleaved pairs.

    From the first piece of any stream to the last of any. The prompts are short, since streams that begin early wait for
    the others' prompts in that time, and the bare loop does not.
    """
    rng = random.Random(7)
    context = 1024 if tokens < 900 else 4096
    bare = BareLoop(path, context, threads=THREADS, streams=streams)
    pairs = []
    with served(folder, path, context=context, parallel=streams, gpu_layers=gpu_layers) as handle:
        for _ in range(rounds):
            prompts = [random_prompt(rng, 4, vocabulary) for _ in range(streams)]
            plain = bare.run(prompts, tokens, streams)
            got = asyncio.run(together(handle, prompts, tokens))
            assert all(s.timings["completion_tokens"] == tokens for s in got), "a stream ended early"
            span = max(s.last for s in got) - min(s.first for s in got)
            ours = sum(s.timings["completion_tokens"] - 1 for s in got) / span
            pairs.append((plain["tokens"] / plain["seconds"], ours))
    bare.close()
    return {
        "bare_tokens_per_s": statistics.median(p for p, _ in pairs),
        "served_tokens_per_s": statistics.median(o for _, o in pairs),
        "ratio": statistics.median(o / p for p, o in pairs),
    }


def edit_ratio(folder: Path, path: Path, *, vocabulary: int, rounds: int, gpu_layers: int = 0) -> dict[str, float]:
    """Time to the first token of a 1,000-token prompt: cold, after an edit in its last 5 %, among 4 versions."""
    rng = random.Random(11)

    def first_token(prompt: list[int], *, reuse: bool) -> float:
        body = {"prompt": prompt, "max_tokens": 1, "cache_prompt": reuse, **GREEDY}
        got = asyncio.run(stream(handle, body))
        return got.first - got.asked

    cold, edited, switched = [], [], []
    with served(folder, path, context=1024, parallel=4, gpu_layers=gpu_layers) as handle:
        for _ in range(rounds):
            base = random_prompt(rng, 1000, vocabulary)
            cold.append(first_token(base, reuse=False))
            change = rng.randrange(950, 999)
            edited.append(first_token([*base[:change], *random_prompt(rng, 1000 - change, vocabulary)], reuse=True))
        versions = [random_prompt(rng, 1000, vocabulary) for _ in range(4)]
        for version in versions:
            first_token(version, reuse=True)
        for _ in range(rounds):
            switched += [first_token(version, reuse=True) for version in versions]
    return {
        "cold_ms": statistics.median(cold) * 1000,
        "edited_ms": statistics.median(edited) * 1000,
        "switched_ms": statistics.median(switched) * 1000,
        "edited_ratio": statistics.median(edited) / statistics.median(cold),
        "switched_ratio": statistics.median(switched) / statistics.median(cold),
    }


def server_cost(folder: Path, path: Path, *, vocabulary: int) -> dict[str, float]:
    """Processor time a token of the HTTP process, one stream and sixteen, in microseconds."""
    rng = random.Random(3)
    costs = {}
    with served(folder, path, context=1024, parallel=STREAMS) as handle:
        process = psutil.Process(handle.process.pid)
        for streams in (1, STREAMS):
            prompts = [random_prompt(rng, 16, vocabulary) for _ in range(streams)]
            asyncio.run(together(handle, prompts, 100))
            before = process.cpu_times()
            got = asyncio.run(together(handle, prompts, 900))
            after = process.cpu_times()
            made = sum(s.timings["completion_tokens"] for s in got)
            costs[f"server_us_per_token_{streams}"] = (
                (after.user + after.system - before.user - before.system) / made * 1e6
            )
    return costs


def memory_growth(
    folder: Path, path: Path, *, vocabulary: int, few: int = 1000, many: int = 10_000
) -> dict[str, float]:
    """Resident memory of server and engine after few and after many requests, in MB."""
    rng = random.Random(5)

    async def requests(count: int) -> None:
        places = asyncio.Semaphore(STREAMS)

        async def one() -> None:
            async with places:
                prompt = random_prompt(rng, rng.randrange(8, 200), vocabulary)
                await stream(handle, {"prompt": prompt, "max_tokens": 4, **GREEDY})

        for start in range(0, count, 200):
            await asyncio.gather(*(one() for _ in range(min(200, count - start))))

    def resident() -> float:
        server = psutil.Process(handle.process.pid)
        return sum(p.memory_info().rss for p in (server, *server.children(recursive=True))) / 1e6

    with served(folder, path, context=1024, parallel=STREAMS) as handle:
        asyncio.run(requests(few))
        early = resident()
        started = time.perf_counter()
        asyncio.run(requests(many - few))
        seconds = time.perf_counter() - started
        late = resident()
    return {
        f"memory_mb_after_{few}": early,
        f"memory_mb_after_{many}": late,
        "memory_ratio": late / early,
        "requests_per_s": (many - few) / seconds,
    }


async def overhead(handle: ServerHandle, tokens: int) -> float:
    """Seconds a token after the first through the app's own client."""
    from llmops_tui.inference.sampling import SamplingParameters

    first = last = 0.0
    made = 0
    async with ModelClient(handle) as client:
        async for event in client.stream_completion("kettle " * 16, SamplingParameters(max_tokens=tokens)):
            last = time.perf_counter()
            if isinstance(event, str):
                first = first or last
            else:
                made = int(event.timings["completion_tokens"])
    assert made == tokens, "the random model ended early"
    return (last - first) / (made - 1)


def overhead_by_length(folder: Path, path: Path, rounds: int) -> dict[str, float]:
    """Microseconds a token that server and client add to the bare loop, for short and for long answers."""
    lengths = (512, 4096)
    bare = BareLoop(path, 4352, threads=THREADS)
    costs: dict[int, list[float]] = {n: [] for n in lengths}
    with served(folder, path, context=4352, parallel=1) as handle:
        prompt = asyncio.run(_tokens(handle, "kettle " * 16))
        for _ in range(rounds):
            for length in lengths:
                plain = bare.run([prompt], length)
                costs[length].append((asyncio.run(overhead(handle, length)) - plain["seconds"] / plain["tokens"]) * 1e6)
    bare.close()
    short, long = (statistics.median(costs[n]) for n in lengths)
    return {"overhead_us_512": short, "overhead_us_4096": long}


async def _tokens(handle: ServerHandle, text: str) -> list[int]:
    async with ModelClient(handle) as client:
        return list((await client.tokenize(content=text))["tokens"])


def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        folder = Path(name)
        big, tiny = folder / "500m.gguf", folder / "tiny.gguf"
        write_model(big, "500m")
        write_model(tiny, "tiny")
        return {
            "one_stream_500m": decode_ratio(folder, big, vocabulary=32_000, streams=1, tokens=128, rounds=7),
            "one_stream_sample": decode_ratio(folder, SAMPLE, vocabulary=2048, streams=1, tokens=880, rounds=11),
            "sixteen_streams_500m": decode_ratio(folder, big, vocabulary=32_000, streams=STREAMS, tokens=128, rounds=3),
            "sixteen_streams_sample": decode_ratio(
                folder, SAMPLE, vocabulary=2048, streams=STREAMS, tokens=880, rounds=9
            ),
            "edits_500m": edit_ratio(folder, big, vocabulary=32_000, rounds=3),
            "edits_sample": edit_ratio(folder, SAMPLE, vocabulary=2048, rounds=9),
            "server": server_cost(folder, SAMPLE, vocabulary=2048),
            "overhead": overhead_by_length(folder, tiny, 7),
            "memory": memory_growth(folder, SAMPLE, vocabulary=2048),
        }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
