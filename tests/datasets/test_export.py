from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.formats.writers import formats_for
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from tests.commands import llmops
from tests.datasets.conftest import Fill, chat, rows_of

TOOLS = {
    "messages": [
        {"role": "user", "content": "w?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "assistant", "content": "Rain."},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}],
}
PICTURE = {
    "messages": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "a.png"}}],
        },
        {"role": "assistant", "content": 'A cat\u2028\x00 it\'s "quoted", 100%;\r\n'},
    ]
}
SETS: dict[str, list[dict[str, Any]]] = {
    "messages": [chat("a", "b", id=1, score=0.5), TOOLS, PICTURE, chat("ü", None, meta={"x": [1, None]}, ok=True)],
    "prompt-completion": [
        {"prompt": "a", "completion": " b"},
        {"prompt": [{"role": "user", "content": "q"}], "completion": "x"},
    ],
    "preference": [{"prompt": "q", "chosen": "a", "rejected": "b", "margin": 1.5}],
    "kto": [{"prompt": "q", "completion": "a", "label": True}, {"prompt": "q", "completion": "b", "label": False}],
    "text": [{"text": "one"}, {"text": "zwei ü"}],
    "tabular": [{"a": 1, "b": "x", "c": 0.25, "d": True, "e": {"x": 1}}, {"a": 2**40, "b": 'it\'s; "b"'}],
}


# Every kind and every container; among the slow tests every kind in every container.
WAYS = [
    pytest.param(kind, name, marks=() if kind == first else pytest.mark.slow)
    for kind in SETS
    for name, first in (
        ("x.jsonl", ""), ("x.parquet", "messages"), ("x.db", "tabular"), ("x.csv", "kto"), ("x.json", "tabular"), ("x.jsonl.gz", "text"),
        ("x.jsonl.zst", "kto"), ("x.tsv", "preference"), ("xhf", "prompt-completion"), ("x.arrow", "preference"), ("x.feather", ""),
    )
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), WAYS)
def test_importing_what_was_exported_gives_the_same_version(
    store: DatasetStore, fill: Fill, tmp_path: Path, kind: str, name: str
) -> None:
    version = fill(SETS[kind], "data", kind)
    for form in formats_for(kind):
        target = tmp_path / f"{form}-{name}"
        try:
            made = export(version, target, form=form)
        except InputRefusedError:
            # What a format cannot hold is refused, not written otherwise.
            assert form in {"alpaca", "sharegpt", "gemini"}
            assert not target.exists()
            continue
        back = import_now(store, [target], "back", form)
        assert made["reads_back"] == (back.sha256 == version.sha256), form
        if name not in {"x.csv", "x.tsv"}:
            assert rows_of(back) == rows_of(version)
            assert made["reads_back"], made["differs"]
        elif form != "tabular":
            # Tables of texts have no types: the messages themselves stay the same all the same.
            column = {"messages": "messages", "text": "text", "preference": "chosen"}.get(kind, "completion")
            assert [r.get(column) for r in rows_of(back)] == [r.get(column) for r in rows_of(version)]


def test_numbers_that_a_file_does_not_have_are_named(store: DatasetStore, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1.5, float("nan"), float("inf")]}), tmp_path / "n.parquet")
    version = import_now(store, [tmp_path / "n.parquet"], "odd", "tabular")
    with pytest.raises(InputRefusedError, match="row 1: n is nan, which SQLite keeps as no value"):
        export(version, tmp_path / "n.db")
    assert export(version, tmp_path / "n.arrow")["reads_back"]
    head = llmops("data", "head", "odd", workspace=store.workspace)
    assert [json.loads(line) for line in head.stdout.splitlines()] == [{"n": 1.5}, {"n": "nan"}, {"n": "inf"}]
    assert "shown as texts: n" in head.stderr


def test_a_file_of_columns_is_not_compressed_again(fill: Fill, tmp_path: Path) -> None:
    for name in ("x.parquet.gz", "x.arrow.zst", "x.db.gz"):
        with pytest.raises(InputRefusedError, match="cannot be compressed"):
            export(fill([{"a": 1}]), tmp_path / name)


def test_alpaca_and_sharegpt_hold_plain_conversations(store: DatasetStore, fill: Fill, tmp_path: Path) -> None:
    version = fill(
        [
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    *chat("a", "b")["messages"],
                    *chat("c", "d")["messages"],
                ],
                "id": 1,
            }
        ],
        "d",
        "messages",
    )
    for form in ("alpaca", "sharegpt"):
        made = export(version, tmp_path / f"{form}.json", form=form)
        assert made["reads_back"], made["differs"]


def test_texts_and_folders_and_the_log_of_llm(store: DatasetStore, fill: Fill, tmp_path: Path) -> None:
    texts = fill([{"text": "one"}, {"text": "two"}], "t", "text")
    assert export(texts, tmp_path / "t.txt")["reads_back"]
    many = fill([{"text": "# A\n\nb\n", "file": "a.md"}, {"text": "c", "file": "deep/b.md"}], "m", "text")
    assert export(many, tmp_path / "folder", file_type="markdown")["reads_back"]
    with pytest.raises(InputRefusedError, match="several lines"):
        export(many, tmp_path / "m.txt")
    talk = fill([{**chat("a", "b"), "conversation_id": "c1", "model": "m"}], "l", "messages")
    assert export(talk, tmp_path / "logs.db", file_type="llm-log")["reads_back"]


def test_nothing_is_written_over_unasked_and_a_failure_leaves_no_file(
    store: DatasetStore, fill: Fill, tmp_path: Path
) -> None:
    version = fill([chat("a", "b")], "d", "messages")
    target = tmp_path / "x.jsonl"
    target.write_text("mine")
    with pytest.raises(InputRefusedError, match="already exists"):
        export(version, target)
    assert target.read_text() == "mine"
    export(version, target, overwrite=True)
    assert "mine" not in target.read_text()
    with pytest.raises(InputRefusedError, match="no folder"):
        export(version, tmp_path / "nowhere" / "x.jsonl")
    unasked = fill([{"messages": [{"role": "tool", "content": "x"}]}], "u", "messages")
    with pytest.raises(InputRefusedError, match="row 0"):
        export(unasked, tmp_path / "y.jsonl", form="alpaca")
    assert {p.name for p in tmp_path.iterdir() if p.is_file() and "x" not in p.name} <= {
        "d.jsonl",
        "u.jsonl",
        "data.jsonl",
    }
