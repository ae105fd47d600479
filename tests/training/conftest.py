"""Runs of the sample, driven as a user drives them, and what is asked of their results."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests import commands
from tests.waiting import may_wait


class Llmops(commands.Llmops):
    """The command line, and runs waited for."""

    def wait(self, run: str, *states: str, seconds: float = 600) -> dict[str, Any]:
        """Wait until a run is in one of these states."""
        # Not through the command line: starting it twice a second would take half of what the trainer has.
        store = RunStore(self.workspace)
        begun = time.monotonic()
        while True:
            state = store.state(store.get(run))
            if state.state in states:
                shown: dict[str, Any] = self.run("train", "show", run)
                return shown
            assert may_wait(begun, seconds), state
            assert state.state not in {"failed", "killed", "lost"}, state
            time.sleep(0.1)


@pytest.fixture
def llmops(sample: Workspace) -> Llmops:
    """The command line on a workspace filled with the sample."""
    return Llmops(sample)


def exact_share(workspace: Workspace, model: str, limit: int | None = None) -> float:
    """Share of the triage test rows, or of the first of them, that a served model answers exactly, greedily."""
    catalog = Catalog(workspace)
    rows = [row["messages"] for batch in DatasetStore(catalog).get("triage-test").read() for _, row in batch][:limit]
    endpoint = open_endpoint(ServerSupervisor(workspace), ModelRegistry(catalog).get(model))

    async def ask() -> int:
        limit = asyncio.Semaphore(4)
        async with ModelClient(endpoint) as client:

            async def one(messages: list[dict[str, Any]]) -> bool:
                async with limit:
                    body = {"messages": messages[:-1], "temperature": 0, "max_tokens": 64, "model": model}
                    answer = await client.complete("/v1/chat/completions", body)
                return bool(answer["choices"][0]["message"]["content"].strip() == messages[-1]["content"].strip())

            return sum(await asyncio.gather(*(one(messages) for messages in rows)))

    return asyncio.run(ask()) / len(rows)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
