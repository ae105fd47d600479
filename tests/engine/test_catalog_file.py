"""The catalog's file: a log is quarantined only where it is damaged, and nothing in a catalog reaches out of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace import catalog_file, kept_engines
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.notices import read_notices
from tests.representatives import representatives

# Leaves a log behind: what it holds was committed, and is in no checkpoint.
WRITER = """
import os, signal, sys
from pathlib import Path
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
def work(db):
    db.execute("SET wal_autocheckpoint = '1GB'")
    for number in range(int(sys.argv[2])):
        db.execute("INSERT INTO prompts VALUES (? || repeat('x', ?), 1)", [f"p{number:03}", int(sys.argv[3])])
    db.execute("COMMIT")
    os.kill(os.getpid(), signal.SIGKILL)
Catalog(Workspace(Path(sys.argv[1]))).write(work)
"""


def leave_log(root: Path, rows: int, length: int = 0) -> Path:
    """A workspace whose catalog has a log of so many rows; returns the log."""
    workspace = make_workspace(Workspace(root))
    Catalog(workspace).read(lambda _connection: None)
    subprocess.run([sys.executable, "-c", WRITER, str(root), str(rows), str(length)], check=False)
    wal = workspace.catalog.with_name(workspace.catalog.name + ".wal")
    assert wal.stat().st_size > rows * length
    return wal


def count(workspace: Workspace) -> int:
    return int(Catalog(workspace).read(lambda db: db.execute("SELECT count(*) FROM prompts").fetchall())[0][0])


@pytest.mark.slow
def test_a_healthy_log_stays_where_memory_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = leave_log(tmp_path / "ws", 2, 6_000_000)
    before = wal.read_bytes()
    kept_engines.close_kept()
    monkeypatch.setitem(catalog_file._CONFIG, "memory_limit", "5MB")
    monkeypatch.setattr(catalog_file, "_MORE_MEMORY", "6MB")
    with pytest.raises(LlmopsError) as refused:
        count(Workspace(tmp_path / "ws"))
    assert refused.value.code == "book_needs_memory"
    assert wal.read_bytes() == before
    # The usual memory is still too little: DuckDB's own is taken.
    monkeypatch.setattr(catalog_file, "_MORE_MEMORY", "80%")
    assert count(Workspace(tmp_path / "ws")) == 2
    assert read_notices(Workspace(tmp_path / "ws")) == []


@pytest.mark.parametrize("name", representatives(["WAL", "Failure while replaying WAL file"], 1))
def test_a_path_is_no_message(tmp_path: Path, name: str) -> None:
    wal = leave_log(tmp_path / name / "ws", 3)
    workspace = Workspace(tmp_path / name / "ws")
    workspace.catalog.write_bytes(b"garbage" * 5000)
    with pytest.raises(LlmopsError) as refused:
        count(workspace)
    assert refused.value.code == "book_damaged"
    assert wal.exists()


def test_a_log_without_rights_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = leave_log(tmp_path / "ws", 3)
    attach = catalog_file._attach

    def refuse(connection: duckdb.DuckDBPyConnection, db: Path, memory: str, **_how: bool) -> None:
        raise duckdb.IOException(f'IO Error: Failure while replaying WAL file "{db}.wal": No space left on device')

    monkeypatch.setattr(catalog_file, "_attach", refuse)
    with pytest.raises(LlmopsError) as refused:
        count(Workspace(tmp_path / "ws"))
    assert refused.value.code == "disk_full"
    assert wal.exists()
    monkeypatch.setattr(catalog_file, "_attach", attach)
    assert count(Workspace(tmp_path / "ws")) == 3


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_whatever_bit_of_a_log_flips_it_is_replayed_or_set_aside(tmp_path: Path, step: int) -> None:
    wal = leave_log(tmp_path / "ws", 6)
    raw = wal.read_bytes()
    for number, place in enumerate(range(0, len(raw), step)):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "ws", copy)
        spoilt = bytearray(raw)
        spoilt[place] ^= 0xFF
        (copy / wal.name).write_bytes(spoilt)
        workspace = Workspace(copy)
        found = count(workspace)
        kept = [path.read_bytes() for path in copy.glob("*.wal.corrupt-*")]
        assert found == 6 or kept == [bytes(spoilt)], place
        assert bool(kept) == bool(read_notices(workspace)), place


REACHING: dict[str, Callable[[Path], str]] = {
    "view": lambda secret: f"CREATE VIEW planted AS SELECT content FROM read_text('{secret}')",
    "macro": lambda secret: f"CREATE MACRO planted() AS TABLE SELECT content FROM read_text('{secret}')",
}


@pytest.mark.parametrize("kind", REACHING)
def test_what_lies_in_a_catalog_does_not_reach_out_of_it(workspace: Workspace, tmp_path: Path, kind: str) -> None:
    Catalog(workspace).read(lambda _connection: None)
    secret = tmp_path / "secret.txt"
    secret.write_text("of the reader")
    with duckdb.connect(str(workspace.catalog)) as planter:
        planter.execute(REACHING[kind](secret))
    question = "SELECT * FROM planted" + ("()" if kind == "macro" else "")
    with pytest.raises(duckdb.PermissionException):
        Catalog(workspace).read(lambda db: db.execute(question).fetchall())
    with pytest.raises(LlmopsError):
        Catalog(workspace).write(lambda db: db.execute(f"COPY (SELECT 1) TO '{tmp_path / 'out'}'"))
    assert not (tmp_path / "out").exists()
    # The catalog itself works as before, checkpoints included.
    Catalog(workspace).write(lambda db: db.execute("INSERT INTO prompts VALUES ('mine', 1)"))
    assert count(workspace) == 1
