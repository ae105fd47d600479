"""DuckDB's engine is kept between transactions, and nobody can tell: neither other programs nor the next transaction."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace import kept_engines
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.catalog_file import connect_memory
from llmops_tui.workspace.sandbox import reading

_OTHER = "import duckdb, sys; print(duckdb.connect(sys.argv[1]).execute('SELECT count(*) FROM prompts').fetchone()[0])"


@pytest.fixture(autouse=True)
def none_of_other_tests() -> None:
    kept_engines.close_kept()


def names(catalog: Catalog) -> list[str]:
    return [name for (name,) in catalog.read(lambda c: c.execute("SELECT name FROM prompts ORDER BY 1").fetchall())]


def save(catalog: Catalog, name: str) -> None:
    catalog.write(lambda connection: connection.execute("INSERT INTO prompts VALUES (?, 1)", [name]))


def test_another_program_opens_the_file_in_between(catalog: Catalog) -> None:
    save(catalog, "a")
    save(catalog, "b")
    assert not catalog.workspace.catalog.with_name("workspace.duckdb.wal").exists()
    done = subprocess.run(
        [sys.executable, "-c", _OTHER, str(catalog.workspace.catalog)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"
    assert names(catalog) == ["a", "b"]


def test_the_next_transaction_is_by_an_engine_of_before_and_finds_nothing_of_the_last(catalog: Catalog) -> None:
    catalog.write(lambda connection: connection.execute("CREATE TEMP TABLE left_over AS SELECT 1 AS x"))
    (engine,) = kept_engines._idle.values()
    with pytest.raises(Exception, match="left_over"):
        catalog.read(lambda connection: connection.execute("SELECT * FROM left_over").fetchall())
    # After an error it is not kept, whatever it was.
    assert kept_engines._idle == {}
    names(catalog)
    (another,) = kept_engines._idle.values()
    assert another is not engine
    names(catalog)
    assert list(kept_engines._idle.values()) == [another]


def test_nothing_outside_can_be_reached_by_a_kept_engine_either(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    planted = f"CREATE VIEW planted AS SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')"
    for _ in range(2):
        with pytest.raises(LlmopsError, match="disabled"):
            catalog.write(lambda connection: connection.execute(planted))
        names(catalog)


def test_a_file_that_was_put_in_its_place_is_the_one_that_is_read(catalog: Catalog) -> None:
    save(catalog, "a")
    before = catalog.workspace.catalog.read_bytes()
    save(catalog, "b")
    catalog.workspace.catalog.write_bytes(before)
    assert names(catalog) == ["a"]


def test_few_are_kept_and_none_across_a_fork(catalog: Catalog) -> None:
    for number in range(6):
        engine = kept_engines.take(catalog.workspace.catalog)
        if engine is None:
            names(catalog)
            engine = kept_engines.take(catalog.workspace.catalog)
        assert engine is not None
        kept_engines.keep(Path(f"/nowhere/{number}"), engine)
    assert [path.name for path in kept_engines._idle] == ["2", "3", "4", "5"]
    child = os.fork()
    if child == 0:
        os._exit(len(kept_engines._idle))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert names(catalog) == []


def test_no_thread_keeps_one_while_a_fork_is_made_and_both_may_after_it(catalog: Catalog) -> None:
    names(catalog)
    kept_engines._before_fork()
    try:
        assert kept_engines._idle == {}
        assert kept_engines._lock.locked()
    finally:
        kept_engines._lock.release()
    child = os.fork()
    if child == 0:
        os._exit(kept_engines._lock.locked())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not kept_engines._lock.locked()


def test_an_engine_that_reads_a_folder_is_kept_and_reaches_nothing_beside_it(tmp_path: Path) -> None:
    def part(name: str, value: int) -> Path:
        path = tmp_path / name / "x" / "part-00000.parquet"
        path.parent.mkdir(parents=True)
        with contextlib.closing(connect_memory()) as connection:
            connection.execute(f"COPY (SELECT {value} AS n) TO '{path}' (FORMAT parquet)")
        return path

    one, other = part("one", 1), part("other", 2)
    with reading([one]) as connection:
        assert connection.execute(f"FROM '{one}'").fetchall() == [(1,)]
    (engine,) = kept_engines._idle.values()
    other.replace(one)
    with reading([one]) as connection:
        # It is in use: a second reader of the same folder has one of its own, and neither sees what the file was before.
        with reading([one]) as second:
            assert second.execute(f"FROM '{one}'").fetchall() == [(2,)]
        assert connection.execute(f"FROM '{one}'").fetchall() == [(2,)]
    assert list(kept_engines._idle.values()) == [engine]
    with pytest.raises(duckdb.PermissionException), reading([one]) as connection:
        connection.execute(f"COPY (SELECT 1) TO '{tmp_path / 'beside.parquet'}'")
    assert kept_engines._idle == {}
    assert not (tmp_path / "beside.parquet").exists()
