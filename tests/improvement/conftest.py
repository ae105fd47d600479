"""A workspace with rows, a prompt, and a model that answers by rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.foreign_text import JsonObject
from llmops_tui.improvement.asked import suite_of_data
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.trust import trust
from tests.improvement.scripted_model import ScriptedModel

Fill = Callable[..., DatasetVersion]


@pytest.fixture
def scripted() -> Iterator[ScriptedModel]:
    model = ScriptedModel()
    yield model
    model.close()


@pytest.fixture
def fill(catalog: Catalog, tmp_path: Path) -> Fill:
    def made(rows: list[dict[str, Any]], name: str = "colours") -> DatasetVersion:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return import_now(DatasetStore(catalog), [path], name, "tabular")

    return made


@pytest.fixture
def plan(catalog: Catalog, scripted: ScriptedModel) -> Callable[..., JsonObject]:
    """A plan for the prompt ``colour`` by a dataset version, with the scripted model."""
    PromptStore(catalog).save("colour", template="Which colour is it?\n{{ text }}")
    trust(catalog.workspace)
    facts = {"models": ["scripted"], "remote_model": "scripted", "lacks": {}, "latency_ms": 1.0}
    ModelRegistry(catalog).add_remote(scripted.url.removesuffix("/v1"), "scripted", facts)  # type: ignore[arg-type]

    def made(data: DatasetVersion, **changes: Any) -> JsonObject:
        suite = suite_of_data("colour", ["text"], data, {"type": "exact"}, paths={}, expected="label")
        body = {
            "prompt": "colour",
            "suite": suite.body,
            "metric": "exact",
            "model": "scripted",
            "ways": ["instructions"],
        }
        return {**body, **changes}

    return made
