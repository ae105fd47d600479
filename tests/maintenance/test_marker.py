"""What is gone was lost: no command takes a missing or empty database for a new workspace, or what it named for rubbish."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.gc import collect, plan
from llmops_tui.maintenance.restore import restore
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.history import History
from llmops_tui.settings import Settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import NOTE
from llmops_tui.workspace.checksums import load, record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import existing, make_workspace, read_marker, replace_lost
from tests import commands
from tests.representatives import representatives

COMMANDS = (["prompt", "list"], ["model", "list"], ["data", "list"], ["job", "list"], ["gc", "--yes"], ["eval", "list"])


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def read_all(connection: Any) -> None:
    """What half of a catalog lacks shows when it is wanted."""
    for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        connection.execute(f'SELECT * FROM "{table}"').fetchall()


def files_of(workspace: Workspace) -> set[str]:
    live = ("-wal", "-shm", ".lock", ".log", ".wal")
    return {
        path.relative_to(workspace.root).as_posix()
        for path in workspace.root.rglob("*")
        if path.is_file() and not path.name.endswith(live)
    }


def llmops(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.llmops(*arguments, workspace=workspace)


@pytest.mark.parametrize("damage", representatives([remove, empty, halve, folder], remove, halve))
@pytest.mark.parametrize("name", ["workspace.duckdb", "journal.db"])
def test_a_lost_database_is_an_error_and_changes_nothing(
    sample: Workspace, name: str, damage: Callable[[Path], None]
) -> None:
    path = sample.root / name
    damage(path)
    before = files_of(sample)
    opened = Catalog(sample).read if name == "workspace.duckdb" else None
    with pytest.raises(LlmopsError) as caught:
        if opened is not None:
            opened(read_all)
        else:
            EventLog(sample).draft_keys()
    assert str(path) in caught.value.message
    assert "llmops restore" in caught.value.hint
    with pytest.raises(LlmopsError):
        collect(sample, Settings())
    report = check(sample)
    assert any(path.name in finding.text or str(path) in finding.text for finding in report.errors)
    assert files_of(sample) == before


def test_a_marker_that_is_a_link_to_nowhere_is_told_and_not_replaced(sample: Workspace) -> None:
    """What it led to may lie on a disk that is not there now, and says what the workspace has."""
    path = sample.root / "workspace.json"
    path.unlink()
    path.symlink_to("/nowhere/at/all")
    report = check(sample)
    assert any("workspace.json" in finding.text and "/nowhere/at/all" in finding.text for finding in report.errors)
    done = llmops(sample, "model", "list")
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "is a link to /nowhere/at/all, which is not there" in done.stderr
    assert path.is_symlink()


def test_every_command_says_so_in_one_line(sample: Workspace) -> None:
    sample.catalog.unlink()
    before = files_of(sample)
    for command in COMMANDS:
        done = llmops(sample, *command)
        if command != ["job", "list"]:  # jobs are in the event log
            assert (done.returncode, done.stdout) == (3, ""), command
            assert len(done.stderr.splitlines()) == 1
            assert "workspace.duckdb is gone" in done.stderr
    assert files_of(sample) == before
    assert "init --replace-lost" in llmops(sample, "model", "list").stderr


def test_a_catalog_begun_anew_takes_nothing_of_the_lost_one_for_rubbish(sample: Workspace) -> None:
    sample.catalog.unlink()
    files = {
        path
        for folder in (sample.models, sample.datasets)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(NOTE)
    }
    assert files
    assert "workspace.duckdb" in llmops(sample, "init", "--replace-lost").stderr
    assert ModelRegistry(Catalog(sample)).all() == []
    with pytest.raises(InputRefusedError, match="older than the catalog"):
        plan(sample, Settings(), now=time.time() + 1_000_000)
    assert all(path.exists() for path in files)


def test_only_init_makes_a_workspace(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "new")
    for command in COMMANDS:
        done = llmops(place, *command)
        assert done.returncode == 3
        assert "llmops init creates one" in done.stderr
    assert not place.root.exists()
    assert llmops(place, "init").returncode == 0
    assert llmops(place, "prompt", "list").returncode == 0


def test_a_workspace_that_was_moved_away_leaves_no_ghost(sample: Workspace) -> None:
    catalog, event_log = Catalog(sample), EventLog(sample)
    shutil.move(sample.root, sample.root.with_name("elsewhere"))
    for touch in (lambda: catalog.stamp() or catalog.read(lambda _connection: None), event_log.draft_keys):
        with pytest.raises(LlmopsError) as caught:
            touch()
        assert caught.value.code == "no_workspace"
    assert not sample.root.exists()
    moved = Workspace(sample.root.with_name("elsewhere"))
    assert ModelRegistry(Catalog(moved)).get("support-base")


@pytest.mark.parametrize(
    "away", [lambda root: shutil.move(root, root.with_name("elsewhere")), shutil.rmtree], ids=["moved", "deleted"]
)
def test_whoever_has_it_open_when_it_goes_is_told_and_makes_no_ghost(
    sample: Workspace, away: Callable[[Path], None]
) -> None:
    """SQLite itself would go on in the file that nobody finds."""
    catalog, event_log, history = Catalog(sample), EventLog(sample), History(sample.history)
    catalog.read(lambda _connection: None)
    event_log.save_draft("d", {"text": "before"})
    history.add(1.0, {"host.cpu": 1.0})
    history.flush()
    away(sample.root)
    event = {"started_at": 1.0, "model": "m", "output": "", "finish_reason": "stop"}
    for use in (
        event_log.draft_keys,
        lambda: event_log.save_draft("d", {"text": "after"}),
        lambda: event_log.append("request", "r", event),
        lambda: catalog.read(lambda _connection: None),
        lambda: catalog.write(lambda connection: connection.execute("SELECT 1")),
        lambda: JobLauncher(sample).place().__enter__(),
        history.alerts,
        lambda: note_and_flush(history),
    ):
        with pytest.raises(LlmopsError):
            use()
        assert not sample.root.exists()


def note_and_flush(history: History) -> None:
    history.add(2.0, {"host.cpu": 2.0})
    history.flush()


def test_a_workspace_that_was_exchanged_is_gone_on_with(sample: Workspace, filled_once: Path) -> None:
    """As a restore does under an open app."""
    event_log = EventLog(sample)
    event_log.save_draft("mine", {"text": "old"})
    sample.root.rename(sample.root.with_name("old"))
    shutil.copytree(filled_once, sample.root)
    assert "mine" not in event_log.draft_keys()
    event_log.save_draft("mine", {"text": "new"})
    assert EventLog(sample).load_draft("mine") == {"text": "new"}


def test_a_catalog_of_another_workspace_is_not_taken_for_this_ones(sample: Workspace, tmp_path: Path) -> None:
    other = make_workspace(Workspace(tmp_path / "other"))
    Catalog(other).read(lambda _connection: None)
    shutil.copy(other.catalog, sample.catalog)
    with pytest.raises(InputRefusedError) as caught:
        Catalog(sample).read(lambda _connection: None)
    assert caught.value.code == "foreign_book"


def test_a_workspace_from_before_markers_gets_one_and_keeps_its_id(sample: Workspace) -> None:
    own = read_marker(sample).id
    marker = sample.root / "workspace.json"
    marker.unlink()
    existing(sample)
    Catalog(sample).read(lambda _connection: None)
    assert read_marker(sample).id == own
    assert {"workspace.duckdb", "journal.db"} <= set(read_marker(sample).has)
    # With the catalog gone as well, it is no new workspace either.
    marker.unlink()
    sample.catalog.unlink()
    with pytest.raises(InputRefusedError, match="is gone"):
        make_workspace(sample)
    for damaged in (b"", b"{", b"[]", b'{"id": 1}'):
        marker.write_bytes(damaged)
        with pytest.raises(InputRefusedError, match=r"workspace\.json cannot be read"):
            existing(sample)


def test_a_workspace_of_before_without_a_catalog_is_begun_and_not_called_lost(tmp_path: Path) -> None:
    """Any command made an event log then; an unfinished download is no model."""
    place = Workspace(tmp_path / "old")
    (place.root / "models" / ".fetch-x").mkdir(parents=True)
    sqlite3.connect(place.event_log).execute("CREATE TABLE t (a)").connection.commit()
    with pytest.raises(InputRefusedError) as caught:
        existing(place)
    assert caught.value.code == "no_workspace"
    make_workspace(place)
    assert read_marker(place).has == ("journal.db",)
    Catalog(place).read(lambda _connection: None)


def test_two_that_make_a_workspace_at_once_make_one(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "ws")
    script = (
        "import sys\nfrom pathlib import Path\nfrom llmops_tui.workspace.layout import Workspace\n"
        "from llmops_tui.workspace.marker import make_workspace\nfrom llmops_tui.workspace.catalog import Catalog\n"
        "w = Workspace(Path(sys.argv[1]))\nsys.stdin.readline()\nmake_workspace(w)\n"
        "print(Catalog(w).read(lambda book: book.execute('SELECT id FROM workspace').fetchone()[0]))\n"
    )
    command = [sys.executable, "-c", script, str(place.root)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate()[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


def test_what_a_lost_catalog_left_is_put_aside(sample: Workspace) -> None:
    log = sample.catalog.with_name(sample.catalog.name + ".wal")
    sample.catalog.unlink()
    log.write_bytes(b"the last changes")
    assert replace_lost(sample) == ["workspace.duckdb"]
    Catalog(sample).read(lambda _connection: None)
    (kept,) = sample.root.glob("workspace.duckdb.wal.lost-*")
    assert kept.read_bytes() == b"the last changes"


def test_nothing_is_made_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmops_tui", "--workspace", str(tmp_path / "none")],
        input="\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "none").exists()


def test_lost_checksums_are_damage_and_not_renewed_unseen(sample: Workspace) -> None:
    record_checksums(sample)
    (sample.root / "seals.json").unlink()
    assert "seals.json is gone" in load(sample).damaged
    assert record_checksums(sample) == 0
    assert check(sample).errors
    check(sample, accept=True)
    assert not load(sample).damaged


def test_a_lost_workspace_is_restored(sample: Workspace, tmp_path: Path) -> None:
    backup(sample, tmp_path / "b.tar")
    own = read_marker(sample).id
    sample.catalog.unlink()
    restore(tmp_path / "b.tar", sample)
    assert ModelRegistry(Catalog(sample)).get("support-base")
    assert read_marker(sample).id == own
    shutil.rmtree(sample.root)
    restore(tmp_path / "b.tar", sample)
    assert not check(sample).errors


def test_nothing_is_lost_twice(sample: Workspace) -> None:
    assert replace_lost(sample) == []
    sample.event_log.write_bytes(b"")
    for end in ("-wal", "-shm"):
        sample.event_log.with_name(sample.event_log.name + end).unlink(missing_ok=True)
    assert replace_lost(sample) == ["journal.db"]
    assert EventLog(sample).draft_keys() == set()
    assert list(sample.root.glob("journal.db.lost-*"))
    assert json.loads((sample.root / "workspace.json").read_text())["has"]
