"""Files as they come: compressed, cut, encoded otherwise, of other kinds, with a quote too many."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.import_preview import preview
from llmops_tui.datasets.sources.discovery import find_sources
from llmops_tui.datasets.sources.streams import open_stream
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from tests.commands import llmops
from tests.datasets.conftest import rows_of

CHANCE = random.Random(7)
ROWS = [{"text": f"row {n} {CHANCE.random()}", "n": n} for n in range(2000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}


def test_compressed_files_are_read_whatever_they_are_called(store: DatasetStore, tmp_path: Path) -> None:
    for kind, compress in COMPRESSED.items():
        for name in (f"rows.jsonl.{kind}", f"{kind}.jsonl"):
            path = tmp_path / name
            # Several streams behind one another are one file.
            path.write_bytes(compress(LINES[:5000]) + compress(LINES[5000:]))
            version = import_now(store, [path], f"from-{kind}", "tabular")
            assert rows_of(version) == ROWS
            assert version.rejected == 0


@pytest.mark.parametrize("kind", ["xz", "bz2"])
def test_few_bytes_that_stand_for_many_are_read_in_pieces(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(COMPRESSED[kind](bytes(3 << 20) + b"x\n") + COMPRESSED[kind](b"y\n"))
    with open_stream(path) as stream:
        raw = stream.raw  # type: ignore[attr-defined]
        pieces = list(iter(raw._inner.read, b""))
    assert max(map(len, pieces)) <= 1 << 18
    assert b"".join(pieces) == bytes(3 << 20) + b"x\ny\n"


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_cut_compressed_file_is_refused(store: DatasetStore, tmp_path: Path, kind: str) -> None:
    whole = COMPRESSED[kind](LINES)
    path = tmp_path / f"rows.jsonl.{kind}"
    for length in (len(whole) - 1, len(whole) // 2, 20):
        path.write_bytes(whole[:length])
        with pytest.raises(InputRefusedError, match=r"truncated|damaged"):
            import_now(store, [path], "cut", "tabular")
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * 64 + whole[len(whole) // 2 + 64 :])
    with pytest.raises(InputRefusedError, match=r"truncated|damaged"):
        import_now(store, [path], "spoilt", "tabular")
    assert store.logs() == {}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_what_stands_behind_compressed_data_is_not_passed_over(store: DatasetStore, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.jsonl.{kind}"
    path.write_bytes(COMPRESSED[kind](LINES) + b"and more")
    with pytest.raises(InputRefusedError, match="damaged"):
        import_now(store, [path], "more", "tabular")
    if kind != "zst":
        # What fills the last block of a tape.
        path.write_bytes(COMPRESSED[kind](LINES) + bytes(5000))
        assert rows_of(import_now(store, [path], "zeros", "tabular")) == ROWS


def test_encodings_are_read_or_named(store: DatasetStore, tmp_path: Path) -> None:
    rows = [{"text": "Grüße, 日本語, 😀"}, {"text": "zweite Zeile"}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = tmp_path / "rows.jsonl"
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        path.write_bytes(text.encode(encoding))
        assert rows_of(import_now(store, [path], encoding, "tabular")) == rows
    path.write_bytes(text.encode("utf-16-le"))
    with pytest.raises(InputRefusedError, match="NUL"):
        preview(store, [path])
    assert rows_of(import_now(store, [path], "le", "tabular", encoding="utf-16-le")) == rows
    path.write_bytes("name,Größe\nMüller,5\n".encode("latin-1"))
    csv = path.rename(tmp_path / "rows.csv")
    with pytest.raises(InputRefusedError, match="not valid UTF-8"):
        import_now(store, [csv], "latin", "tabular")
    latin = import_now(store, [csv], "latin", "tabular", encoding="latin-1")
    assert rows_of(latin) == [{"name": "Müller", "Größe": 5}]
    assert latin.recipe.parameters["encoding"] == "latin-1"
    csv.write_bytes(b"a\n\xff\n")
    with pytest.raises(InputRefusedError, match="not ascii: about byte 2"):
        import_now(store, [csv], "ascii", "tabular", encoding="ascii")
    with pytest.raises(InputRefusedError, match="no text encoding 'base64'"):
        find_sources(csv, encoding="base64")


def foreign_files(folder: Path) -> dict[str, str]:
    """Files that are no datasets, and a word by which each is named."""
    made = {
        "a.jsonl": (b"GGUF\x03\0\0\0", "GGUF"),
        "b.txt": (b"\x89PNG\r\n\x1a\n\0\0", "PNG"),
        "c.csv": (b"%PDF-1.7\nonly letters", "PDF"),
        "d.json": (pickle.dumps({"a": 1}), "pickle"),
        "e": (b"\x7fELF\x02\x01\x01\0", "program"),
        "f.txt": (b"one\0two\n", "NUL"),
        "g.npy": (b"\x93NUMPY\x01\0", "NumPy"),
        "h.safetensors": ((40).to_bytes(8, "little") + b'{"__metadata__": {}}' + b" " * 20 + b"\0\1", "safetensors"),
    }
    for name, (data, _) in made.items():
        (folder / name).write_bytes(data)
    words = {name: word for name, (_, word) in made.items()}
    for name, members, word in (
        ("i.xlsb", ["[Content_Types].xml", "xl/workbook.bin"], "Excel"),
        ("j.docx", ["word/document.xml"], "Word"),
        ("l.pt", ["archive/data.pkl"], "pickle"),
    ):
        with zipfile.ZipFile(folder / name, "w") as file:
            for member in members:
                file.writestr(member, "{}")
        words[name] = word
    with tarfile.open(folder / "m.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("rows.bin"), io.BytesIO(b""))
    return words | {"m.tar": "rows.bin"}


def test_what_a_file_needs_first_is_said(store: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(gzip.compress(b"a,b\n1,2\n")))
    with pytest.raises(InputRefusedError, match="compressed twice: with gzip, and that with gzip"):
        preview(store, [tmp_path / "a.csv.gz"])
    (tmp_path / "b.csv").write_bytes(b"a,b\r1,2\r3,4\r")
    with pytest.raises(InputRefusedError, match="carriage returns stand in it"):
        preview(store, [tmp_path / "b.csv"])


def test_files_of_other_kinds_are_refused_by_name(store: DatasetStore, tmp_path: Path) -> None:
    for name, word in foreign_files(tmp_path).items():
        with pytest.raises(InputRefusedError, match=word) as told:
            preview(store, [tmp_path / name])
        assert told.value.hint, name
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputRefusedError, match="pipe"):
        preview(store, [tmp_path / "pipe"])


@pytest.mark.parametrize("start", ["ORC", "RIFF", "GGUF", "MZ", "Obj", "ID3", "BZ and so on"])
def test_a_text_may_begin_as_another_kind_does(store: DatasetStore, tmp_path: Path, start: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{start} is a word\n")
    assert rows_of(import_now(store, [path], "words", "text")) == [{"text": f"{start} is a word"}]


def test_json_is_known_by_what_it_is(store: DatasetStore, tmp_path: Path) -> None:
    def imported(name: str, text: str) -> DatasetVersion:
        (tmp_path / name).write_text(text)
        return import_now(store, [tmp_path / name], "j", "tabular")

    rows = [{"a": 1, "b": [{"c": 2}]}, {"a": 2, "b": [{"c": 3}]}]
    for name in ("a.jsonl", "b.json", "c", "d.ndjson"):
        assert rows_of(imported(name, json.dumps(rows, indent=2))) == rows
        assert rows_of(imported(name, "".join(json.dumps(row) + "\n" for row in rows))) == rows
    # One line is a line, where the name says lines.
    assert rows_of(imported("one.jsonl", json.dumps(rows[0]))) == rows[:1]
    with pytest.raises(InputRefusedError) as refused:
        imported("several.jsonl", "".join(json.dumps(row, indent=2) + "\n" for row in rows))
    assert "follows its end" in refused.value.told
    assert "one per line" in refused.value.told
    assert ".jsonl." not in refused.value.told.partition("follows")[2]
    (tmp_path / "blank.jsonl").write_bytes(b'{"a": 1}\r\n\r\n{"a": 2}\r\n \n')
    assert (
        len(preview(store, [tmp_path / "blank.jsonl"]).rows),
        preview(store, [tmp_path / "blank.jsonl"]).rejects,
    ) == (2, ())
    with pytest.raises(InputRefusedError, match=r"none of 2 records .* line 1: it is list"):
        imported("lists.jsonl", "[1]\n[2]\n")


def test_arrow_files_and_feather(store: DatasetStore, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    feather = pytest.importorskip("pyarrow.feather")
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_file(tmp_path / "rows.arrow", table.schema) as file:
        file.write_table(table, max_chunksize=300)
    feather.write_feather(table, tmp_path / "rows.feather")
    for name in ("rows.arrows", "stream"):
        with pa.ipc.new_stream(tmp_path / name, table.schema) as file:
            file.write_table(table)
    for name in ("rows.arrow", "rows.feather", "rows.arrows", "stream"):
        assert rows_of(import_now(store, [tmp_path / name], "f", "tabular")) == ROWS
    whole = (tmp_path / "rows.arrow").read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputRefusedError, match="not a complete Arrow file"):
        import_now(store, [tmp_path / "cut.arrow"], "cut", "tabular")


def test_a_quote_that_nothing_closes_takes_its_line_alone(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"two\nlines"\n2,"open\n3,fine\n4,"also, fine"\n5,end\n')
    version = import_now(store, [path], "quotes", "tabular")
    assert rows_of(version) == [
        {"a": 1, "b": "two\nlines"},
        {"a": 3, "b": "fine"},
        {"a": 4, "b": "also, fine"},
        {"a": 5, "b": "end"},
    ]
    assert version.rejected == 1


def test_decimals_of_a_table_are_numbers_where_nothing_is_lost(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("price,code,mixed,sci\n1.5,1.50,1,1.0\n-0.25,2.0,2.5,1e5\n,3.0,3,2.0\n")
    version = import_now(store, [path], "prices", "tabular")
    assert [(c.name, c.type) for c in version.columns] == [
        ("price", "number"), ("code", "text"), ("mixed", "text"), ("sci", "text"),
    ]  # fmt: skip
    assert rows_of(version)[:2] == [
        {"price": 1.5, "code": "1.50", "mixed": "1", "sci": "1.0"},
        {"price": -0.25, "code": "2.0", "mixed": "2.5", "sci": "1e5"},
    ]


def test_a_line_too_long_is_refused_whole(store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmops_tui.datasets.sources.delimited.MAX_LINE", 1000)
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,x\n2," + "y" * 2500 + ",3\n4,z\n")
    version = import_now(store, [path], "long", "tabular")
    assert rows_of(version) == [{"a": 1, "b": "x"}, {"a": 4, "b": "z"}]
    assert version.rejected == 1


@pytest.mark.parametrize(
    ("lines", "form"), [(b"not json\n[1]\n\xff\n", "tabular"), (b'{"text": "x"}\n' * 3, "messages")]
)
def test_a_file_of_which_nothing_can_be_read_makes_no_version(
    store: DatasetStore, tmp_path: Path, lines: bytes, form: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines)
    with pytest.raises(InputRefusedError, match="none of 3 records could be read") as told:
        import_now(store, [path], "x", form)
    assert (told.value.code, store.logs()) == ("nothing_imported", {})


def test_standard_input_is_imported_as_a_file_is(store: DatasetStore) -> None:
    given = ("--json", "data", "import", "-", "--name", "piped", "--yes")
    made = llmops(*given, workspace=store.workspace, stdin='{"a": 1}\nbroken\n{"a": 2}\n')
    told = json.loads(made.stdout)
    assert (made.returncode, told["rows"], told["rejected"]) == (0, 2, 1)
    refused = llmops(*given, "--format", "messages", workspace=store.workspace, stdin='{"a": 1}\n')
    assert refused.returncode != 0
    assert "none of 1 record could be read as messages" in refused.stdout + refused.stderr
