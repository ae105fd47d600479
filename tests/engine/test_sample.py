from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from llmops_tui.prompts.drafts import Drafts
from llmops_tui.prompts.store import PromptStore
from llmops_tui.sample import fill
from llmops_tui.sample_files import sample_folder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


def messages(path: Path) -> tuple[list[list[dict[str, str]]], int]:
    rows, broken = [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line)["messages"])
        except json.JSONDecodeError:
            broken += 1
    return rows, broken


def test_the_models_are_those_whose_checksums_are_kept() -> None:
    folder = sample_folder() / "models"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert len(lines) >= 8
    for line in lines:
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert sum(p.stat().st_size for p in folder.rglob("*")) < 20_000_000


def test_the_triage_data_has_the_rows_and_the_flaws_it_says() -> None:
    folder = sample_folder() / "datasets"
    train, broken = messages(folder / "triage-train.jsonl")
    test, none = messages(folder / "triage-test.jsonl")
    assert (len(train), broken, len(test), none) == (2000, 3, 300, 0)
    texts = [m[1]["content"] for m in train]
    assert len(texts) - len(set(texts)) == 40
    assert not set(texts) & {m[1]["content"] for m in test}
    assert any("@example.com" in t for t in texts)
    assert any(re.search(r"\+49 30 5550", t) for t in texts)
    for row in test:
        assert set(json.loads(row[2]["content"])) == {"intent", "urgency", "product"}


def test_filling_twice_changes_nothing(sample: Workspace) -> None:
    store = PromptStore(Catalog(sample))
    before = [v.ref for p in store.summaries() for v in store.versions(p.name)]
    Drafts(EventLog(sample)).save("support", Drafts(EventLog(sample)).load("triage"))  # type: ignore[arg-type]
    fill(sample)
    assert [v.ref for p in store.summaries() for v in store.versions(p.name)] == before
    assert Drafts(EventLog(sample)).load("support") == Drafts(EventLog(sample)).load("triage")
