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
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.experiments.records import BY_OPENING, Settings
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.maintenance import check_catalog
from llmops_tui.maintenance.findings import Report
from llmops_tui.workspace.audit import anchor, entries, problems
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import PROMPT, SAID
from tests.engine.test_guard import free_port

_log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("LLMOPS_LIMITS_SECONDS", "20"))
CLIENTS, KEYS, KILLS = 200, 20, 3
USED = PROMPT + SAID
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
    """The process of all models, started again after it was killed."""

    def __init__(self, workspace: Workspace, port: int) -> None:
        self._command = [sys.executable, "-m", "tests.router.limited", str(workspace.root), str(port)]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(self._command, cwd=ROOT, env=os.environ.copy())
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


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


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_limits_assignment_and_audit_outlive_kills(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    store, experiments = KeyStore(event_log), ExperimentStore(event_log)
    keys = [store.create(f"key {n}", SCOPES[n % len(SCOPES)]) for n in range(KEYS)]
    experiment = experiments.start("one", "ab", SETTINGS)
    before = anchor(event_log.connection())
    assert before is not None
    port, began = free_port(), time.time()
    server = Server(workspace, port)
    tokens: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    turned: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    arms: defaultdict[int, Counter[str]] = defaultdict(Counter)
    kills = 0
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False, timeout=300, limits=limits) as http:

        def over() -> bool:
            # On a busy machine it may take longer until there was something to kill three times, and somebody to turn away.
            return time.time() - began >= SECONDS and kills == KILLS and statuses[429] >= CLIENTS // 4

        async def client(number: int) -> None:
            key = keys[number % len(keys)]
            headers = {"Authorization": f"Bearer {key.secret}"}
            messages = [{"role": "user", "content": f"conversation {number}"}]
            while not over() or not arms[number]:
                body = {"model": "one", "messages": messages, "max_tokens": SAID}
                try:
                    answer = await http.post("/v1/chat/completions", json=body, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    tokens[key.key.name] += answer.json()["usage"]["total_tokens"]
                    requests[key.key.name] += 1
                    arms[number][answer.json()["model"]] += 1
                else:
                    assert int(answer.headers["retry-after"]) >= 1
                    turned[key.key.name] += 1
                    # Whoever was turned away waits, so that those with no limit are heard; not as long as it was told.
                    await asyncio.sleep(1)
                    if over():
                        return

        async def killer() -> None:
            nonlocal kills
            for number in range(1, KILLS + 1):
                while time.time() - began < SECONDS * number / (KILLS + 1) or statuses[200] < 50 * number:
                    await asyncio.sleep(0.02)
                await asyncio.to_thread(server.kill)
                kills += 1
                server.start()

        try:
            killing = asyncio.create_task(killer())
            await asyncio.gather(*map(client, range(CLIENTS)))
            await killing
        finally:
            server.kill()
    passed = time.time() - began
    assert (kills, set(statuses)) == (KILLS, {200, 429})
    check_limits(store, tokens, requests, turned, passed)
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
        f"{passed:.0f} s, {sum(statuses.values()):,} requests of {CLIENTS} clients with {KEYS} keys, {kills} kills: {dict(statuses)}"
    )
