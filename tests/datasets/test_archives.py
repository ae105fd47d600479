"""Archives, folders, patterns and tables without a name: what is read of them, and what is said of the rest."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets import import_job
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.import_preview import preview
from llmops_tui.datasets.operations.base import remake
from llmops_tui.datasets.sources import archives, discovery
from llmops_tui.datasets.sources.discovery import find_sources, read_batches, tables_of
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from tests.datasets.conftest import rows_of

ROWS = [{"a": n, "b": f"row {n}"} for n in range(30)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = "a,b\n" + "".join(f"{row['a']},{row['b']}\n" for row in ROWS)


def packed(folder: Path, kind: str, files: dict[str, str]) -> Path:
    path = folder / f"packed.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return path
    mode: Any = "w" if kind == "tar" else f"w:{kind.partition('.')[2]}"
    with tarfile.open(path, mode) as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("link.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_files_in_an_archive_are_read_where_it_is_clear_which(store: DatasetStore, tmp_path: Path, kind: str) -> None:
    path = packed(
        tmp_path, kind, {"../../data/rows.jsonl": LINES, "README.md": "# x", "__MACOSX/rows.jsonl": "x", ".x.csv": "x"}
    )
    assert "not imported: README.md" in " ".join(preview(store, [path]).proposal.evidence)
    version = import_now(store, [path], "one", "tabular")
    assert rows_of(version) == ROWS
    assert remake(store, version.ref)[1] == version.sha256
    several = packed(tmp_path, kind, {"data/train.csv": TABLE, "test.csv": TABLE})
    told = "'split', it gets one by its file: train, test"
    assert told in " ".join(preview(store, [several]).proposal.evidence)
    parts = [row | {"split": part} for part in ("train", "test") for row in ROWS]
    two = import_now(store, [several], "two", "tabular")
    assert rows_of(two) == parts
    assert remake(store, two.ref)[1] == two.sha256
    mixed = packed(tmp_path, kind, {"a.csv": TABLE, "b.csv": "x,y\n1,2\n", "c.jsonl": LINES})
    with pytest.raises(InputRefusedError, match=r"3 files that are not alike: a\.csv, b\.csv, c\.jsonl"):
        find_sources(mixed)
    assert tables_of(mixed) == ["a.csv", "b.csv", "c.jsonl"]
    assert rows_of(import_now(store, [mixed], "named", "tabular", table="c.jsonl")) == ROWS
    with pytest.raises(InputRefusedError, match=r"no file 'd\.csv'"):
        find_sources(mixed, table="d.csv")


@pytest.mark.parametrize("split", [False, True])
def test_an_archive_that_was_imported_before_splits_were_noted_is_made_again(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: bool
) -> None:
    """Such a recipe says nothing of splits, whether the rows got one or, in older imports, did not."""
    path = packed(tmp_path, "zip", {"data/train.csv": TABLE, "test.csv": TABLE})
    with monkeypatch.context() as before:
        before.setattr(import_job, "has_member_splits", lambda _sources: False)
        if not split:
            before.setattr(discovery, "with_splits", lambda sources: sources)
        old = import_now(store, [path], "old", "tabular")
    assert "member_splits" not in old.recipe.parameters
    assert ("split" in rows_of(old)[0]) is split
    assert remake(store, old.ref)[1] == old.sha256


def test_archives_that_are_cut_or_made_to_fill_a_disk_are_refused(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packed(tmp_path, "tar.gz", {"a.jsonl": LINES}).read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(gzip.compress(gzip.decompress(whole)[:1200]))
    with pytest.raises(InputRefusedError, match="damaged"):
        import_now(store, [cut], "cut", "tabular")
    zipped = packed(tmp_path, "zip", {"a.jsonl": "0" * 2_000_000})
    monkeypatch.setattr(archives, "_MOST_BYTES", 1_000_000)
    with pytest.raises(InputRefusedError, match="2,000,000 bytes, more than 200 times"):
        find_sources(zipped)


def test_of_two_files_of_one_name_in_an_archive_the_last_is_read_once(tmp_path: Path) -> None:
    for kind in ("zip", "tar", "tar.gz"):
        path = tmp_path / f"twice.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for row in (1, 2):
                    info = zipfile.ZipInfo("a.jsonl")
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        archive.writestr(info, f'{{"a": {row}}}\n')
        else:
            mode: Any = "w" if kind == "tar" else "w:gz"
            with tarfile.open(path, mode) as tar:
                for row in (1, 2):
                    member = tarfile.TarInfo("a.jsonl")
                    member.size = len(f'{{"a": {row}}}\n')
                    tar.addfile(member, io.BytesIO(f'{{"a": {row}}}\n'.encode()))
        rows = [row for source in find_sources(path) for batch in read_batches(source) for row in batch.rows]
        assert rows == [{"a": 2}], kind


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_list_of_an_archive_is_read_once_and_not_for_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = packed(tmp_path, kind, {f"{n}.jsonl": f'{{"a": {n}}}\n' for n in range(20)})
    lists: list[int] = []
    made = archives._Archive._listed

    def counted(self: Any) -> Any:
        lists.append(1)
        return made(self)

    monkeypatch.setattr(archives._Archive, "_listed", counted)
    sources = find_sources(path)
    # Two that are read at once share the file that is open.
    batches = [iter(read_batches(source)) for source in sources]
    assert sorted(row["a"] for one in batches for row in next(one).rows) == list(range(20))
    assert lists == [1]
    path = packed(tmp_path, kind, {"b.jsonl": '{"b": 1, "c": 2}\n'})
    assert [source.member for source in find_sources(path)] == ["b.jsonl"]


def test_what_is_wrong_within_an_archive_is_told(tmp_path: Path) -> None:
    name = packed(tmp_path, "zip", {"ä.jsonl": LINES})
    name.write_bytes(name.read_bytes().replace("ä".encode(), b"\xff\xfe"))
    with pytest.raises(InputRefusedError, match="is damaged"):
        find_sources(name)
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.jsonl.gz", gzip.compress(LINES.encode()))
    with pytest.raises(InputRefusedError, match=r"a\.jsonl\.gz is compressed with gzip inside"):
        find_sources(inner)
    outer = tmp_path / "outer.zip.gz"
    outer.write_bytes(gzip.compress(inner.read_bytes()))
    with pytest.raises(InputRefusedError, match="a zip archive in gzip"):
        find_sources(outer)
    # Behind what is looked at first.
    noise = random.Random(0).randbytes(1_200_000).hex()
    damaged = packed(tmp_path, "tar.xz", {"a.jsonl": noise, "b.jsonl": LINES})
    raw = bytearray(damaged.read_bytes())
    raw[-3000:-2900] = bytes(100)
    damaged.write_bytes(raw)
    with pytest.raises(InputRefusedError, match="damaged"):
        find_sources(damaged)


def test_a_folder_says_what_it_holds_and_what_is_not_read(store: DatasetStore, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv").write_text(TABLE)
    (folder / "test.json").write_text(json.dumps(ROWS))
    (folder / "notes.pdf").write_bytes(b"%PDF-1.7")
    (folder / "extra.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    told = " ".join(preview(store, [folder]).proposal.evidence)
    assert "3 kinds, all of which are read: csv, json, jsonl" in told
    assert "not imported: notes.pdf" in told
    assert "'split', it gets one by its file: extra, test, train" in told
    assert import_now(store, [folder], "all", "tabular").rows == 3 * len(ROWS)


def test_a_pattern_names_files(store: DatasetStore, tmp_path: Path) -> None:
    for name in ("a1.jsonl", "a2.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(LINES)
    version = import_now(store, [tmp_path / "a?.jsonl"], "both", "tabular")
    assert version.rows == 2 * len(ROWS)
    assert len(version.files) == 1, "small files share a part"
    assert len(version.recipe.inputs) == 2
    assert len(find_sources(tmp_path / "a**.jsonl")) == 2
    with pytest.raises(InputRefusedError, match="no file matches"):
        find_sources(tmp_path / "c*.jsonl")


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", "sep=;\na;b\n1;x,y\n", [{"a": 1, "b": "x,y"}]),
        ("a.csv", '\ufeff"sep=|"\r\na|b\r\n1|2\r\n', [{"a": 1, "b": 2}]),
        (
            "a.csv",
            "name, and more;b\n1;2\n3;4,5\n",
            [{"name, and more": 1, "b": "2"}, {"name, and more": 3, "b": "4,5"}],
        ),
        ("a.csv", "sep=§\na§b\n1§x\n", [{"a": 1, "b": "x"}]),
        ("a.csv", "a\tb\n1\tx, y\n", [{"a": 1, "b": "x, y"}]),
        ("a.csv", "only\n1\n2\n", [{"only": 1}, {"only": 2}]),
        ("piped", "a,b\n1,2\n3,4\n", [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        (
            "piped",
            "Well, then.\nSo, it is.\nYes, it is.\n",
            [{"text": t} for t in ("Well, then.", "So, it is.", "Yes, it is.")],
        ),
    ],
)
def test_what_divides_cells_is_found(
    store: DatasetStore, tmp_path: Path, name: str, text: str, rows: list[object]
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    kind = "text" if "text" in str(rows[0]) else "tabular"
    assert rows_of(import_now(store, [path], "cells", kind)) == rows
