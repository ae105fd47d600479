"""Where a thing came from and what was made of it, from the raw file to the answer and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.maintenance.lineage import MANY, Node, draw, trace_lineage
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from tests.commands import Llmops


def names(node: Node) -> set[str]:
    """The names of everything below a node."""
    return {child.name for child in node.children} | {name for child in node.children for name in names(child)}


@pytest.fixture
def chain(sample: Workspace, tmp_path: Path) -> Workspace:
    """file → dataset → model → quantized model → answers, and a prompt that was used."""
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(5)))
    catalog, event_log = Catalog(sample), EventLog(sample)
    data = import_now(DatasetStore(catalog), [path], "raw", "text")
    registry = ModelRegistry(catalog)
    base, served = registry.get("support-base-hf"), registry.get("support-base-q4")
    prompt = PromptStore(catalog).save("chained", template="say {{ x }}")[0]
    catalog.write(
        lambda connection: record_edges(connection, output=base.sha256, kind="train", recipe="r", inputs=[data.sha256])
    )
    for number in range(MANY + 5):
        body: dict[str, Any] = {
            "started_at": 1.0 + number,
            "model": served.name,
            "model_sha256": served.sha256,
            "prompt": "chained",
            "prompt_version": prompt.number,
            "messages": [],
            "output": "x",
            "finish_reason": "stop",
            "parameters": {},
        }
        event_log.append("request", f"run_chain{number:03d}", body)
    return sample


def test_an_answer_is_followed_back_to_the_raw_file(chain: Workspace) -> None:
    lineage = trace_lineage(Catalog(chain), EventLog(chain), "run_chain000")
    found = names(lineage.sources)
    assert {"support-base-q4", "support-base-hf", "raw@1", "chained@1"} <= found
    assert any(name.endswith("raw.jsonl") for name in found)
    assert lineage.results.children == []


def test_a_dataset_is_followed_to_the_answers_of_what_was_trained_on_it(chain: Workspace) -> None:
    lineage = trace_lineage(Catalog(chain), EventLog(chain), "raw")
    assert {"support-base-hf", "support-base-q4"} <= names(lineage.results)
    text = "\n".join(branches + line for branches, _, line in draw(lineage))
    assert "and 5 more of kind request" in text
    assert text.index("raw.jsonl") < text.index("dataset raw@1") < text.index("support-base-hf")
    ascii_text = "".join(branches for branches, _, _ in draw(lineage, utf8=False))
    assert ascii_text.isascii()


def test_things_are_found_by_name_version_and_hash(chain: Workspace) -> None:
    catalog, event_log = Catalog(chain), EventLog(chain)
    model = ModelRegistry(catalog).get("support-base-q4")
    for given in ("support-base-q4", model.sha256, model.sha256[:10]):
        assert trace_lineage(catalog, event_log, given).sources.name == "support-base-q4"
    assert trace_lineage(catalog, event_log, "chained@1").sources.kind == "prompt"
    with pytest.raises(NotFoundError):
        trace_lineage(catalog, event_log, "nothing-like-it")
    with pytest.raises(InputRefusedError, match="may be"):
        trace_lineage(catalog, event_log, "run_chain")
    # The sample has a dataset and a prompt of this name.
    with pytest.raises(InputRefusedError, match="dataset:triage@1, prompt:triage@3"):
        trace_lineage(catalog, event_log, "triage")
    assert trace_lineage(catalog, event_log, "dataset:triage").sources.kind == "dataset"
    assert trace_lineage(catalog, event_log, "prompt:triage").sources.name == "triage@3"


def test_a_circle_ends(catalog: Catalog, event_log: EventLog) -> None:
    def work(connection: Any) -> None:
        record_edges(connection, output="aaaa1111", kind="x", recipe="r", inputs=["bbbb2222"])
        record_edges(connection, output="bbbb2222", kind="x", recipe="r", inputs=["aaaa1111"])

    catalog.write(work)
    lineage = trace_lineage(catalog, event_log, "aaaa1111")
    assert lineage.sources.children[0].children[0].again


def test_the_command_line_gives_the_tree(chain: Workspace) -> None:
    told = Llmops(chain).run("lineage", "support-base-q4")
    assert told["sources"][0]["name"] == "support-base-hf"
    assert told["more"] == {"request": 5}
    Llmops(chain).run("lineage", "zzzz", code=3)
