"""A server that is killed in the middle of two hundred clients: no key comes over its limit by one token."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.report import reports
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import HI, PROMPT, SAID
from tests.engine.test_guard import free_port

ROOT = Path(__file__).resolve().parents[2]
LIMIT, CLIENTS, ATTEMPTS = 6000, 200, 12


class Child:
    """The server, started again after it was killed."""

    def __init__(self, workspace: Workspace, port: int) -> None:
        self._command = [sys.executable, "-m", "tests.access.served", str(workspace.root), str(port)]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(self._command, cwd=ROOT, env=os.environ.copy(), stderr=subprocess.DEVNULL)
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
async def test_limits_outlive_kills(workspace: Workspace) -> None:
    store = KeyStore(EventLog(workspace))
    keys = [store.create(f"key {n}", Scope(tokens_per_day=LIMIT, requests_per_day=10_000)) for n in range(4)]
    port, began = free_port(), time.time()
    child = Child(workspace, port)
    used: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    kills = 0
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False, timeout=300, limits=limits) as http:

        async def client(number: int) -> None:
            key = keys[number % len(keys)]
            headers = {"Authorization": f"Bearer {key.secret}"}
            done = 0
            while done < ATTEMPTS:
                body = {"messages": HI, "max_tokens": SAID}
                try:
                    answer = await http.post("/v1/chat/completions", json=body, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                done += 1
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    used[key.key.name] += answer.json()["usage"]["total_tokens"]

        async def killer() -> None:
            nonlocal kills
            for answered in (100, 250, 400):
                while statuses[200] < answered:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(child.kill)
                kills += 1
                child.start()

        try:
            killing = asyncio.create_task(killer())
            await asyncio.gather(*map(client, range(CLIENTS)))
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        finally:
            child.kill()
    assert (kills, set(statuses)) == (3, {200, 429})
    given_back = LIMIT * (time.time() - began) / 86_400
    for report in reports(store):
        mine = used[report.key.name]
        # Whose answer was lost with the server counts as well, in full.
        assert mine <= LIMIT + given_back
        # At most all that were under way were lost with it each time.
        assert mine >= LIMIT - 3 * CLIENTS // len(keys) * (PROMPT + SAID) - PROMPT - SAID
        noted = report.prompt_tokens + report.completion_tokens
        assert mine <= noted <= LIMIT + given_back
        left = next(one.left for one in report.standings if one.unit == "tokens")
        assert left + noted <= LIMIT + given_back
        assert noted % (PROMPT + SAID) == 0
