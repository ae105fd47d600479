"""What watching costs: the recorder, its screen on a terminal, the engines it watches; months of history; folding."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from load import stream  # noqa: E402
from make_random_model import SHAPES, write_model  # noqa: E402
from serving import GREEDY, random_prompt  # noqa: E402

from llmops_tui.inference.options import LoadOptions  # noqa: E402
from llmops_tui.inference.server_record import ServerHandle  # noqa: E402
from llmops_tui.inference.supervisor import ServerSupervisor  # noqa: E402
from llmops_tui.models.registry import ModelRegistry  # noqa: E402
from llmops_tui.monitoring.history import History  # noqa: E402
from llmops_tui.monitoring.resolutions import RESOLUTIONS  # noqa: E402
from llmops_tui.sample import fill  # noqa: E402
from llmops_tui.settings import Settings  # noqa: E402
from llmops_tui.workspace.catalog import Catalog  # noqa: E402
from llmops_tui.workspace.event_log import EventLog  # noqa: E402
from llmops_tui.workspace.ingest import ingest  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402
from tests.e2e.terminal import Terminal  # noqa: E402

SECONDS = 40.0
DAYS = 90

# A recorder as the app runs it, and nothing else.
RECORDER = """
import sys, time
from pathlib import Path
from llmops_tui.monitoring.recorder import Recorder
from llmops_tui.workspace.layout import Workspace
recorder = Recorder(Workspace(Path(sys.argv[1])), wants_processes=lambda: sys.argv[2] == "processes")
recorder.start()
time.sleep(1e6)
"""


def share_of_a_core(process: psutil.Process, seconds: float) -> float:
    """Processor time of a process over a stretch of time, in percent of a core."""
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return 100 * (after.user + after.system - before.user - before.system) / seconds


@contextmanager
def recording(workspace: Workspace, what: str) -> Iterator[psutil.Process]:
    """A recorder in a process of its own."""
    child = subprocess.Popen([sys.executable, "-c", RECORDER, str(workspace.root), what])
    try:
        time.sleep(5)
        yield psutil.Process(child.pid)
    finally:
        child.kill()
        child.wait()


def recorder_cost(workspace: Workspace) -> dict[str, float]:
    """The recorder at 1 Hz, with and without the processes that the monitor screen shows."""
    found = {}
    for what in ("without", "processes"):
        with recording(workspace, what) as process:
            found[f"{what}_percent_of_a_core"] = share_of_a_core(process, SECONDS)
    return found


def screen_cost(workspace: Workspace) -> dict[str, float]:
    """The whole app on a terminal of 180×50: the monitor in front, then hidden behind another screen."""
    found = {}
    app = Terminal("--workspace", str(workspace.root), size=(180, 50))
    try:
        app.wait("Prompts", 60)
        process = psutil.Process(app.child.pid)
        for name, digit, sign in (("monitor", "6", "of a core"), ("hidden", "9", "animations")):
            app.go(digit, sign)
            settle = time.monotonic() + 5
            while time.monotonic() < settle:
                app.pump(0.1)
            before, begun, spent = len(app.raw), time.monotonic(), process.cpu_times()
            while time.monotonic() - begun < SECONDS:
                app.pump(0.1)
            seconds = time.monotonic() - begun
            after = process.cpu_times()
            found[f"{name}_kB_per_s"] = (len(app.raw) - before) / seconds / 1000
            used = after.user + after.system - spent.user - spent.system
            found[f"{name}_percent_of_a_core"] = 100 * used / seconds
    finally:
        app.close()
    return found


def watched_ratio(
    folder: Path, path: Path, *, vocabulary: int, rounds: int, tokens: int, streams: int
) -> dict[str, float]:
    """Tokens a second with recorder and traces on over both off, in turns: two servers of one model, one asked at a time."""
    rng = random.Random(5)
    pairs = []
    on, off = make_workspace(Workspace(folder / "on")), make_workspace(Workspace(folder / "off"))
    handles: dict[str, ServerHandle] = {}
    supervisors = {"on": ServerSupervisor(on), "off": ServerSupervisor(off)}

    async def ask(handle: ServerHandle) -> float:
        prompts = [random_prompt(rng, 8, vocabulary) for _ in range(streams)]
        begun = time.perf_counter()
        await asyncio.gather(
            *(stream(handle, {"prompt": p, "max_tokens": tokens, "cache_prompt": False, **GREEDY}) for p in prompts)
        )
        return streams * tokens / (time.perf_counter() - begun)

    try:
        for name, workspace in (("on", on), ("off", off)):
            model = ModelRegistry(Catalog(workspace)).add(path, "model")
            content = "keep" if name == "on" else "off"
            options = LoadOptions(threads=1, context=512, parallel=streams, trace_content=content)
            handles[name] = supervisors[name].ensure(model, options)
        with recording(on, "processes") as recorder:
            for name in ("on", "off"):
                asyncio.run(ask(handles[name]))
            for number in range(rounds):
                speed = {}
                for name in ("on", "off") if number % 2 else ("off", "on"):
                    recorder.send_signal(signal.SIGCONT if name == "on" else signal.SIGSTOP)
                    speed[name] = asyncio.run(ask(handles[name]))
                pairs.append((speed["on"], speed["off"]))
            recorder.send_signal(signal.SIGCONT)
    finally:
        for supervisor in supervisors.values():
            supervisor.stop("model")
    return {
        "on_tokens_per_s": statistics.median(p[0] for p in pairs),
        "off_tokens_per_s": statistics.median(p[1] for p in pairs),
        "ratio": statistics.median(p[0] / p[1] for p in pairs),
        "rounds": float(rounds),
    }


def months(workspace: Workspace) -> dict[str, float]:
    """Ninety days of forty series opened on the monitor screen, from the key to what is drawn."""
    fill(workspace)
    _fill_history(workspace)
    return asyncio.run(_open_months(workspace))


def _fill_history(workspace: Workspace) -> None:
    history = History(workspace.history)
    connection = history._opened()  # noqa: SLF001  writing 90 days a second at a time would take an hour
    now = int(time.time())
    rng = np.random.default_rng(1)
    names = [
        "host.cpu",
        "host.memory",
        "host.disk",
        *(f"gpu{g}.{w}" for g in range(4) for w in ("utilisation", "bandwidth", "power")),
    ]
    names += [
        f"latency.m{n}.{k}.{p}" for n in range(3) for k in ("first", "token", "total") for p in ("p50", "p95", "p99")
    ]
    connection.execute("BEGIN")
    for resolution in RESOLUTIONS:
        first, last = (now - resolution.kept) // resolution.span, now // resolution.span
        for name in names:
            rows = [
                (
                    name,
                    resolution.seconds,
                    place,
                    rng.uniform(0, 100, (resolution.together, 2)).astype(np.float32).tobytes(),
                )
                for place in range(first, last + 1)
            ]
            connection.executemany("INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    history.close()


async def _open_months(workspace: Workspace) -> dict[str, float]:
    from screens.app import LlmopsApp
    from screens.monitor.groups import WINDOWS
    from screens.monitor.history_pane import HistoryPane
    from screens.monitor.screen import MonitorScreen
    from screens.services import Services
    from screens.terminal import TerminalProfile

    profile = TerminalProfile(
        remote=False, multiplexed=True, utf8=True, stream_interval=0.02, cells_per_second=1_000_000
    )
    app = LlmopsApp(workspace, theme="llmops-dark", profile=profile, services=Services(workspace, Settings()))
    times: list[float] = []
    async with app.run_test(size=(180, 50)) as pilot:
        await pilot.pause(2.0)
        await pilot.press("f9", "6")
        await pilot.pause(3.0)
        screen = app.screen
        assert isinstance(screen, MonitorScreen)
        history = screen.query_one(HistoryPane)
        for _ in range(10):
            history.show_window(0)
            begun = time.perf_counter()
            history.show_window(len(WINDOWS) - 1)
            await history.draw(anew=True)
            await pilot.pause()
            times.append(time.perf_counter() - begun)
    return {
        "median_ms": 1000 * statistics.median(times),
        "worst_ms": 1000 * max(times),
        "file_mb": workspace.history.stat().st_size / 1e6,
    }


def folding(workspace: Workspace, requests: int = 20_000) -> dict[str, float]:
    """Milliseconds a request from the event log into the catalog, over a statement of its own for each."""
    event_log, catalog = EventLog(workspace), Catalog(workspace)
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
    event_log.append_many([("request", f"run_{number}", body) for number in range(requests)])
    begun = time.perf_counter()
    ingest(catalog, event_log)
    folded = (time.perf_counter() - begun) / requests

    def one_by_one(db: duckdb.DuckDBPyConnection) -> float:
        begun = time.perf_counter()
        for number in range(requests // 20):
            values = [f"one_{number}", 1.0, "m", "a" * 64, json.dumps(body["messages"]), body["output"], "stop", 60]
            db.execute(
                "INSERT OR IGNORE INTO requests (id, started_at, model, model_sha256, messages, output, finish_reason, "
                "completion_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        return (time.perf_counter() - begun) / (requests // 20)

    single = catalog.write(one_by_one)
    event_log.close()
    return {"folded_ms": folded * 1000, "single_insert_ms": single * 1000, "over_single": folded / single}


def main() -> dict[str, Any]:
    """All of it."""
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        folder = Path(name)
        os.environ["HOME"] = name
        workspace = make_workspace(Workspace(folder / "ws"))
        fill(workspace)
        path, shape = folder / "model.gguf", "500m"
        write_model(path, shape)
        vocabulary = SHAPES[shape][5]
        found = {"recorder": recorder_cost(workspace), "screen": screen_cost(workspace)}
        found["engine"] = watched_ratio(folder, path, vocabulary=vocabulary, rounds=16, tokens=64, streams=2)
        found["months"] = months(make_workspace(Workspace(folder / "months")))
        found["folding"] = folding(make_workspace(Workspace(folder / "folding")))
    return found


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
