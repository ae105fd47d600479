"""A store, and short ways to fill it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.workspace.catalog import Catalog

Fill = Callable[..., DatasetVersion]
REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def store(catalog: Catalog) -> DatasetStore:
    return DatasetStore(catalog)


@pytest.fixture
def fill(store: DatasetStore, tmp_path: Path) -> Fill:
    """Import rows, or raw lines, under a name."""

    def made(rows: list[Any], name: str = "data", form: str = "tabular", **options: Any) -> DatasetVersion:
        path = tmp_path / f"{name}.jsonl"
        lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return import_now(store, [path], name, form, **options)

    return made


def rows_of(version: DatasetVersion) -> list[dict[str, Any]]:
    return [row for batch in version.read() for _, row in batch]


def chat(user: str, assistant: str | None = "fine", **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": user}]
    turns += [{"role": "assistant", "content": assistant}] if assistant is not None else []
    return {"messages": turns, **more}
