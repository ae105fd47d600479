from __future__ import annotations

import csv
import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from llmops_tui.datasets import import_job
from llmops_tui.datasets.import_job import import_now, run_import, start_arguments
from llmops_tui.datasets.import_preview import preview
from llmops_tui.datasets.raw import RawFile
from llmops_tui.datasets.rejects import read_rejects
from llmops_tui.datasets.sources import json_lines, json_tables
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.worker import JobCancelledError
from tests.datasets.conftest import Fill, chat, rows_of

ROWS = [{"n": 1, "t": "a"}, {"n": 2, "t": "ü"}]


def lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


def test_json_lines_compressed_or_not_give_the_same_content(store: DatasetStore, tmp_path: Path) -> None:
    data = lines(ROWS)
    files = {
        "a.jsonl": data,
        "b.jsonl.gz": gzip.compress(data),
        "c.jsonl.zst": zstandard.compress(data),
        "d.json": json.dumps(ROWS).encode(),
        "e.json": json.dumps({"data": ROWS}).encode(),
        "f.jsonl": b"\xef\xbb\xbf" + data,
        "g.json": data,
    }
    hashes = set()
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
        version = import_now(store, [tmp_path / name], name[0], "tabular")
        assert rows_of(version) == ROWS, name
        hashes.add(version.sha256)
    assert len(hashes) == 1


def test_csv_and_tsv_keep_texts_that_only_look_like_numbers(store: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'id,zip,price,note\n1,01234,1.50,"a ""quoted"", word"\n2,99999,2.25,"two\nlines"\n3,,,\n'
    )
    version = import_now(store, [tmp_path / "a.csv"], "a", "tabular")
    assert {c.name: c.type for c in version.columns} == {
        "id": "integer",
        "zip": "text",
        "price": "text",
        "note": "text",
    }
    assert rows_of(version)[:2] == [
        {"id": 1, "zip": "01234", "price": "1.50", "note": 'a "quoted", word'},
        {"id": 2, "zip": "99999", "price": "2.25", "note": "two\nlines"},
    ]
    assert rows_of(version)[2] == {"id": 3}


def test_ragged_and_broken_records_of_a_csv_are_set_apart(store: DatasetStore, tmp_path: Path) -> None:
    raw = b'a,b\n1,2\n1,2,3\n4\n\xff\xfe,x\n5,6\n"never closed,7\n'
    (tmp_path / "a.csv").write_bytes(raw)
    version = import_now(store, [tmp_path / "a.csv"], "a", "tabular")
    assert rows_of(version) == [{"a": 1, "b": 2}, {"a": 5, "b": 6}]
    rejects = read_rejects(store.workspace, version)
    assert [r.line for r in rejects] == [3, 4, 5, 7]
    assert rejects[2].raw == b"\xff\xfe,x\n"
    assert "cells" in rejects[0].reason
    assert "UTF-8" in rejects[2].reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"a": "\xff"}', "UTF-8"), (b'{"a": ', "end"), (b"not json", "JSON|invalid|expected|unexpected"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"), (b'{"a": {"b": 1, "b": 2}}', "'b' occurs twice"),
        (b'{"a": "\\ud800"}', "surrogate"), (b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "nested"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "nested"), (b"[1, 2]", "not an object"), (b'{"a": NaN}', "column"),
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_a_bad_line_is_kept_apart_with_its_number_reason_and_bytes(
    store: DatasetStore, fill: Fill, raw: bytes, reason: str
) -> None:
    version = fill([{"a": 1}, raw, {"a": 3}, b""])
    assert [r["a"] for r in rows_of(version)] == [1, 3]
    assert version.rejected == 1
    (found,) = read_rejects(store.workspace, version)
    assert found.line == 2
    assert found.raw == raw
    assert found.offset == 9
    import re

    assert re.search(reason, found.reason), found.reason


@pytest.mark.parametrize("size", [1 << 26, pytest.param(1 << 30, marks=pytest.mark.slow)])
def test_a_line_of_a_gigabyte_is_set_apart_in_bounded_memory(store: DatasetStore, tmp_path: Path, size: int) -> None:
    import resource

    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": 1}\n{"a": "')
        file.seek(size)
        file.write(b'"}\n{"a": 3}\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    version = import_now(store, [path], "huge", "tabular")
    assert rows_of(version) == [{"a": 1}, {"a": 3}]
    (found,) = read_rejects(store.workspace, version)
    assert (found.line, found.offset) == (2, 9)
    assert found.length == size + 2 - 9
    assert len(found.raw) == 1 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000
    with RawFile(path) as raw:
        shown = raw.lines(1, 2)
        assert "too many" in shown[0].problem
        assert shown[1].text == '{"a": 3}'


def test_numbers_stay_whole_and_late_changes_of_type_keep_every_value(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "BATCH_BYTES", 64)
    rows: list[dict[str, Any]] = [{"a": n, "b": n} for n in range(50)]
    rows += [{"a": "late", "b": 1.5}, {"a": 2**80, "b": None}, {"a": {"x": 12345678901234567890123}, "b": 2**53}]
    version = fill(rows)
    assert {c.name: c.type for c in version.columns} == {"a": "json", "b": "number"}
    got = rows_of(version)
    assert [r["a"] for r in got] == [r["a"] for r in rows]
    assert got[51].get("b") is None
    assert got[52]["b"] == 2**53


def test_a_type_that_changes_in_a_later_part_is_told_the_same(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmops_tui.datasets.sources import json_lines

    rows = [{"a": n} for n in range(300)] + [{"a": "x", "new": True}]
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(rows))
    whole = import_now(store, [path], "whole", "tabular")
    monkeypatch.setattr(json_lines, "BATCH_BYTES", 200)
    cut = import_now(store, [path], "cut", "tabular")
    assert len(list(whole.folder.glob("part-*"))) == 1
    assert rows_of(cut) == rows
    assert cut.sha256 == whole.sha256


@pytest.mark.slow
def test_five_thousand_different_keys_are_all_kept(fill: Fill) -> None:
    rows = [{f"key{n}": n, "id": n} for n in range(5000)]
    version = fill(rows)
    assert len(version.columns) <= 201
    assert rows_of(version) == rows


def test_names_that_cannot_be_columns_are_kept(fill: Fill) -> None:
    rows = [{"A": 1, "a": 2, "": 3, "_row": 4, 'we"ird; name': 5, "nul\0": 6}]
    assert rows_of(fill(rows)) == rows


def test_a_path_with_quotes_is_fine_and_files_without_a_record_are_refused(store: DatasetStore, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s; drop table "x"'
    folder.mkdir()
    (folder / "a'b;.jsonl").write_bytes(lines(ROWS))
    assert rows_of(import_now(store, [folder / "a'b;.jsonl"], "q", "tabular")) == ROWS
    pq.write_table(pa.table({"a": pa.nulls(0, pa.string())}), folder / "zero.parquet")
    empty = {"empty.jsonl": b"", "blank.jsonl": b"\n \n", "head.csv": b"a,b\n", "list.json": b"[]"}
    for name, data in empty.items():
        (folder / name).write_bytes(data)
    for name in (*empty, "zero.parquet"):
        with pytest.raises(InputRefusedError, match=rf"there is no record in .*{name}") as refused:
            import_now(store, [folder / name], "empty", "tabular")
        assert (refused.value.code, bool(refused.value.hint)) == ("nothing_imported", True)
    assert list(store.logs()) == ["q"]
    # Beside one that has some it is no more than an empty one.
    assert rows_of(import_now(store, [folder / "a'b;.jsonl", folder / "empty.jsonl"], "both", "tabular")) == ROWS


@pytest.mark.parametrize("name", ["a.parquet", "a.db", "a.json", "a.arrow"])
def test_a_damaged_file_is_refused_with_what_to_do(store: DatasetStore, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PAR1" + b"\0" * 200)
    with pytest.raises(InputRefusedError) as caught:
        preview(store, [path])
    assert caught.value.hint


def test_a_truncated_parquet_is_refused(store: DatasetStore, fill: Fill, tmp_path: Path) -> None:
    version = fill([{"a": n} for n in range(1000)])
    whole = version.files[0].read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputRefusedError, match="not a complete Parquet file"):
        import_now(store, [tmp_path / "cut.parquet"], "cut", "tabular")
    assert not [p for p in store.workspace.datasets.iterdir() if p.name.startswith(".staging")]


def test_texts_folders_sqlite_and_the_log_of_llm(store: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one\n\ntwo\nthree\n")
    assert [r["text"] for r in rows_of(import_now(store, [tmp_path / "t.txt"], "t", "text"))] == ["one", "two", "three"]
    paragraphs = import_now(store, [tmp_path / "t.txt"], "p", "text", unit="paragraph")
    assert [r["text"] for r in rows_of(paragraphs)] == ["one", "two\nthree"]
    notes = tmp_path / "notes"
    (notes / "deep").mkdir(parents=True)
    (notes / "a.md").write_text("# A\n")
    (notes / "deep" / "b.md").write_text("# B\n")
    assert rows_of(import_now(store, [notes], "notes", "text")) == [
        {"text": "# A\n", "file": "a.md"},
        {"text": "# B\n", "file": "deep/b.md"},
    ]
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE one (a INTEGER, b TEXT, c BLOB)")
    connection.execute("INSERT INTO one VALUES (1, 'x', x'ff00'), (2, NULL, NULL)")
    connection.execute("CREATE TABLE two (a)")
    connection.commit()
    with pytest.raises(InputRefusedError, match="2 tables"):
        preview(store, [tmp_path / "x.db"])
    assert rows_of(import_now(store, [tmp_path / "x.db"], "x", "tabular", table="one"))[0] == {
        "a": 1,
        "b": "x",
        "c": {"base64": "/wA="},
    }
    log = sqlite3.connect(tmp_path / "logs.db")
    log.execute("CREATE TABLE conversations (id, name, model)")
    log.execute("CREATE TABLE responses (id, model, prompt, system, response, conversation_id, datetime_utc)")
    log.execute(
        "INSERT INTO responses VALUES ('1','m','hi','be kind','hello','c1','2026'), ('2','m','more','be kind','ok','c1','2026')"
    )
    log.commit()
    (row,) = rows_of(import_now(store, [tmp_path / "logs.db"], "log", "messages"))
    assert [m["content"] for m in row["messages"]] == ["be kind", "hi", "hello", "more", "ok"]


def test_the_mapping_of_a_table_is_kept_for_the_next_with_these_columns(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["frage", "antwort"], ["a", "b"]])
    assert preview(store, [path]).kept_mapping == {}
    version = import_now(store, [path], "q", "tabular", mapping={"user": "frage", "assistant": "antwort"})
    assert version.kind == "messages"
    assert preview(store, [path]).kept_mapping == {"user": "frage", "assistant": "antwort"}


class _Stopping:
    """The context of a job that is stopped after so many reports."""

    def __init__(self, store: DatasetStore, folder: Path, after: int) -> None:
        self.workspace = store.workspace
        self.folder = folder
        self._left = after
        folder.mkdir(exist_ok=True)

    def report(self, _share: float, _message: str = "") -> None:
        self._left -= 1
        if self._left == 0:
            raise JobCancelledError


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_an_import_goes_on_where_it_was_stopped(
    store: DatasetStore, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmops_tui.datasets.sources import json_lines

    rows = [chat(f"question {n}", id=n) for n in range(400)]
    path = tmp_path / "a.jsonl"
    raw = [json.dumps(r).encode() for r in rows]
    raw[100] = b"broken"
    raw[300] = b"{"
    path.write_bytes(b"\n".join(raw) + b"\n")
    whole = import_now(store, [path], "whole", "messages")
    monkeypatch.setattr(json_lines, "BATCH_BYTES", 4000)
    arguments = start_arguments([path], "stopped", "messages")
    with pytest.raises(JobCancelledError):
        run_import(_Stopping(store, tmp_path / "job", after), **arguments)  # type: ignore[arg-type]
    result = run_import(_Stopping(store, tmp_path / "job", -1), **arguments)  # type: ignore[arg-type]
    assert result["sha256"] == whole.sha256
    assert result["rejected"] == 2
    assert [r.line for r in read_rejects(store.workspace, store.get("stopped"))] == [101, 301]


@pytest.mark.parametrize(
    ("way", "packed"),
    [
        ("copied", False),
        ("line", True),
        *(
            pytest.param(*given, marks=pytest.mark.slow)
            for given in (("copied", True), ("line", False), ("columns", False))
        ),
    ],
)
def test_an_import_goes_on_behind_the_parts_that_were_written(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, packed: bool
) -> None:
    data = b"".join(json.dumps(chat(f"question {n}", f"ä {n}" * 9, id=n)).encode() + b"\n" for n in range(400))
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(data) if packed else data)
    whole = import_now(store, [path], "whole", "messages")
    monkeypatch.setattr(json_lines, "BATCH_BYTES", 4000)
    monkeypatch.setattr(import_job, "_PART_BYTES", 10_000)
    monkeypatch.setattr(json_tables, "BULK_BYTES", 1 << 60 if way == "line" else 1)
    monkeypatch.setattr(json_lines, "_COPIED_LINE", 1 if way == "copied" else 1 << 60)
    arguments = start_arguments([path], "stopped", "messages")
    with pytest.raises(JobCancelledError):
        run_import(_Stopping(store, tmp_path / "job", 10), **arguments)  # type: ignore[arg-type]
    state = json.loads((tmp_path / "job" / "import.json").read_text())
    # Parts are written meanwhile: the last may not be noted yet.
    assert 1 <= len(state["parts"]) <= 3
    assert state["position"] >= 10_000
    assert data[state["position"] - 1] == ord("\n")
    read = mock.Mock(wraps=json_lines._parse_lines)
    monkeypatch.setattr(json_lines, "_parse_lines", read)
    result = run_import(_Stopping(store, tmp_path / "job", -1), **arguments)  # type: ignore[arg-type]
    assert (result["sha256"], result["rows"]) == (whole.sha256, 400)
    assert bool(read.call_count) == (way == "line")


def test_any_line_of_a_file_is_found_at_once_and_bad_bytes_are_shown_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    raw = [json.dumps({"n": n, "pad": "x" * (n % 50)}).encode() for n in range(5000)]
    raw[3000] = b'{"a": "\xff\xfe"}'
    path.write_bytes(b"\n".join(raw))
    with RawFile(path) as file:
        assert file.lines(0, 2)[1].text == raw[1].decode()
        middle = file.lines_at(path.stat().st_size // 2, 1)[0]
        assert not middle.exact
        file.index()
        assert file.lines_known == 5000
        for number in (0, 63, 64, 65, 2999, 4999):
            (line,) = file.lines(number, 1)
            assert line.number == number + 1
            assert line.exact
            assert file.lines_at(line.offset + 1, 1)[0].number == number + 1
        (bad,) = file.lines(3000, 1)
        assert bad.bad_bytes == (7, 8)
        assert bad.text == '{"a": "⟨FF⟩⟨FE⟩"}'
        assert bad.problem
        assert file.lines(5000, 1) == []
