"""A chain that maps 1,000 rows with one prompt, beside the same requests asked as they are: the batched rate of the engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from llmops_tui.chains.asking import AskedModels, StepRequest
from llmops_tui.chains.executor import ChainRun
from llmops_tui.chains.reading import parse_chain
from llmops_tui.chains.resolution import resolve
from llmops_tui.chains.spans import FileJournal
from llmops_tui.chains.tools import ChainTools
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import make_folder_within
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data/models/support-base-Q8_0.gguf"
TOKENS, STREAMS = 32, 16
WORDS = ("kettle", "rug", "lamp", "refund", "order", "open", "price", "warranty", "desk", "parcel", "invoice", "shop")
CHAIN = f"""inputs: {{rows: list}}
model: model
steps:
  each:
    map: rows
    steps:
      one: {{prompt: plain, with: {{text: item}}, parameters: {{max_tokens: {TOKENS}, temperature: 0, seed: SEED}}}}
"""


class Taken(NamedTuple):
    """Seconds of the clock, of processors, and of these what the asking side took: this process and its helpers."""

    clock: float
    processor: float
    client: float

    def __sub__(self, other: Taken) -> Taken:
        return Taken(*(ours - theirs for ours, theirs in zip(self, other, strict=True)))


class Bench:
    """One workspace with a model, and rows of random words."""

    def __init__(self, folder: Path, model: Path, rows: int) -> None:
        self.workspace = make_workspace(Workspace(folder / "ws"))
        self.catalog = Catalog(self.workspace)
        self.tools = ChainTools(self.catalog)
        self.tools.registry.add(model, "model")
        PromptStore(self.catalog).save("plain", template="{{ text }}")
        self.options = LoadOptions(context=512, parallel=STREAMS)
        self.supervisor = ServerSupervisor(self.workspace)
        chance = random.Random(7)
        self.rows = [" ".join(chance.choices(WORDS, k=8)) for _ in range(rows)]

    def asker(self) -> Asker:
        return Asker(
            self.tools.registry,
            AnswerCache(self.workspace, time.time()),
            lambda model: open_endpoint(self.supervisor, model, self.options),
            options=self.options,
            renderer=self.tools.renderer,
            within="bench",
        )

    def now(self) -> Taken:
        """The clock, and the processor time of all that takes part: this process, the server, its engine, the helpers."""
        served = self.engine()
        helpers = [one for one in psutil.Process().children(recursive=True) if one not in served]
        client = time.process_time() + _used(helpers)
        return Taken(time.perf_counter(), client + _used(served), client)

    def engine(self) -> list[psutil.Process]:
        """The processes of the model's server."""
        found = []
        for handle in self.supervisor.running():
            with contextlib.suppress(psutil.Error):
                server = psutil.Process(handle.process.pid)
                found += [server, *server.children(recursive=True)]
        return found

    async def batched(self, seed: int) -> Taken:
        """What it takes for all requests, ready rendered, as many at once as keep the engine busy."""
        asker = self.asker()
        models = AskedModels(asker, STREAMS)
        parameters = SamplingParameters(max_tokens=TOKENS, temperature=0, seed=seed)
        waiting = iter(self.rows)
        warm = StepRequest("model", [{"role": "user", "content": "warm"}], parameters)
        await models.answer(warm, models.key(warm))

        async def work() -> None:
            for text in waiting:
                request = StepRequest("model", [{"role": "user", "content": text}], parameters)
                await asker.answer("model", _request(request), request.sampled)

        begun = self.now()
        await asyncio.gather(*(work() for _ in range(2 * STREAMS)))
        seconds = self.now() - begun
        await asker.close()
        asker.cache.close()
        return seconds

    async def mapped(self, seed: int, number: int) -> Taken:
        """What it takes for the chain over all rows: rendering, keys, journal and cache among them."""
        asker = self.asker()
        folder = self.workspace.runs / f"bench-{number}"
        make_folder_within(folder)
        journal = FileJournal(folder)
        resolved = resolve(parse_chain(CHAIN.replace("SEED", str(seed))), self.tools)
        run = ChainRun(resolved, self.tools, AskedModels(asker, STREAMS), journal)
        begun = self.now()
        await run.run({"rows": self.rows})
        seconds = self.now() - begun
        journal.close()
        await asker.close()
        asker.cache.close()
        assert run.counts.requests == len(self.rows)
        return seconds


def _used(processes: list[psutil.Process]) -> float:
    used = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def _request(asked: StepRequest) -> Any:
    from llmops_tui.chains.asking import PATH
    from llmops_tui.inference.asking.asker import Request

    return Request(PATH, asked.body, asked.parameters)


def main() -> None:
    """Print the ratio of both rates, round by round, as JSON: rows a second of the chain over those of the bare requests."""
    rounds, count = (int(one) for one in (sys.argv[1:3] if len(sys.argv) > 2 else (3, 1000)))
    model = Path(sys.argv[3]) if len(sys.argv) > 3 else SAMPLE
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as folder:
        bench = Bench(Path(folder), model, count)
        found = []
        try:
            rows, bench.rows = bench.rows, bench.rows[: 2 * STREAMS]
            # What is loaded and started once belongs to neither.
            asyncio.run(bench.batched(0))
            asyncio.run(bench.mapped(1, rounds))
            bench.rows = rows
            for number in range(rounds):
                # Answers of other seeds are other requests: nothing is known from before. Each begins in turn.
                if number % 2:
                    mapped = asyncio.run(bench.mapped(100 + number, number))
                    plain = asyncio.run(bench.batched(10 + number))
                else:
                    plain = asyncio.run(bench.batched(10 + number))
                    mapped = asyncio.run(bench.mapped(100 + number, number))
                found.append((plain, mapped))
        finally:
            bench.tools.close()
            bench.supervisor.stop("model")
    told: dict[str, Any] = {"rows": count}
    for name in Taken._fields:
        ratios = [getattr(plain, name) / getattr(mapped, name) for plain, mapped in found]
        told[name] = {
            "ms_a_row": [round(1000 * getattr(mapped, name) / count, 2) for _, mapped in found],
            "ratio_to_batched": [round(one, 3) for one in ratios],
            "median": round(statistics.median(ratios), 3),
        }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
