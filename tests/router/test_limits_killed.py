"""Two hundred clients with limits before an experiment, whose server is killed in the middle: nothing of it is forgotten.

``LLMOPS_LIMITS_SECONDS`` says for how long they ask, 20 without it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import httpx
import pytest

from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.report import reports
from llmops_tui.inference.access.store import KeyStore, NewKey
from llmops_tui.inference.experiments.records import BY_OPENING, Settings
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.maintenance import check_catalog
from llmops_tui.maintenance.findings import Report
from llmops_tui.workspace.audit import anchor, entries, problems
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import PROMPT, SAID
from tests.engine.test_guard import free_port
from tests.waiting import may_wait

_log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("LLMOPS_LIMITS_SECONDS", "20"))
CLIENTS, KEYS, KILLS = 200, 20, 3
USED = PROMPT + SAID
STILL_SECONDS = 300.0
# What a client of each key may take: the one limit bites by tokens a day, the other by tokens and by requests a minute.
SCOPES = (
    Scope(tokens_per_day=3000, requests_per_day=100_000),
    Scope(tokens_per_minute=1000, requests_per_minute=100_000),
    Scope(tokens_per_minute=100_000, requests_per_minute=120),
    Scope(tokens_per_day=1_000_000),
)
SETTINGS: Settings = {
    "a": "one", "b": "two", "share": 0.5, "by": BY_OPENING, "metric": {"type": "rating"}, "budget": None, "alpha": 0.01, "slower": 1.5,
}  # fmt: skip


class Server:
    """The process of all models, started again after it was killed; ``up`` while somebody listens."""

    def __init__(self, workspace: Workspace) -> None:
        self.port = free_port()
        self.up = asyncio.Event()
        self._command = [sys.executable, "-m", "tests.router.limited", str(workspace.root), str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        process = self._process = subprocess.Popen(self._command, cwd=ROOT, env=os.environ.copy())
        while not await self._listens():
            assert process.poll() is None, "the server has ended by itself"
            await asyncio.sleep(0.05)
        self.up.set()

    def kill(self) -> None:
        """End it at once."""
        self.up.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


class Crowd:
    """The clients, who ask until the time is over, and whoever kills the server meanwhile; with what they saw."""

    def __init__(self, server: Server, keys: list[NewKey]) -> None:
        self._server, self._keys = server, keys
        self.began = time.time()
        self.tokens: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.turned: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.arms: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.kills = 0

    async def ask(self) -> None:
        """All of it. What is waited for is progress, however long a busy machine takes for it."""
        limits, address = httpx.Limits(max_connections=CLIENTS), f"http://127.0.0.1:{self._server.port}"
        async with httpx.AsyncClient(base_url=address, verify=False, timeout=300, limits=limits) as http:
            async with asyncio.TaskGroup() as group:
                work = [group.create_task(self._kill())]
                work += [group.create_task(self._client(http, number)) for number in range(CLIENTS)]
                group.create_task(self._watch(work))

    @property
    def _is_over(self) -> bool:
        # On a busy machine it may take longer until there was something to kill three times, and somebody to turn away.
        long_enough = time.time() - self.began >= SECONDS
        return long_enough and self.kills == KILLS and self.statuses[429] >= CLIENTS // 4

    async def _client(self, http: httpx.AsyncClient, number: int) -> None:
        key = self._keys[number % len(self._keys)]
        while not self._is_over or not self.arms[number]:
            # Two hundred who knock all the time would take the cores from the server that starts.
            await self._server.up.wait()
            try:
                answer = await self._asked(http, number, key.secret)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                self.tokens[key.key.name] += answer.json()["usage"]["total_tokens"]
                self.requests[key.key.name] += 1
                self.arms[number][answer.json()["model"]] += 1
                continue
            assert int(answer.headers["retry-after"]) >= 1
            self.turned[key.key.name] += 1
            # Whoever was turned away waits, so that those with no limit are heard; not as long as it was told.
            await asyncio.sleep(1)
            if self._is_over:
                return

    async def _asked(self, http: httpx.AsyncClient, number: int, secret: str) -> httpx.Response:
        messages = [{"role": "user", "content": f"conversation {number}"}]
        body = {"model": "one", "messages": messages, "max_tokens": SAID}
        return await http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {secret}"})

    async def _kill(self) -> None:
        for number in range(1, KILLS + 1):
            while time.time() - self.began < SECONDS * number / (KILLS + 1) or self.statuses[200] < 50 * number:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(self._server.kill)
            self.kills += 1
            await self._server.start()

    async def _watch(self, work: list[asyncio.Task[None]]) -> None:
        """Fail where nothing goes on, for longer than a busy machine explains."""
        seen, begun = -1, time.monotonic()
        while not all(one.done() for one in work):
            now = self.statuses.total() + self.kills
            if now != seen:
                seen, begun = now, time.monotonic()
            told = f"nothing went on after {self.kills} kills and {dict(self.statuses)}"
            assert may_wait(begun, STILL_SECONDS), told
            await asyncio.sleep(1)


def check_limits(
    store: KeyStore, tokens: Counter[str], requests: Counter[str], turned: Counter[str], passed: float
) -> None:
    """No key came over a limit by one token, counted at the clients and as it is kept; and none was held far below it."""
    for report in reports(store):
        mine, scope = tokens[report.key.name], report.key.scope
        noted = report.prompt_tokens + report.completion_tokens
        # Whose answer was lost with the server counts as well, in full; of half an answer nothing is noted.
        assert mine <= noted
        assert noted % USED == 0
        for amount, span, taken in (
            (scope.tokens_per_day, 86_400, noted),
            (scope.tokens_per_minute, 60, noted),
            (scope.requests_per_minute, 60, requests[report.key.name]),
        ):
            assert amount is None or taken <= amount * (1 + passed / span)
        lost = KILLS * CLIENTS // KEYS * USED
        if scope.tokens_per_day == 3000 and turned[report.key.name]:
            # What was under way when it was killed stays taken, and no more.
            assert mine >= 3000 - lost - USED


# This bounds only what stands still.
@pytest.mark.slow
@pytest.mark.timeout(7200)
async def test_limits_assignment_and_audit_outlive_kills(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    store, experiments = KeyStore(event_log), ExperimentStore(event_log)
    keys = [store.create(f"key {n}", SCOPES[n % len(SCOPES)]) for n in range(KEYS)]
    experiment = experiments.start("one", "ab", SETTINGS)
    before = anchor(event_log.connection())
    assert before is not None
    server = Server(workspace)
    try:
        await server.start()
        crowd = Crowd(server, keys)
        await crowd.ask()
    finally:
        server.kill()
    passed, arms = time.time() - crowd.began, crowd.arms
    assert (crowd.kills, set(crowd.statuses)) == (KILLS, {200, 429})
    check_limits(store, crowd.tokens, crowd.requests, crowd.turned, passed)
    # Everybody was answered by one model alone, and both answered.
    seen = {number: set(models) for number, models in arms.items() if models}
    assert all(len(models) == 1 for models in seen.values())
    counts = experiments.counts(experiment.id)
    answered = Counter(next(iter(models)) for models in seen.values())
    assert min(answered.values()) > CLIENTS // 4
    # Who was assigned and then turned away is assigned all the same.
    assert answered["one"] <= counts["a"].conversations <= CLIENTS
    assert answered["two"] <= counts["b"].conversations <= CLIENTS
    assert answered.total() <= counts["a"].conversations + counts["b"].conversations <= CLIENTS
    connection = event_log.connection()
    assert problems(connection, {"before": before}) == []
    assert [entry.kind for entry in entries(connection)] == ["key.created"] * KEYS + ["experiment.began"]
    # A changed line is found.
    connection.execute("DROP TRIGGER audit_keeps_UPDATE")
    connection.execute("UPDATE audit SET subject = 'another' WHERE seq = 7")
    found = Report()
    check_catalog.audit(workspace, found)
    assert [one.text for one in found.errors] == ["entry 7 was changed: it does not have its hash"]
    _log.info(
        f"{passed:.0f} s, {crowd.statuses.total():,} requests of {CLIENTS} clients with {KEYS} keys, {crowd.kills} kills: {dict(crowd.statuses)}"
    )
