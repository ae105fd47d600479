"""Pieces of work that ``pairs.py`` has two trees do in turn: each runs in a process that imports the tree it is about.

``python paired_work.py PIECE FOLDER`` prints one JSON object: of each measure its units, seconds and processor seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

Measured = dict[str, dict[str, float]]
OPENINGS, EVENTS, ROWS, CASES = 30, 4_000, 8_000, 600
TOKENS, REQUESTS = 400, 60


def timed(units: float, work: Callable[[], Any]) -> dict[str, float]:
    """Seconds and processor seconds of this process for some work, with all its threads."""
    begun, spent = time.perf_counter(), time.process_time()
    work()
    return {"units": units, "s": time.perf_counter() - begun, "cpu_s": time.process_time() - spent}


def opening(folder: Path) -> Measured:
    """A workspace opened, its prompts listed, its event log looked at, and closed."""
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog
    from llmops_tui.workspace.layout import Workspace

    def once() -> None:
        workspace = Workspace(folder / "ws")
        PromptStore(Catalog(workspace)).summaries()
        event_log = EventLog(workspace)
        event_log.connection().execute("SELECT count(*) FROM events").fetchall()
        event_log.close()

    once()
    return {"opening a workspace": timed(OPENINGS, lambda: [once() for _ in range(OPENINGS)])}


def recording(folder: Path) -> Measured:
    """Finished requests written to the event log, one at a time and together, then ingested into the catalog."""
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog
    from llmops_tui.workspace.ingest import ingest
    from llmops_tui.workspace.layout import Workspace

    workspace = Workspace(folder / "ws")
    event_log, catalog = EventLog(workspace), Catalog(workspace)
    ingest(catalog, event_log)
    body = {
        "started_at": 1.0,
        "model": "m",
        "model_sha256": "a" * 64,
        "messages": [{"role": "user", "content": "hello " * 40}],
        "parameters": {"seed": 1},
        "output": "word " * 60,
        "finish_reason": "stop",
        "completion_tokens": 60,
    }
    mark = time.time_ns()

    def single() -> None:
        for number in range(EVENTS // 20):
            event_log.append_many([("request", f"one_{mark}_{number}", body)])

    many = [("request", f"run_{mark}_{number}", body) for number in range(EVENTS)]
    found = {
        "traces recorded one by one": timed(EVENTS // 20, single),
        "traces recorded together": timed(EVENTS, lambda: event_log.append_many(many)),
        "traces folded": timed(EVENTS + EVENTS // 20, lambda: ingest(catalog, event_log)),
    }
    event_log.close()
    return found


def importing(folder: Path) -> Measured:
    """A file of conversations read into a version."""
    from llmops_tui.datasets.import_job import import_now
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.layout import Workspace

    path = folder / f"chats-{time.time_ns()}.jsonl"
    chance = random.Random(1)
    words = [
        "order",
        "refund",
        "kettle",
        "lamp",
        "please",
        "delivery",
        "money",
        "customer",
        "service",
        "return",
        "exchange",
    ]
    with path.open("w") as file:
        for number in range(ROWS):
            turns = [
                {"role": role, "content": " ".join(chance.choices(words, k=30))} for role in ("user", "assistant") * 2
            ]
            file.write(json.dumps({"id": f"{path.stem}-{number}", "messages": turns}) + "\n")
    store = DatasetStore(Catalog(Workspace(folder / "ws")))
    found = timed(ROWS, lambda: import_now(store, [path], path.stem, "messages"))
    path.unlink()
    return {"rows imported": found}


def evaluating(folder: Path) -> Measured:
    """Everything of an evaluation but the answers: cases, prompts, scores, records, summary."""
    import evaluation

    from llmops_tui.evaluation.run import Asked
    from llmops_tui.evaluation.runner import job
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.inference.asking.asker import Asker
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.workspace.layout import Workspace

    store = EvaluationStore(Workspace(folder / "ws"))
    chance = random.Random(5)
    cases = [
        {"text": " ".join(chance.choices(evaluation.WORDS, k=20)), "expected": f"answer {i % 7}"} for i in range(CASES)
    ]
    body = {"cases": cases, "prompt": "bench", "metrics": ["exact", "edit-similarity"]}
    asked = Asked("bench", "support-base", {"max_tokens": 16, "seed": time.time_ns() % 1_000_000_000})
    PromptStore(store.catalog).save("bench", template="Say something of {{text}}, please.")
    name = evaluation.started(store, body, asked)
    with mock.patch.object(Asker, "answer", evaluation._made_up):  # noqa: SLF001  the same stand-in as the benchmark's
        return {"cases evaluated": timed(CASES, lambda: job.run(evaluation.Context(store, name), [name]))}


def serving(folder: Path) -> Measured:
    """Tokens through server, engine and records: one stream, and eight."""
    import psutil
    import serving as bench
    from load import stream

    def processes(pid: int) -> list[psutil.Process]:
        server = psutil.Process(pid)
        return [server, *server.children(recursive=True)]

    def spent(found: list[psutil.Process]) -> float:
        return sum(sum(p.cpu_times()[:2]) for p in found)

    async def ask(handle: Any, streams: int, tokens: int) -> None:
        bodies = [
            {"prompt": [300 + n], "max_tokens": tokens, "cache_prompt": False, **bench.GREEDY} for n in range(streams)
        ]
        await asyncio.gather(*(stream(handle, body) for body in bodies))

    found: Measured = {}
    with bench.served(folder / f"serving-{time.time_ns()}", bench.SAMPLE, context=1024, parallel=8) as handle:
        watched = processes(handle.process.pid)
        for streams, rounds in ((1, 4), (8, 2)):
            asyncio.run(ask(handle, streams, 50))
            before, begun = spent(watched), time.perf_counter()
            for _ in range(rounds):
                asyncio.run(ask(handle, streams, TOKENS))
            found[f"tokens served, streams: {streams}"] = {
                "units": rounds * streams * TOKENS,
                "s": time.perf_counter() - begun,
                "cpu_s": spent(watched) - before,
            }
        before, begun = spent(watched), time.perf_counter()
        for _ in range(REQUESTS):
            asyncio.run(ask(handle, 1, 1))
        found["requests of one token"] = {
            "units": REQUESTS,
            "s": time.perf_counter() - begun,
            "cpu_s": spent(watched) - before,
        }
    return found


PIECES = {
    "opening": opening,
    "recording": recording,
    "importing": importing,
    "evaluating": evaluating,
    "serving": serving,
}

if __name__ == "__main__":
    print(json.dumps(PIECES[sys.argv[1]](Path(sys.argv[2]))))
