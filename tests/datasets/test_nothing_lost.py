"""Rows in are rows out and rows told: of every file, whatever the rows hold."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.formats.writers import formats_for
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.records import dump_json
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from tests.datasets.conftest import Fill, rows_of
from tests.representatives import representatives

TEXTS = [
    "What is 5 + 0?", "What is 5 - 0?", '{"name": "Ann"}', "[]", '[{"role": "user", "content": "x"}]', "", " ", "1", "1.50", "true", "null",
    "ü\u2028\x00\r\n\"quoted\"; it's, 100%\t", "\U0001f600", "你好，世界", "mail ann@example.org or call +49 30 901820", "<|im_start|>", "x" * 300,
    "Polish it", "polish it", "C++", "C#", "<think>so", "ﬁ", 'a,b\n"c', "-0", "1e5", "0123", "NaN",
]  # fmt: skip
FILES = ("x.jsonl", "x.json", "x.parquet", "x.csv", "x.tsv", "x.db", "folder", "x.jsonl.gz")
EXACT = {"x.jsonl", "x.json", "x.parquet", "x.db", "folder", "x.jsonl.gz"}


class Rows:
    """Makes rows of a kind, of a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def of(self, kind: str, count: int) -> list[dict[str, Any]]:
        """Rows, some of which stand there twice."""
        rows = [self._row(kind) for _ in range(count)]
        return [*rows, *(dict(self._chance.choice(rows)) for _ in range(3))]

    def _row(self, kind: str) -> dict[str, Any]:
        row: dict[str, Any] = getattr(self, "_" + kind.replace("-", "_"))()
        more = {
            "id": self._chance.randrange(10**6), "images": ["a.png", self._text()], "score": self._chance.choice([0.1, 1.0, 1e300, -1.5]),
            "mixed": self._chance.choice([1, "1", [1], True, None, 2**70, {"a": None}]), "tags": [], "big": 2**62, "flag": True,
            "meta": {"k": self._text(), "n": 2**70}, "Meta": self._text(),
        }  # fmt: skip
        return row | {name: more[name] for name in self._chance.sample(sorted(more), 3) if more[name] is not None}

    def _text(self) -> str:
        return self._chance.choice(TEXTS)

    def _question(self) -> dict[str, Any]:
        parts = [{"type": "text", "text": self._text()}, {"type": "image_url", "image_url": {"url": self._text()}}]
        return {"role": "user", "content": self._chance.choice([self._text(), parts])}

    def _answer(self) -> dict[str, Any]:
        call = {
            "id": "c1",
            "type": "function",
            "function": {"name": "f", "arguments": self._chance.choice(['{"n": 1}', self._text()])},
        }
        more: dict[str, Any] = self._chance.choice(
            [{}, {}, {"reasoning_content": self._text()}, {"tool_calls": [call]}, {"weight": 0}, {"name": self._text()}]
        )
        content = None if "tool_calls" in more else self._text()
        return {"role": "assistant", "content": content} | more

    def _messages(self) -> dict[str, Any]:
        turns = [{"role": "system", "content": self._text()}] * self._chance.randrange(2)
        for _ in range(self._chance.randrange(1, 3)):
            turns += [self._question(), self._answer()]
        if self._chance.randrange(3) == 0:
            turns.append({"role": "tool", "content": self._text(), "tool_call_id": "c1"})
        tools = {"tools": [{"type": "function", "function": {"name": self._text()}}]}
        return {"messages": turns} | (tools if self._chance.randrange(2) else {})

    def _prompt_completion(self) -> dict[str, Any]:
        if self._chance.randrange(2):
            return {"prompt": self._text(), "completion": self._text()}
        return {"prompt": [self._question()], "completion": [self._answer()]}

    def _preference(self) -> dict[str, Any]:
        if self._chance.randrange(2):
            return {"prompt": self._text(), "chosen": self._text(), "rejected": self._text()}
        return {"prompt": [self._question()], "chosen": [self._answer()], "rejected": [self._answer()]}

    def _kto(self) -> dict[str, Any]:
        made = self._prompt_completion()
        return {**made, "label": bool(self._chance.randrange(2))}

    def _tabular(self) -> dict[str, Any]:
        return {"question": self._text(), "label": self._chance.choice(["a", "b"]), "n": self._chance.randrange(9)}


KINDS = ("messages", "prompt-completion", "preference", "kto", "tabular")


def bag(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(map(dump_json, (dict(sorted(row.items())) for row in rows)))


def check_files(store: DatasetStore, version: DatasetVersion, folder: Path) -> None:
    rows = rows_of(version)
    for form in formats_for(version.kind):
        for name in FILES:
            target = folder / f"{form}-{name}"
            refused: InputRefusedError | None = None
            try:
                made = export(version, target, form=form)
            except InputRefusedError as error:
                # Refused by row, with nothing written.
                refused = error
            if refused is not None:
                # Refused by row, with nothing written.
                assert (refused.code, bool(re.search(r"row \d", refused.message))) == ("row_refused", True), refused
                assert not target.exists()
                assert form not in {version.kind, "tabular"} or name in {"x.db", "x.csv", "x.tsv"}, refused
                continue
            back = import_now(store, [target], "back", form)
            assert back.rows + back.rejected == version.rows, (form, name)
            assert made["reads_back"] == (back.present_hash == version.present_hash), (form, name)
            assert made["reads_back"] or made["differs"]
            if name in EXACT:
                assert made["reads_back"], (form, name, made["differs"])
                assert rows_of(back) == rows


@pytest.mark.parametrize("kind", representatives(KINDS, "messages"))
def test_every_file_gives_the_rows_back_or_says_what_differs(
    store: DatasetStore, fill: Fill, tmp_path: Path, kind: str
) -> None:
    rows = Rows(1).of(kind, 3)
    version = fill(rows, "rows", kind)
    assert version.rows == len(rows)
    assert bag(rows_of(version)) == bag(json.loads(json.dumps(rows)))
    check_files(store, version, tmp_path)
