"""Few-shot examples of an earlier release, which kept no hash of its turns: what says that they are rows of a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.prompt_examples import settings_of_text
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops


@pytest.fixture
def datasets(workspace: Workspace, catalog: Catalog, tmp_path: Path) -> DatasetStore:
    rows = tmp_path / "faq.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"q{n}", "completion": f"a{n}"}) + "\n" for n in range(3)))
    Llmops(workspace).run("data", "import", str(rows), "--name", "faq")
    return DatasetStore(catalog)


def _of_before(datasets: DatasetStore, answer: str = "a1", **changes: Any) -> str:
    examples = {
        "dataset": "faq@1", "sha256": datasets.get("faq@1").sha256, "rows": [1], "question": "prompt", "answer": "completion",
        "turns": [{"question": "q1", "answer": answer}], **changes,
    }  # fmt: skip
    return json.dumps({"examples": examples})


def test_what_is_as_in_the_rows_is_proven_and_what_was_edited_names_none(datasets: DatasetStore) -> None:
    def kept(text: str) -> Any:
        found = settings_of_text(text, "here", datasets)
        assert found is not None
        return found.examples

    whole = kept(_of_before(datasets))
    assert (whole.dataset, whole.rows, len(whole.turns_sha256), whole.brief()) == (
        "faq@1",
        (1,),
        64,
        "1 example of faq@1",
    )
    for text in (
        _of_before(datasets, "edited"),
        _of_before(datasets, rows=[2]),
        _of_before(datasets, sha256="0" * 64),
        _of_before(datasets, question="gone"),
    ):
        edited = kept(text)
        assert (edited.dataset, edited.sha256, edited.rows, edited.brief()) == ("", "", (), "1 example")
        assert edited.turns[0].question == "q1"


def test_the_lineage_has_what_is_proven_alone(datasets: DatasetStore, catalog: Catalog) -> None:
    from llmops_tui.inference.answer_settings import read_settings

    store, digest = PromptStore(catalog), datasets.get("faq@1").sha256

    def sources(name: str, settings: Any) -> list[str]:
        version, _ = store.save(name, template="{{ q }}", settings=settings)
        rows = catalog.read(
            lambda db: db.execute("SELECT input FROM lineage WHERE output = ?", [version.sha256]).fetchall()
        )
        return [row[0] for row in rows]

    claimed = read_settings(json.loads(_of_before(datasets, "edited")), "here")
    assert claimed is not None
    assert claimed.examples is not None
    assert claimed.examples.brief() == "1 example said to be of faq@1"
    assert digest not in sources("old", claimed)
    assert digest in sources("new", settings_of_text(_of_before(datasets), "here", datasets))
