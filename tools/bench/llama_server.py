"""The model server against llama-server on the same file, with the same settings and client, interleaved in one run.

``llama_server.py --server PATH`` (or ``LLAMA_SERVER``); ``--only one,many`` for some of the parts. JSON comes out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent))

from load import Endpoint, Streamed, stream
from run_all import machine
from turns import Measured, Pair, pairs, processor_seconds, told

from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.known_models import fetch_known
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

_BATCH = 512
_CACHE_MIB = 1024
_POLL_SECONDS = 0.005
_START_SECONDS = 120.0
_WORDS = (
    "the a river boat old stone bridge morning light walks slowly towards village market people bread apples carry "
    "letters from distant harbour where ships wait for wind and rain falls on roofs while children sing about summer "
    "fields under quiet hills near small blue lake that never freezes even in long winters when snow covers every road"
)

# Sampling as both are asked for it by name, so that no default of either has a part in it.
_OFF = {
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}
GREEDY = {"temperature": 0.0, **_OFF}
SAMPLING: dict[str, dict[str, float]] = {
    "greedy": GREEDY,  # what the playground opens with
    "usual": {**_OFF, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    "whole_vocabulary": {**_OFF, "temperature": 1.0},  # what OpenAI's API means where nothing is said
}


@dataclass(frozen=True)
class Setting:
    """What both are started with; ``context`` is in tokens a stream."""

    context: int
    parallel: int


@dataclass(frozen=True)
class Other:
    """A llama-server that runs."""

    socket: str
    process: subprocess.Popen[bytes]
    model: str = "other"
    key: str = "none"


@dataclass
class Bench:
    """Where things are, and how often pairs are taken."""

    server: str
    path: Path
    folder: Path
    threads: int
    flash: str
    rounds: int
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    _count: int = 0

    def arguments(self, setting: Setting, socket: str) -> list[str]:
        """The settings of :class:`LoadOptions` and of the engine, as llama-server names them."""
        s = setting
        return [
            self.server,
            "--model",
            str(self.path),
            "--host",
            socket,
            "--no-webui",
            "--offline",
            "--ctx-size",
            str(s.context * s.parallel),
            "--parallel",
            str(s.parallel),
            "--no-kv-unified",
            "--threads",
            str(self.threads),
            "--threads-batch",
            str(self.threads),
            "--batch-size",
            str(_BATCH),
            "--ubatch-size",
            str(_BATCH),
            "--flash-attn",
            self.flash,
            "--cache-type-k",
            "f16",
            "--cache-type-v",
            "f16",
            "--cache-ram",
            str(_CACHE_MIB),
            "--gpu-layers",
            "0",
            "--fit",
            "off",
        ]

    def start_other(self, setting: Setting) -> Other:
        """A llama-server that answered its ``/health`` with ok."""
        self._count += 1
        socket = str(self.folder / f"other-{self._count}.sock")
        with (self.folder / f"other-{self._count}.log").open("wb") as log:
            process = subprocess.Popen(self.arguments(setting, socket), stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://localhost", timeout=5) as client:
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    if client.get("/health").status_code == httpx.codes.OK:
                        return Other(socket, process)
                except httpx.TransportError:
                    pass
                time.sleep(_POLL_SECONDS)
        process.kill()
        raise RuntimeError((self.folder / f"other-{self._count}.log").read_text(errors="replace")[-2000:])

    @contextmanager
    def both(self, setting: Setting) -> Iterator[dict[str, Endpoint]]:
        """Ours and the other with the same settings."""
        self._count += 1
        workspace = make_workspace(Workspace(self.folder / f"ws-{self._count}"))
        model = ModelRegistry(Catalog(workspace)).add(self.path, "bench")
        supervisor = ServerSupervisor(workspace)
        other = self.start_other(setting)
        try:
            yield {"ours": supervisor.ensure(model, self.options(setting)), "other": other}
        finally:
            supervisor.stop(model.name)
            other.process.kill()
            other.process.wait()

    def options(self, setting: Setting) -> LoadOptions:
        """The same for our own server."""
        flash: Any = self.flash
        return LoadOptions(
            threads=self.threads,
            context=setting.context,
            parallel=setting.parallel,
            gpu_layers=0,
            flash_attention=flash,
        )

    def words(self, count: int) -> str:
        """English words at random, about as many tokens."""
        return " ".join(self.rng.choices(_WORDS.split(), k=count))


def tokens_of(handle: Endpoint, text: str) -> list[int]:
    """The token ids of a text, by the server's own tokenizer."""
    headers = {"Authorization": f"Bearer {handle.key}"}
    transport = httpx.HTTPTransport(uds=handle.socket)
    with httpx.Client(transport=transport, base_url="http://localhost", headers=headers, timeout=60) as client:
        return list(client.post("/tokenize", json={"content": text, "add_special": False}).json()["tokens"])


async def together(
    handle: Endpoint, prompts: list[list[int]], tokens: int, *, reuse: bool, sampling: dict[str, float]
) -> list[Streamed]:
    """Several streams at once."""
    bodies = [
        {"prompt": p, "max_tokens": tokens, "cache_prompt": reuse, "ignore_eos": True, "seed": 1, **sampling}
        for p in prompts
    ]
    got = await asyncio.gather(*(stream(handle, body) for body in bodies))
    assert all(s.made == tokens for s in got), "a stream ended early"
    return list(got)


def streamed(
    handle: Endpoint, prompts: list[list[int]], tokens: int, *, reuse: bool, sampling: dict[str, float] = GREEDY
) -> Measured:
    """Tokens a second from the first piece of any stream to the last of any."""
    before = processor_seconds(handle)
    got = asyncio.run(together(handle, prompts, tokens, reuse=reuse, sampling=sampling))
    span = max(s.last for s in got) - min(s.first for s in got)
    return Measured(sum(s.made - 1 for s in got) / span, processor_seconds(handle) - before)


def one(bench: Bench) -> dict[str, Any]:
    """One stream of 256 tokens, for each way of sampling."""
    figures = {}
    with bench.both(Setting(1024, 1)) as ends:
        prompt = tokens_of(ends["ours"], bench.words(24))
        for name, sampling in SAMPLING.items():

            def measure(
                who: str, tokens: int = 256, sampling: dict[str, float] = sampling, prompt: list[int] = prompt
            ) -> Measured:
                return streamed(ends[who], [prompt], tokens, reuse=True, sampling=sampling)

            for who in ends:
                measure(who, 64)
            figures[f"one_stream_{name}"] = told(pairs(bench.rounds, measure), "tokens_per_s")
    return figures


def many(bench: Bench) -> dict[str, Any]:
    """Eight and sixteen streams of 96 tokens together."""
    figures = {}
    for streams in (8, 16):
        with bench.both(Setting(1024, streams)) as ends:
            prompts = [tokens_of(ends["ours"], bench.words(6)) for _ in range(streams)]

            def measure(who: str, tokens: int = 96, prompts: list[list[int]] = prompts) -> Measured:
                return streamed(ends[who], prompts, tokens, reuse=False)

            for who in ends:
                measure(who, 16)
            figures[f"{streams}_streams_greedy"] = told(pairs(max(3, bench.rounds // 2), measure), "tokens_per_s")
    return figures


def long_context(bench: Bench) -> dict[str, Any]:
    """One stream of 96 tokens behind a prompt of 4,000, which is in the cache."""
    with bench.both(Setting(4608, 1)) as ends:
        prompt = tokens_of(ends["ours"], bench.words(4400))[:4000]

        def measure(who: str) -> Measured:
            return streamed(ends[who], [prompt], 96, reuse=True)

        for who in ends:
            measure(who)
        return {"one_stream_at_4k": told(pairs(bench.rounds, measure), "tokens_per_s")}


def edit(bench: Bench) -> dict[str, Any]:
    """Time to the first token of a prompt of 1,000 tokens: cold, and after an edit in its last 5 %."""
    cold: list[Pair] = []
    edited: list[Pair] = []
    with bench.both(Setting(1280, 4)) as ends:

        def first(who: str, prompt: list[int]) -> Measured:
            before = processor_seconds(ends[who])
            (got,) = asyncio.run(together(ends[who], [prompt], 2, reuse=True, sampling=GREEDY))
            return Measured((got.first - got.asked) * 1000, processor_seconds(ends[who]) - before)

        for number in range(bench.rounds + 1):
            base = tokens_of(ends["ours"], bench.words(1200))[:1000]
            change = bench.rng.randrange(950, 999)
            other = base[:change] + tokens_of(ends["ours"], bench.words(100))[: 1000 - change]
            cold += pairs(1, lambda who, base=base: first(who, base), number)
            edited += pairs(1, lambda who, other=other: first(who, other), number)
    # The first of each warms up.
    return {"first_token_cold": told(cold[1:], "ms"), "first_token_after_edit": told(edited[1:], "ms")}


def start(bench: Bench) -> dict[str, Any]:
    """From asking for a server to its being ready, and to the first token of its first answer."""
    setting = Setting(4096, 4)
    workspace = make_workspace(Workspace(bench.folder / "ws-start"))
    model = ModelRegistry(Catalog(workspace)).add(bench.path, "bench")
    supervisor = ServerSupervisor(workspace)
    answered: dict[str, list[Measured]] = {"ours": [], "other": []}

    def measure(who: str) -> Measured:
        began = time.perf_counter()
        handle: Endpoint = (
            supervisor.ensure(model, bench.options(setting)) if who == "ours" else bench.start_other(setting)
        )
        ready = time.perf_counter()
        (got,) = asyncio.run(together(handle, [[1, 2, 3]], 2, reuse=True, sampling=GREEDY))
        spent = processor_seconds(handle)
        answered[who].append(Measured((got.first - began) * 1000, spent))
        if isinstance(handle, Other):
            handle.process.kill()
            handle.process.wait()
        else:
            supervisor.stop(model.name)
        return Measured((ready - began) * 1000)

    for who in answered:
        measure(who)
    ready = pairs(bench.rounds, measure)
    first = list(zip(answered["ours"][1:], answered["other"][1:], strict=True))
    return {"start_to_ready": told(ready, "ms"), "start_to_first_token": told(first, "ms")}


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "one": one, "many": many, "context": long_context, "edit": edit, "start": start,
}  # fmt: skip


def version(server: str) -> str:
    """What llama-server says of its version."""
    got = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
    return (got.stdout + got.stderr).strip()


def main() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default=os.environ.get("LLAMA_SERVER", ""), help="path of llama-server")
    parser.add_argument("--model", type=Path, help="a GGUF file; the known small model where none is given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--flash", choices=("auto", "off"), default="auto", help="flash attention, of both")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    given = parser.parse_args()
    if not given.server:
        parser.error("--server PATH or LLAMA_SERVER says where llama-server is")
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        path = given.model or fetch_known("smollm2-135m")
        bench = Bench(given.server, path, Path(name), given.threads, given.flash, given.rounds)
        figures: dict[str, Any] = {}
        for part in given.only.split(","):
            figures |= PARTS[part](bench)
            print(json.dumps(figures), file=sys.stderr)
        settings = bench.arguments(Setting(1024, 1), "SOCKET")[1:]
        return {
            "machine": machine(),
            "llama_server": version(given.server),
            "model": path.name,
            "threads": given.threads,
            "settings": " ".join(settings),
            "load": os.getloadavg(),
            **figures,
        }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
