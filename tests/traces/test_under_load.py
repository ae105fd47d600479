"""Many clients at once and a server that is killed in the middle: every request has one end, and is kept exactly once."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections import Counter

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.waiting import wait_for

PARAMETERS = SamplingParameters(temperature=0.0, max_tokens=8)


class Load:
    """Clients that ask one question after another, and know what became of each."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.model = ModelRegistry(Catalog(workspace)).get("support-base")
        self.supervisor = ServerSupervisor(workspace)
        self.event_log = EventLog(workspace)
        self.ends: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.found: ServerHandle | None = None
        self.starting = asyncio.Lock()
        self.until = math.inf

    async def server(self) -> ServerHandle:
        """The live server; started again by whoever first finds it gone."""
        async with self.starting:
            if self.found is None or not self.found.process.alive():
                options = LoadOptions(threads=1, parallel=4)
                self.found = await asyncio.to_thread(self.supervisor.ensure, self.model, options)
            return self.found

    async def client(self, number: int) -> None:
        count = 0
        while time.monotonic() < self.until:
            count += 1
            run = f"run_c{number:03d}n{count:05d}"
            try:
                self.ends[run] = await self.ask(await self.server(), run)
            except LlmopsError as error:
                self.ends[run] = error.code
                if error.code != "queue_full":
                    # Where the server died its client keeps what it saw, as the playground does.
                    body = {
                        "started_at": time.time(),
                        "model": "support-base",
                        "output": "",
                        "finish_reason": "error",
                        "error": error.message,
                    }
                    await asyncio.to_thread(self.event_log.append, "request", run, body)
                await asyncio.sleep(0.2)

    async def ask(self, handle: ServerHandle, run: str) -> str:
        async with ModelClient(handle) as client:
            async for event in client.stream_chat(
                [{"role": "user", "content": f"Say {run}."}], PARAMETERS, {"run_id": run}
            ):
                if isinstance(event, StreamEnd):
                    self.answers[run] += 1
                    return "answered"
        raise AssertionError("the stream ended without an end")

    async def go(self, clients: int, seconds: float) -> None:
        first = await self.server()
        tasks = [asyncio.create_task(self.client(n)) for n in range(clients)]
        # However busy the machine is: some were answered before, and others are in the middle.
        while not self.answers:
            await asyncio.sleep(0.02)
        await asyncio.sleep(seconds / 2)
        os.kill(first.process.pid, signal.SIGKILL)
        self.until = time.monotonic() + seconds / 2
        await asyncio.gather(*tasks)

    def settled(self) -> None:
        """Each request has one end, and is in the catalog exactly once."""
        kinds = Counter(self.ends.values())
        print(dict(kinds), "requests", len(self.ends))  # noqa: T201  the figures that are told, with pytest -s
        assert kinds["answered"] > 0
        assert kinds["server_died"] > 0
        assert set(kinds) <= {"answered", "server_died", "queue_full", "server_start_failed"}
        assert set(self.answers.values()) == {1}
        # A request that a client gave up is recorded by the server a moment later.
        wait_for(lambda: self.counted()[0] >= len(self.ends))
        store = TraceStore(Catalog(self.workspace), self.event_log)
        lines, total = store.page(TraceFilter(), 1_000_000)
        assert total == len(self.ends)
        by_id = {line.id: line for line in lines}
        assert by_id.keys() == self.ends.keys()
        for run, end in self.ends.items():
            if end == "answered":
                assert by_id[run].finish_reason in {"stop", "length"}
            elif end == "queue_full":
                assert "turned away" in str(by_id[run].error)
        # The event log counted each once too.
        assert self.counted() == (len(self.ends), len(self.ends))

    def counted(self) -> tuple[int, int]:
        """How many requests the event log has timed, and how many different ones."""
        row = self.event_log.connection().execute("SELECT count(*), count(DISTINCT id) FROM timings").fetchone()
        return int(row[0]), int(row[1])


@pytest.mark.slow
def test_a_killed_server_loses_no_request(sample: Workspace) -> None:
    load = Load(sample)
    asyncio.run(load.go(clients=10, seconds=5))
    load.settled()


@pytest.mark.slow
def test_a_hundred_clients_for_a_minute_and_a_killed_server(sample: Workspace) -> None:
    load = Load(sample)
    asyncio.run(load.go(clients=100, seconds=60))
    load.settled()
