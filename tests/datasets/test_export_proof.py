"""What columns prove of an export, reading the file proves too; what they cannot prove is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_tui.datasets import export_job
from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.export_proof import ExportProof
from llmops_tui.datasets.formats.writers import formats_for
from llmops_tui.datasets.json_text import json_lines
from llmops_tui.datasets.version import DatasetVersion
from tests.datasets.conftest import Fill
from tests.datasets.test_nothing_lost import KINDS, Rows

FEW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_job, "BULK_ROWS", 1)


def proven(version: DatasetVersion, path: Path, form: str) -> bool:
    return export_job._write_columns(version, form, path, lambda _share, _text: None)


@pytest.mark.slow
@FEW
@given(st.integers(0, 10**6), st.sampled_from([*KINDS, "text"]))
def test_nothing_is_proven_that_reading_the_file_denies(fill: Fill, tmp_path: Path, seed: int, kind: str) -> None:
    rows = [{"text": f"{seed}"}, {"text": "a\nb", "n": 2**62}] if kind == "text" else Rows(seed).of(kind, 4)
    version = fill(rows, "rows", kind)
    for form in {kind, "tabular"} & set(formats_for(kind)):
        path = tmp_path / "x.jsonl"
        if proven(version, path, form):
            assert export_job._read_back(version, path, form, "jsonl") == ""


PLAIN: dict[str, list[dict[str, Any]]] = {
    "tabular": [{"n": 1, "x": 0.5, "t": 'a "b"\n\x00ü\u2028', "f": True, "j": [1, {"k": "\\"}]}, {"n": -3, "x": 1.0}, {"t": "", "j": {}}],
    "messages": [{"messages": [{"role": "user", "content": 'say "so"\n😀', "name": "ä"}], "id": 5}, {"messages": []}],
    "prompt-completion": [{"prompt": "p", "completion": "c\t"}, {"prompt": "", "completion": "]"}],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "suffix"), [("tabular", ".gz"), ("messages", ""), ("prompt-completion", "")])
def test_what_is_usual_is_proven_by_columns(fill: Fill, tmp_path: Path, kind: str, suffix: str) -> None:
    version = fill(PLAIN[kind], "rows", kind)
    path = tmp_path / f"x.jsonl{suffix}"
    assert proven(version, path, kind)
    assert export_job._read_back(version, path, kind, "jsonl") == ""


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_rows_without_a_value_in_the_first_column_are_written_however_many_they_are(
    fill: Fill, tmp_path: Path, count: int
) -> None:
    version = fill([{"a": 1, "b": "x"}] + [{"b": "y"}] * count)
    path = tmp_path / "x.jsonl"
    assert proven(version, path, "tabular")
    assert path.read_text() == '{"a":1,"b":"x"}\n' + '{"b":"y"}\n' * count


FAULTS = [
    ("n", "01"),
    ("n", "2"),
    ("x", "0.25"),
    ("x", "nan"),
    ("f", "false"),
    ("t", "a"),
    ("t", '"'),
    ("j", "[1]"),
    ("j", "{"),
]


@pytest.mark.parametrize(
    "rows",
    [
        # JSON of other values than lists and objects may become another type; texts that are lists become messages.
        [{"j": 1}, {"j": "x"}], [{"j": 2**70}, {"j": []}],
    ],
)  # fmt: skip
def test_what_columns_do_not_tell_is_read(fill: Fill, tmp_path: Path, rows: list[Any]) -> None:
    version = fill(rows)
    assert not proven(version, tmp_path / "y.jsonl", "tabular")
    assert export(version, tmp_path / "x.jsonl")["reads_back"]


def test_rows_that_their_format_reads_in_another_way_are_not_proven(fill: Fill, tmp_path: Path) -> None:
    """A table's text that is a list of messages is one to the format of prompts and completions."""
    version = fill([{"prompt": '[{"role": "user", "content": "x"}]', "completion": "so"}] * 2)
    path = tmp_path / "x.jsonl"
    assert proven(version, path, "tabular")
    assert not proven(version, path, "prompt-completion")
    assert export_job._read_back(version, path, "prompt-completion", "jsonl")


@pytest.mark.parametrize("said", ["x", "x" * 3000])
def test_conversations_are_proven_where_their_format_leaves_them_as_they_are(
    fill: Fill, tmp_path: Path, said: str
) -> None:
    """Of short lines and of long ones, which are read in different ways."""
    path = tmp_path / "x.jsonl"
    turns = [{"role": "user", "content": said, "name": "ä"}, {"role": "assistant", "content": f'{said} "so"\n'}]
    version = fill([{"id": 1, "messages": turns}, {"messages": turns[:1], "tags": ["a"]}], "right", "messages")
    assert proven(version, path, "messages")
    assert export_job._read_back(version, path, "messages", "jsonl") == ""
    odd = fill([{"messages": [{"content": said, "role": "user"}]}], "odd")
    assert proven(odd, path, "tabular")
    assert not proven(odd, path, "messages")
    assert export_job._read_back(odd, path, "messages", "jsonl")
    (rows,) = json_lines(version)
    at = [column.name for column in version.columns].index("messages")
    for old, new in (('"role":"user",', '"role":"user","role":"user",'), ('"name":"ä"', '"name":"a"'), ("[", "[ ")):
        texts = list(rows.texts)
        texts[at] = pa.array([text.replace(old, new, 1) for text in texts[at].to_pylist()])
        lines = pa.array([line.replace(old, new, 1) for line in rows.lines.to_pylist()])
        proof = ExportProof(version, "messages")
        proof.take(rows._replace(texts=texts, lines=lines, data=memoryview("".join(lines.to_pylist()).encode())))
        assert proof._good is (new == "[ ")


def test_a_file_that_differs_on_disk_is_not_proven(fill: Fill, tmp_path: Path) -> None:
    version = fill(PLAIN["tabular"])
    path = tmp_path / "x.jsonl"
    proof = ExportProof(version, "tabular")
    with path.open("wb") as file:
        for rows in json_lines(version):
            file.write(rows.data)
            proof.take(rows)
    assert proof.holds(path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole.replace(b"0.5", b"0.6"), whole + b"{}\n"):
        path.write_bytes(damaged)
        assert not proof.holds(path)


def test_a_fault_of_the_writer_is_found(fill: Fill) -> None:
    """Values, lines or both that are not what is stored."""
    version = fill([{"n": 1, "x": 0.5, "t": "b\n", "f": True, "j": [1, 2]}])
    (rows,) = json_lines(version)
    (whole,) = rows.lines.to_pylist()
    assert json.loads(whole) == {"n": 1, "x": 0.5, "t": "b\n", "f": True, "j": [1, 2]}
    for name, text in FAULTS:
        at = [column.name for column in version.columns].index(name)
        texts = [pa.array([text]) if number == at else texts for number, texts in enumerate(rows.texts)]
        line = whole.replace(rows.texts[at][0].as_py(), text, 1)
        for faulty in (
            rows._replace(texts=texts),
            rows._replace(lines=pa.array([line])),
            rows._replace(lines=pa.array([whole[:-1]])),
        ):
            proof = ExportProof(version, "tabular")
            proof.take(faulty)
            assert not proof._good, (name, text)
