from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from llmops_tui.datasets.sql_console import run_query
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.workspace.catalog import Catalog, wait_as_a_job
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.ids import new_id, resolve_prefix
from llmops_tui.workspace.layout import Workspace, find_workspace
from llmops_tui.workspace.lineage import ancestors, record_edges
from llmops_tui.workspace.marker import existing, make_workspace
from llmops_tui.workspace.migrations import MIGRATIONS, Migration
from llmops_tui.workspace.notices import read_notices


def test_the_workspace_is_found_upward_like_git_does(tmp_path: Path) -> None:
    (tmp_path / "project" / ".llmops").mkdir(parents=True)
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    assert find_workspace(start=deep).root == tmp_path / "project" / ".llmops"
    assert find_workspace(start=deep).name == "project"


def test_a_folder_that_is_named_may_be_the_workspace_or_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = make_workspace(Workspace(tmp_path / "demo" / ".llmops"))
    assert find_workspace(tmp_path / "demo") == find_workspace(tmp_path / "demo" / ".llmops") == inner
    assert inner.folder == tmp_path / "demo"
    monkeypatch.setenv("LLMOPS_WORKSPACE", str(tmp_path / "demo"))
    assert find_workspace() == inner
    # One that is a workspace itself is meant, whatever else lies in it; one that is none is where one would be made.
    flat = make_workspace(Workspace(tmp_path / "flat"))
    make_workspace(Workspace(flat.root / ".llmops"))
    assert find_workspace(flat.root) == flat
    assert flat.folder == flat.root
    assert find_workspace(tmp_path / "new") == Workspace(tmp_path / "new")
    (tmp_path / "link").symlink_to(tmp_path / "demo")
    assert find_workspace(tmp_path / "link") == inner


def test_where_there_is_no_workspace_those_beside_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError) as none:
        existing(find_workspace(start=tmp_path))
    assert none.value.hint == "llmops init creates one; --workspace selects another."
    make_workspace(Workspace(tmp_path / "the demo" / ".llmops"))
    (tmp_path / "empty" / ".llmops").mkdir(parents=True)
    with pytest.raises(InputRefusedError) as one:
        existing(find_workspace(start=tmp_path))
    assert f"--workspace '{tmp_path / 'the demo'}'" in (one.value.hint or "")
    assert "empty" not in (one.value.hint or "")


def test_the_folder_and_its_files_are_private(workspace: Workspace, catalog: Catalog, event_log: EventLog) -> None:
    catalog.write(lambda connection: connection.execute("SELECT 1"))
    event_log.append("request", "r", {"started_at": 1.0, "model": "m", "output": "x", "finish_reason": "stop"})
    assert stat.S_IMODE(workspace.root.stat().st_mode) == 0o700
    for file in (workspace.catalog, workspace.event_log):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_write_that_fails_changes_nothing(catalog: Catalog) -> None:
    def work(connection: object) -> None:
        connection.execute("INSERT INTO prompts VALUES ('a', 1)")  # type: ignore[attr-defined]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        catalog.write(work)
    assert catalog.read(lambda connection: connection.execute("SELECT * FROM prompts").fetchall()) == []


HOLD = """
import sys
import fcntl, os
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
os.pwrite(fd, str(os.getpid()).encode(), 0)
print("held", flush=True)
sys.stdin.read()
"""
HOLD_DUCKDB = """
import sys, duckdb
con = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("code", "target"), [(HOLD, "workspace.lock"), (HOLD_DUCKDB, "workspace.duckdb")])
def test_a_locked_catalog_names_the_holder(workspace: Workspace, code: str, target: str) -> None:
    Catalog(workspace).write(lambda connection: connection.execute("SELECT 1"))
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root / target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LlmopsError, match=str(holder.pid)) as caught:
        Catalog(workspace, lock_seconds=0.3).read(lambda connection: connection.execute("SELECT 1"))
    assert caught.value.code == "workspace_locked"
    holder.communicate("")
    Catalog(workspace).read(lambda connection: connection.execute("SELECT 1"))


def test_nobody_is_asked_to_close_the_program_that_asks(workspace: Workspace) -> None:
    catalog = Catalog(workspace, lock_seconds=0.05)
    with ThreadPoolExecutor(1) as pool:

        def nested(_connection: duckdb.DuckDBPyConnection) -> None:
            asked = pool.submit(catalog.read, lambda connection: connection.execute("SELECT 1"))
            with pytest.raises(LlmopsError, match="other work of this program") as caught:
                asked.result()
            assert "Close" not in caught.value.hint

        Catalog(workspace).read(nested)


def test_a_job_waits_where_somebody_who_sits_before_it_would_give_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_tui.workspace.catalog._usual_seconds", 0.3)
    Catalog(workspace).write(lambda connection: connection.execute("SELECT 1"))
    inside = os.open(workspace.root / "workspace.lock", os.O_RDWR)
    fcntl.flock(inside, fcntl.LOCK_EX)
    with pytest.raises(LlmopsError, match=r"stayed locked for 0\.3 s"):
        Catalog(workspace).read(lambda connection: connection.execute("SELECT 1"))
    wait_as_a_job()
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(Catalog(workspace).read, lambda connection: connection.execute("SELECT 7").fetchone())
        os.close(inside)
        assert read.result() == (7,)


def test_a_newer_schema_is_refused_and_its_bytes_stay(workspace: Workspace, catalog: Catalog) -> None:
    catalog.read(lambda connection: connection.execute("SELECT 1"))
    # As another process does it, of a newer llmops, while this one runs.
    with duckdb.connect(str(workspace.catalog)) as other:
        other.execute("INSERT INTO schema_version VALUES (99)")
    before = hashlib.sha256(workspace.catalog.read_bytes()).hexdigest()
    with pytest.raises(InputRefusedError, match="schema 99") as caught:
        catalog.write(lambda connection: connection.execute("INSERT INTO prompts VALUES ('a', 1)"))
    assert caught.value.code == "workspace_newer"
    assert hashlib.sha256(workspace.catalog.read_bytes()).hexdigest() == before


def test_a_migration_makes_a_backup_first_and_leaves_no_log(workspace: Workspace, catalog: Catalog) -> None:
    catalog.write(lambda connection: connection.execute("INSERT INTO prompts VALUES ('a', 1)"))
    more = (*MIGRATIONS, Migration(MIGRATIONS[-1].version + 1, "test", ("CREATE TABLE extra (x INTEGER)",)))
    newer = Catalog(workspace, migrations=more)
    assert newer.read(lambda connection: connection.execute("SELECT name FROM prompts").fetchall()) == [("a",)]
    backups = list(workspace.backups.glob("*.duckdb"))
    assert len(backups) == 1
    assert not workspace.catalog.with_name("workspace.duckdb.wal").exists()


def test_a_migration_that_fails_leaves_the_old_schema(workspace: Workspace, catalog: Catalog) -> None:
    catalog.write(lambda connection: connection.execute("INSERT INTO prompts VALUES ('a', 1)"))
    statements = ("CREATE TABLE extra (x INTEGER)", "SELECT nonsense FROM nowhere")
    broken = Catalog(workspace, migrations=(*MIGRATIONS, Migration(MIGRATIONS[-1].version + 1, "bad", statements)))
    with pytest.raises(Exception, match="nowhere"):
        broken.read(lambda connection: connection.execute("SELECT 1"))
    tables = catalog.read(lambda connection: connection.execute("SELECT table_name FROM duckdb_tables()").fetchall())
    assert ("extra",) not in tables


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
catalog = Catalog(Workspace(Path(sys.argv[1])))
for number in range(3):
    catalog.write(lambda connection: connection.execute("INSERT INTO prompts VALUES (?, 1)", [f"kept{number}"]))
def work(connection):
    for number in range(20):
        connection.execute("INSERT INTO prompts VALUES (?, 1)", [f"wal{number}"])
        connection.execute("COMMIT")
        connection.execute("BEGIN")
    os.kill(os.getpid(), signal.SIGKILL)
catalog.write(work)
"""


def test_a_log_that_cannot_be_replayed_is_set_aside_with_a_notice(workspace: Workspace) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(workspace.root)], check=False)
    wal = workspace.catalog.with_name("workspace.duckdb.wal")
    assert wal.exists()
    raw = bytearray(wal.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    wal.write_bytes(raw)
    names = Catalog(workspace).read(
        lambda connection: connection.execute("SELECT name FROM prompts ORDER BY 1").fetchall()
    )
    assert names == [("kept0",), ("kept1",), ("kept2",)]
    kept = list(workspace.root.glob("workspace.duckdb.wal.corrupt-*"))
    assert len(kept) == 1
    assert kept[0].read_bytes() == bytes(raw)
    notices = read_notices(workspace)
    assert len(notices) == 1
    assert kept[0].name in notices[0][1]


def save_many(root: str, writer: int) -> None:
    from llmops_tui.prompts.store import PromptStore

    store = PromptStore(Catalog(Workspace(Path(root))))
    for number in range(10):
        store.save("shared", template=f"{writer} {number}")


@pytest.mark.slow
def test_two_apps_on_one_workspace_work_at_once(workspace: Workspace, catalog: Catalog) -> None:
    from llmops_tui.prompts.store import PromptStore

    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=save_many, args=(str(workspace.root), i)) for i in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(v.number for v in PromptStore(catalog).versions("shared")) == list(range(1, 21))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of six megabytes."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_loses_nothing_that_was_saved(small: Path) -> None:
    try:
        event_log = EventLog(make_workspace(Workspace(small / "ws")))
        saved = 0
        with pytest.raises(LlmopsError) as caught:
            for number in range(10_000):
                event_log.save_draft(f"draft:{number}", {"template": os.urandom(20_000).hex()})
                saved += 1
        assert caught.value.code == "disk_full"
        assert len(event_log.draft_keys()) == saved
    finally:
        event_log.close()


def test_a_disk_with_no_room_to_open_anything_is_called_full_too(small: Path) -> None:
    event_log = EventLog(make_workspace(Workspace(small / "ws")))
    event_log.save_draft("draft:a", {"template": "x"})
    event_log.close()
    with (small / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    # What SQLite keeps beside the file does not fit any more, of which it says "disk I/O error".
    with pytest.raises(LlmopsError) as caught:
        event_log.draft_keys()
    assert caught.value.code == "disk_full"
    (small / "filler").unlink()
    assert event_log.draft_keys() == {"draft:a"}
    event_log.close()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_atomic(target, "old")
    monkeypatch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="full"):
        write_atomic(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.glob(".file*")) == []


def test_ids_sort_by_time_and_resolve_by_prefix() -> None:
    ids = [new_id("run") for _ in range(50)]
    assert len(set(ids)) == 50
    assert sorted(ids, key=lambda i: i[:12]) == ids
    known = ["run_abc1", "run_abd2"]
    assert resolve_prefix("run", "run_abc", known) == "run_abc1"
    assert resolve_prefix("run", "abd", known) == "run_abd2"
    with pytest.raises(InputRefusedError):
        resolve_prefix("run", "ab", known)
    with pytest.raises(NotFoundError):
        resolve_prefix("run", "zz", known)


def test_lineage_leads_back_to_the_first_input(catalog: Catalog) -> None:
    catalog.write(lambda connection: record_edges(connection, output="b", kind="x", recipe="r", inputs=["a"]))
    catalog.write(lambda connection: record_edges(connection, output="c", kind="x", recipe="r", inputs=["b", "m"]))
    edges = catalog.read(lambda connection: ancestors(connection, "c"))
    assert {source for _, _, source in edges} == {"a", "b", "m"}


@pytest.mark.parametrize(
    "query",
    ["DROP TABLE prompts", "SELECT 1; SELECT 2", "COPY prompts TO 'x.csv'", "INSTALL fts", "ATTACH 'x.db'", "nonsense",
     "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM glob('/etc/*')", "PRAGMA memory_limit='90GB'", "SET threads=99"],
)  # fmt: skip
def test_the_users_sql_can_only_select_from_the_workspace(catalog: Catalog, query: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        run_query(DatasetStore(catalog), query, 10)
    assert caught.value.code == "query_refused"


def test_the_users_sql_says_when_it_cut(catalog: Catalog) -> None:
    answer = run_query(DatasetStore(catalog), "SELECT range AS n FROM range(5)", 3)
    names, rows, more = answer.columns, answer.rows, answer.more
    assert (names, rows, more) == (["n"], [(0,), (1,), (2,)], True)
    assert json.dumps(rows)


def test_work_that_asks_the_catalog_again_is_told_at_once_and_does_not_wait_for_itself(workspace: Workspace) -> None:
    catalog = Catalog(workspace)
    count = "SELECT count(*) FROM prompts"
    with pytest.raises(RuntimeError, match="opens it again"):
        catalog.write(lambda _: catalog.read(lambda c: c.execute(count).fetchone()))
    # Another object for the same workspace is no other catalog, and nothing is held afterwards.
    with pytest.raises(RuntimeError, match="opens it again"):
        catalog.read(lambda _: Catalog(workspace).write(lambda c: c.execute(count).fetchone()))
    assert catalog.read(lambda c: c.execute(count).fetchone()) == (0,)
