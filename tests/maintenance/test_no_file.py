"""What lies in the place of a file and is none: told by name, never waited for, never taken for nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.rejects import read_rejects, rejects_path
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.runner.results import read_results
from llmops_tui.foreign_text import text_of
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.rules import load_rules, may_run
from llmops_tui.regular_files import kind_of_place, open_given, open_regular
from llmops_tui.system_errors import explain_system_error
from llmops_tui.training.history import read_history
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import append_bytes
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.sqlite_files import open_sqlite
from tests.maintenance.corruption import fifo, flipped, folder, gone
from tests.representatives import representatives


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_every_way_to_open_a_file_refuses_what_is_none(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "thing"
    make(path)
    kind = "a pipe" if make is os.mkfifo else "a folder"
    assert kind_of_place(path) == kind
    for opening in (open_regular, append_bytes, lambda place: open_given(place, 100)):
        with pytest.raises(OSError, match="thing") as caught:
            opening(path)
        assert (explain_system_error(caught.value) or caught.value).args
    with pytest.raises(Exception, match=f"it is {kind}, not a file"):
        open_sqlite(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(Exception, match=f"it is {kind}, not a file"):
        open_sqlite(tmp_path / "link")


@pytest.mark.slow
def test_a_pipe_that_somebody_writes_to_may_be_given_as_a_file() -> None:
    script = "cat <(printf 'a: 1'; sleep 0.05; printf 'b') >/dev/null; exec \"$0\" -c \"$1\" <(printf 'begin '; sleep 0.05; printf end)"
    code = "import sys; from pathlib import Path; from llmops_tui.foreign_text import text_of; print(text_of(Path(sys.argv[1])))"
    done = subprocess.run(["bash", "-c", script, sys.executable, code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("begin end\n", "")


def test_a_pipe_nobody_writes_to_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rules.yaml")
    with pytest.raises(OSError, match="without a writer"):
        text_of(tmp_path / "rules.yaml")
    with pytest.raises(LlmopsError, match=r"rules\.yaml cannot be read: is a pipe"):
        load_rules(tmp_path / "rules.yaml")
    assert not may_run(tmp_path / "rules.yaml")


@pytest.mark.parametrize("spoil", representatives([fifo, folder], 0), ids=["pipe", "folder"])
@pytest.mark.parametrize("name", ["history.db", "runs/job_old/output.log", "models/support-base-hf/config.json"])
def test_a_check_says_what_lies_there_now(lived: Workspace, name: str, spoil: Callable[[Path], None]) -> None:
    spoil(lived.root / name)
    kind = "a pipe" if spoil is fifo else "a folder"
    assert any(error.place == name and f"is now {kind}" in error.text for error in check(lived).errors)


def test_databases_and_records_that_are_pipes_are_told(lived: Workspace, tmp_path: Path) -> None:
    fifo(lived.history)
    with pytest.raises(LlmopsError, match=r"history\.db failed: it is a pipe"):
        History(lived.history).alerts()
    with pytest.raises(LlmopsError, match=r"history\.db was a file and is now a pipe"):
        backup(lived, tmp_path / "b.tar")
    assert "history.db (it is a pipe, not a file)" in backup(lived, tmp_path / "b.tar", damaged=True).left_out
    fifo(lived.event_log)
    with pytest.raises(LlmopsError, match=r"journal\.db is a pipe, not a file"):
        EventLog(lived).draft_keys()
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "metrics.jsonl")
    with pytest.raises(OSError, match="it is a pipe"):
        read_history(tmp_path / "run")


@pytest.mark.parametrize("spoil", [fifo, folder, flipped, gone], ids=lambda spoil: spoil.__name__)
def test_records_set_apart_that_cannot_be_read_are_not_none(
    workspace: Workspace, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\nno row\n')
    store = DatasetStore(Catalog(workspace))
    version = import_now(store, [tmp_path / "rows.jsonl"], "rows", "text")
    assert [reject.line for reject in read_rejects(workspace, version)] == [2]
    spoil(rejects_path(workspace, version))
    with pytest.raises(LlmopsError, match=r"rejected records in .*parquet cannot be read"):
        read_rejects(workspace, version)


def test_a_result_that_no_run_wrote_is_told_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_bytes(b'{"index": 3}\n')
    with pytest.raises(LlmopsError, match=r"results\.jsonl, line 1: not a valid result"):
        read_results(tmp_path / "results.jsonl")


def test_what_a_library_says_of_a_file_is_told_by_the_file(tmp_path: Path) -> None:
    import sqlite3

    import duckdb

    (tmp_path / "odd.parquet").write_bytes(b"PAR1" + b"x" * 100 + b"PAR1")
    with pytest.raises(duckdb.Error) as of_parquet:
        duckdb.sql(f"SELECT * FROM read_parquet('{tmp_path / 'odd.parquet'}')").fetchall()
    told = explain_system_error(of_parquet.value)
    assert told is not None
    assert str(tmp_path / "odd.parquet") in told.message
    assert "llmops restore" in told.hint
    told = explain_system_error(duckdb.Error("TProtocolException: Invalid data\nLINE 1: SELECT"))
    assert told is not None
    assert told.message == "a Parquet file of the workspace cannot be read: TProtocolException: Invalid data"
    assert (explain_system_error(sqlite3.DatabaseError("malformed")) or of_parquet).code == "database_failed"  # type: ignore[union-attr]
    denied = explain_system_error(PermissionError(13, "Permission denied", "/x/y"))
    assert denied is not None
    assert denied.told.startswith("/x/y: Permission denied. Change its permissions (chmod u+rw)")
    assert explain_system_error(KeyError("x")) is None


def test_a_pipe_without_an_end_is_refused_like_a_large_file() -> None:
    reading, writing = os.pipe()
    endless = threading.Thread(target=_pour, args=(writing,))
    endless.start()
    try:
        with pytest.raises(LlmopsError) as refused:
            text_of(Path(f"/dev/fd/{reading}"), 100_000)
        assert refused.value.code == "file_too_large"
    finally:
        os.close(reading)
        endless.join()


def _pour(writing: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        while True:
            os.write(writing, b"x" * 65_536)
    os.close(writing)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nothing",
        "SELECT parquet_name",
        "SELECT decompress(1)",
        "SELECT * FROM read_parquet(1)",
        "SELECT 'Parquet'::INT",
        "SELECT strptime('Parquet metadata', '%Y')",
        "COPY (SELECT 1) TO 'x' (FORMAT parquet, NOPE 1)",
    ],
)
def test_a_query_of_ours_that_is_wrong_is_nobodys_damaged_file(query: str) -> None:
    import duckdb

    with pytest.raises(duckdb.Error) as caught:
        duckdb.sql(query).fetchall()
    assert explain_system_error(caught.value) is None


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_each_damage_of_a_parquet_file_is_told_as_that(tmp_path: Path, compression: str) -> None:
    import duckdb

    path = tmp_path / "rows.parquet"
    rows = "SELECT i, 'text ' || i AS t FROM range(500) r(i)"
    duckdb.sql(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION {compression})")
    raw = path.read_bytes()
    unnamed, told = 0, []
    for at in range(4, len(raw) - 8, 9):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x11]) + raw[at + 1 :])
        try:
            duckdb.sql(f"SELECT sum(hash(i, t)) FROM read_parquet('{path}')").fetchall()
        except duckdb.ProgrammingError:
            continue  # a column has another name now, and the query was for the old one
        except duckdb.Error as error:
            told.append(explain_system_error(error) or error)
            unnamed += str(path) not in str(error)
    assert unnamed
    assert [one for one in told if getattr(one, "code", "") != "file_unreadable"] == []
