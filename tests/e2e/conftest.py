"""The real app on a sample workspace, with a fake model server that it finds as it finds a real one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.terminal import Terminal, registered_state
from tests.fakes import FakeModelServer

# QLoRA, as long as a test looks at it.
_LONG = {
    "base": "support-base-hf", "data": ["few"], "max_steps": 5000, "epochs": 1000, "gradient_checkpointing": False,
    "lora": {"rank": 2}, "batch": {"size": 1, "accumulation": 1, "max_length": 64}, "trackers": [],
    "evaluation": {"share": 0.0}, "checkpoints": {"every": 5000},
}  # fmt: skip
OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(sample: Workspace) -> Iterator[OpenTerminal]:
    opened: list[Terminal] = []

    def start(*arguments: str, size: tuple[int, int] = (120, 40), env: dict[str, str] | None = None) -> Terminal:
        opened.append(Terminal(*(arguments or ("--workspace", str(sample.root))), size=size, env=env))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def found_server(sample: Workspace) -> Iterator[FakeModelServer]:
    """A fake server registered as that of the sample model, in this process."""
    with tempfile.TemporaryDirectory(prefix="fake") as folder:
        server = FakeModelServer(Path(folder) / "s", ["Hel", "lo ", "wor", "ld."], EventLog(sample))
        handle = server.handle
        sha256 = ModelRegistry(Catalog(sample)).get("support-base").sha256
        state = registered_state(sample.root, "support-base")
        state.parent.mkdir(parents=True)
        options = {"model": "support-base", "sha256": sha256, "socket": handle.socket, "key": "key"}
        state.write_text(json.dumps({"pid": handle.process.pid, "started": handle.process.started, "options": options}))
        yield server
        state.unlink(missing_ok=True)
        server.close()


@pytest.fixture
def store(sample: Workspace) -> RunStore:
    """The runs of the sample workspace, with the recipe ``long``."""
    found = RunStore(sample)
    rows = [row for batch in found.datasets.get("triage").read(limit=40) for _, row in batch]
    file = sample.root / "few.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    import_now(found.datasets, [file], "few", "messages")
    found.save_recipe(check({"name": "long"} | _LONG))
    return found
