"""A workspace with seeds, and a writer that answers what a test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.synthesis.attempts import Attempt
from llmops_tui.synthesis.tasks import Task
from llmops_tui.workspace.catalog import Catalog

Answer = Callable[[Task], Attempt]
Fill = Callable[..., DatasetVersion]


@pytest.fixture
def store(catalog: Catalog, model_file: Path) -> DatasetStore:
    ModelRegistry(catalog).add(model_file, "small")
    return DatasetStore(catalog)


@pytest.fixture
def fill(store: DatasetStore, tmp_path: Path) -> Fill:
    def made(rows: list[dict[str, Any]], name: str = "seeds", form: str = "tabular") -> DatasetVersion:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return import_now(store, [path], name, form)

    return made


class Context:
    """What a job's function is given."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.workspace, self.folder, self.job_id = catalog.workspace, folder, "job_1"
        self.asked: list[int] = []

    def report(self, share: float, message: str = "") -> None:
        assert 0 <= share <= 1

    def check(self) -> None:
        """Nobody cancels."""


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Context, Answer], None]:
    """Have the job's model answer; what it was asked for is noted in the context."""

    def install(context: Context, answer: Answer) -> None:
        class Writer:
            async def attempt(self, task: Task) -> Attempt:
                context.asked.append(task.number)
                return answer(task)

        @asynccontextmanager
        async def opened(*_: object) -> AsyncIterator[tuple[Any, Any]]:
            yield Writer(), SimpleNamespace(cache=SimpleNamespace(flush=lambda: None))

        monkeypatch.setattr("llmops_tui.synthesis.job.opened", opened)

    return install


def says(task: Task, text: str | None = None) -> Attempt:
    """An answer of the built-in kind."""
    said = f"text number {task.number} has words of its own {task.number * 7919}" if text is None else text
    return Attempt(task.number, json.dumps({"text": said}), finish="stop", prompt_tokens=10, completion_tokens=5)
