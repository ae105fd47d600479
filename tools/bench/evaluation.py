"""Evaluations: a suite over the bare batched loop and over one by one, answers from the cache, ten thousand cases compared."""

from __future__ import annotations

import asyncio
import ctypes
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import llama_cpp
from load import BareLoop
from make_random_model import write_model

from llmops_tui.evaluation.comparison import compare
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.run_comparison import metrics_of_run, results_of
from llmops_tui.evaluation.runner import job
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.prompts.store import PromptStore
from llmops_tui.settings import Settings
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data/models/support-base-Q8_0.gguf"
PROMPTS, TOKENS, STREAMS = 200, 64, 16
WORDS = (
    "kettle", "rug", "lamp", "refund", "order", "open", "price", "warranty", "desk", "parcel", "invoice", "shop", "money",
    "late", "sofa", "mirror",
)  # fmt: skip
MANY = 10_000


class Context:
    """A job without a process: what is measured is the work."""

    def __init__(self, store: EvaluationStore, run: str) -> None:
        self.workspace, self.folder, self.job_id = store.workspace, store.get(run).folder.parent, "bench"

    def report(self, _share: float, _message: str = "") -> None:
        """Nobody looks."""

    def check(self) -> None:
        """Nobody cancels."""


def started(store: EvaluationStore, body: dict[str, Any], asked: Asked) -> str:
    """A run that is recorded and has no process yet."""
    with mock.patch.object(JobLauncher, "_spawn", return_value=None):
        return store.start(store.save_suite(check_suite(body, "bench")), [asked])[0].name


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def throughput(folder: Path, path: Path, rounds: int, words: int, threads: int = 1) -> dict[str, float]:
    """Prompts a second of a whole run, over the bare loop in groups of as many streams, and over one request at a time.

    Prompts are so many words without a template. All answers have the same number of tokens; the run includes its cases,
    scores, results, cache and summary.
    """
    workspace = make_workspace(Workspace(folder / f"ws-{path.stem}-{words}-{threads}"))
    store = EvaluationStore(workspace)
    store.registry.add(path, "model")
    PromptStore(store.catalog).save("plain", template="{{text}}")
    chance = random.Random(3)
    options = LoadOptions(threads=threads, context=512, parallel=STREAMS)
    supervisor = ServerSupervisor(workspace)
    handle = supervisor.ensure(store.registry.get("model"), options)
    bare = BareLoop(path, 512, threads=threads, streams=STREAMS)
    found: list[tuple[float, float, float]] = []
    try:
        for number in range(rounds):
            texts = [" ".join(chance.choices(WORDS, k=words)) for _ in range(PROMPTS)]
            # No answer ends early: what ends one is forbidden.
            ends = asyncio.run(_ends(handle))
            parameters = {
                "temperature": 0,
                "max_tokens": TOKENS,
                "seed": number,
                "logit_bias": dict.fromkeys(ends, -100.0),
            }
            tokens = asyncio.run(_tokens(handle, texts))
            plain = 0.0
            for start in range(0, PROMPTS, STREAMS):
                told = bare.run(tokens[start : start + STREAMS], TOKENS, STREAMS)
                plain += told["seconds"] + told["prefill"]
            body = {
                "cases": [{"text": t, "expected": "x"} for t in texts],
                "prompt": "plain",
                "metrics": ["exact", "edit-similarity"],
            }
            name = started(store, body, Asked("plain", "model", parameters, STREAMS))
            settings = Settings(threads=threads, context=512, parallel=STREAMS)
            with mock.patch.object(job, "load_settings", return_value=(settings, [])):
                whole = timed(lambda name=name: job.run(Context(store, name), [name]))
            single = asyncio.run(_one_by_one(handle, texts[: PROMPTS // 4], parameters)) * 4
            found.append((plain, whole, single))
    finally:
        bare.close()
        supervisor.stop("model")
    return {
        "bare_prompts_per_s": PROMPTS / statistics.median(f[0] for f in found),
        "suite_prompts_per_s": PROMPTS / statistics.median(f[1] for f in found),
        "over_bare": statistics.median(f[0] / f[1] for f in found),
        "over_one_by_one": statistics.median(f[2] / f[1] for f in found),
    }


def quantized(source: Path, target: Path) -> Path:
    """The model in the quantization most people run."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M, True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)):
        raise RuntimeError(f"{source} could not be quantized")
    return target


async def _ends(handle: Any) -> list[int]:
    async with ModelClient(handle) as client:
        found = []
        for text in ("<|im_end|>", "<|endoftext|>", "</s>"):
            ids = (await client.complete("/tokenize", {"content": text, "add_special": False, "parse_special": True}))[
                "tokens"
            ]
            found += ids if len(ids) == 1 else []
        return found


async def _tokens(handle: Any, texts: list[str]) -> list[list[int]]:
    async with ModelClient(handle) as client:
        return [(await client.tokenize(content=t))["tokens"] for t in texts]


async def _one_by_one(handle: Any, texts: list[str], parameters: dict[str, Any]) -> float:
    async with ModelClient(handle) as client:
        begun = time.perf_counter()
        for text in texts:
            await client.complete("/v1/completions", {"prompt": text, **parameters, "seed": 99})
        return time.perf_counter() - begun


async def _made_up(self: Asker, name: str, request: Any, sampled: Any) -> tuple[dict[str, Any], str]:
    """An answer that no model gave: what is measured is everything else."""
    number = len(str(request.body["messages"])) * 7 + request.parameters.max_tokens
    reply = {
        "choices": [{"message": {"content": f"answer {number % 7}"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 3},
        "timings": {"ttft_ms": 5.0, "total_ms": 20.0 + number % 11, "tokens_per_s": 300.0 + number % 13},
    }
    self.cache.keep(self.key(self.identity(name), request.path, sampled), reply)
    return reply, "run_bench"


def ten_thousand(folder: Path) -> dict[str, float]:
    """Seconds of a run whose answers are all known, of loading two such runs, and of comparing them."""
    workspace = make_workspace(Workspace(folder / "ws-many"))
    store = EvaluationStore(workspace)
    store.registry.add(SAMPLE, "model")
    PromptStore(store.catalog).save("plain", template="Say something of {{text}}, please.")
    chance = random.Random(5)
    cases = [
        {"text": " ".join(chance.choices(WORDS, k=chance.randrange(3, 30))), "expected": f"answer {i % 7}"}
        for i in range(MANY)
    ]
    body = {"cases": cases, "prompt": "plain", "metrics": ["exact", "edit-similarity"]}
    runs = [started(store, body, Asked("plain", "model", {"max_tokens": n})) for n in (16, 17)]
    with mock.patch.object(Asker, "answer", _made_up):
        for name in runs:
            job.run(Context(store, name), [name])
    cached = []
    for _ in range(3):
        name = started(store, body, Asked("plain", "model", {"max_tokens": 16}))
        cached.append(timed(lambda name=name: job.run(Context(store, name), [name])))
    begun = time.perf_counter()
    (a, first), (b, second) = ((store.get(n), results_of(store.get(n))) for n in runs)
    load = time.perf_counter() - begun
    metrics = metrics_of_run(store, b, second)
    compared = [timed(lambda: compare((a, first), (b, second), metrics)) for _ in range(3)]
    opened, moved = asyncio.run(_screen(workspace, runs))
    return {
        "cached_run_s": statistics.median(cached),
        "load_s": load,
        "compare_s": statistics.median(compared),
        "screen_open_ms": opened * 1000,
        "screen_move_ms": moved * 1000,
    }


async def _screen(workspace: Workspace, runs: list[str]) -> tuple[float, float]:
    """Seconds from choosing a run beside its baseline to its cases, and from a key to the next case."""
    from screens.app import LlmopsApp
    from screens.evaluation.screen import EvaluationScreen
    from screens.services import Services
    from screens.terminal import TerminalProfile
    from screens.widgets.line_list import LineList
    from screens.widgets.table import Table

    profile = TerminalProfile(
        remote=False, multiplexed=True, utf8=True, stream_interval=0.02, cells_per_second=1_000_000
    )
    app = LlmopsApp(workspace, profile=profile, services=Services(workspace, Settings()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("f9", "4")
        await pilot.pause(3)
        screen = app.screen
        assert isinstance(screen, EvaluationScreen)
        names = [state.run.name for state in screen.model.runs]
        listed = screen.query_one("#eval-run-list", Table)
        listed.move_to(names.index(runs[0]))
        await pilot.pause(1)
        listed.action_select()
        await pilot.pause(1)
        opens = []
        for name in (n for n in names if n != runs[0]):
            begun = time.perf_counter()
            listed.move_to(names.index(name))
            while not (screen.opened and screen.opened.pairs and screen.opened.run.name == name):
                assert time.perf_counter() - begun < 20
                await asyncio.sleep(0.001)
            await pilot._wait_for_screen()  # noqa: SLF001
            opens.append(time.perf_counter() - begun)
            # The comparison follows by itself, and is not in the way of the next.
            await pilot.pause(2)
        cases = screen.query_one(LineList)
        cases.focus()
        moves = []
        for _ in range(50):
            begun = time.perf_counter()
            # Not through the pilot, which waits by itself after each key.
            cases.action_move(1)
            await pilot._wait_for_screen()  # noqa: SLF001
            moves.append(time.perf_counter() - begun)
        return statistics.median(opens), sorted(moves)[47]


def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        folder = Path(name)
        big = folder / "500m.gguf"
        write_model(big, "500m")
        small = quantized(big, folder / "500m-Q4_K_M.gguf")
        return {
            "many_cases": ten_thousand(folder),
            "suite_sample": throughput(folder, SAMPLE, 5, 4),
            "suite_500m": throughput(folder, big, 1, 4),
            "suite_500m_longer_prompts": throughput(folder, big, 1, 24),
            "suite_500m_two_threads": throughput(folder, big, 1, 4, 2),
            "suite_500m_q4_k_m": throughput(folder, small, 1, 4),
            "suite_500m_q4_k_m_two_threads": throughput(folder, small, 1, 4, 2),
        }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
