"""Backup, restore and clearing away: consistent while others write, whole or not at all whenever they are killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.archive import read_manifest, verify
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.gc import collect, plan
from llmops_tui.maintenance.restore import preview, restore
from llmops_tui.settings import Settings
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from tests import commands
from tests.commands import Llmops
from tests.maintenance.conftest import contents, fill_traces
from tests.representatives import representatives
from tests.waiting import wait_for

spawn = multiprocessing.get_context("spawn")


def traces(workspace: Workspace) -> list[str]:
    lines, _ = TraceStore(Catalog(workspace), EventLog(workspace)).page(TraceFilter(), 1_000_000)
    return sorted(line.id for line in lines)


def write_and_ingest(root: str, start: int, stop: str) -> None:
    """Append requests and fold them, until a file is there."""
    workspace = Workspace(Path(root))
    event_log, catalog = EventLog(workspace), Catalog(workspace)
    number = start
    while not Path(stop).exists():
        fill_traces(workspace, 3, number)
        number += 3
        ingest(catalog, event_log)


@pytest.mark.slow
def test_a_backup_taken_while_others_write_is_consistent(lived: Workspace, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    writers = [spawn.Process(target=write_and_ingest, args=(str(lived.root), 1000 * n, str(stop))) for n in (1, 2)]
    for writer in writers:
        writer.start()
    try:
        wait_for(lambda: len(traces(lived)) >= 60)
        before = traces(lived)
        manifest = backup(lived, tmp_path / "b.tar")
        after = traces(lived)
    finally:
        stop.touch()
        for writer in writers:
            writer.join(120)
    other = Workspace(tmp_path / "other" / "ws")
    assert restore(tmp_path / "b.tar", other) is None
    # Hashes are those of the manifest; the check is clean; what was there before the backup is there, and none twice.
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert len(archive.getnames()) == len(manifest.files) + 1
    assert check(other).errors == []
    kept = traces(other)
    assert len(kept) == len(set(kept))
    assert set(before) <= set(kept) <= set(after)
    # Of each writer's requests there is a beginning, without holes.
    for start in (1000, 2000):
        numbers = [int(t[4:]) for t in kept if start <= int(t[4:]) < start + 900]
        assert numbers == list(range(start, start + len(numbers)))


def test_a_restored_workspace_is_the_same_file_by_file(lived: Workspace, tmp_path: Path) -> None:
    manifest = backup(lived, tmp_path / "b.tar")
    other = Workspace(tmp_path / "other")
    restore(tmp_path / "b.tar", other)
    found = contents(other.root)
    for name, (digest, size) in manifest.files.items():
        # The event log has one more entry of the audit: that it was restored.
        if name != lived.event_log.name:
            assert found[name] == digest
            assert (other.root / name).stat().st_size == size
        assert (other.root / name).stat().st_mode & 0o077 == 0
    # Files that nobody writes meanwhile are as in the original, byte for byte.
    for name, digest in contents(lived.root).items():
        if name.startswith(("datasets/", "models/", "runs/job")):
            assert found[name] == digest
    llmops = Llmops(other)
    assert llmops.run("check")["clean"]
    assert [m["name"] for m in llmops.run("model", "list")["models"]]


def test_restoring_shows_first_what_it_would_do_and_keeps_the_old_one(lived: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(lived)
    llmops.run("backup", str(tmp_path / "b.tar"))
    fill_traces(lived, 3, 500)
    (lived.runs / "job_new").mkdir()
    (lived.runs / "job_new" / "x").write_text("y")
    before = traces(lived)
    seen = llmops.run("restore", str(tmp_path / "b.tar"))
    assert not seen["done"]
    assert seen["taken_away"] == ["logs/app.log", "runs/job_new/x"]
    assert traces(lived) == before
    done = llmops.run("restore", str(tmp_path / "b.tar"), "--yes")
    assert len(traces(lived)) == 50
    assert traces(Workspace(Path(done["kept"]))) == before


def test_a_workspace_in_use_is_not_replaced(lived: Workspace, tmp_path: Path) -> None:
    from llmops_tui.jobs.process import identify

    backup(lived, tmp_path / "b.tar")
    store = JobStore(EventLog(lived))
    job = store.add(kind="x", title="long work", spec={})
    me = identify(os.getpid())
    assert me is not None
    store.update(job.id, state="running", pid=me.pid, pid_started=me.started)
    with pytest.raises(InputRefusedError, match="long work"):
        restore(tmp_path / "b.tar", lived)
    assert preview(tmp_path / "b.tar", lived).replaced


@pytest.mark.parametrize(
    "damage", representatives(["cut", "flip", "empty", "text", "foreign", "escape"], "flip", "foreign", "escape")
)
def test_a_damaged_backup_changes_nothing(lived: Workspace, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "b.tar"
    backup(lived, path)
    raw = path.read_bytes()
    if damage == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "flip":
        path.write_bytes(raw[:500_000] + bytes([raw[500_000] ^ 1]) + raw[500_001:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no backup at all")
    else:
        with tarfile.open(path, "a") as archive:
            info = tarfile.TarInfo("../../evil" if damage == "escape" else "other")
            archive.addfile(info)
    before = contents(lived.root)
    with pytest.raises(InputRefusedError):
        restore(path, lived)
    assert contents(lived.root) == before
    assert not (tmp_path / "evil").exists()


def test_a_backup_goes_where_it_may_and_replaces_an_older_one_at_the_end(lived: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="inside"):
        backup(lived, lived.root / "b.tar")
    with pytest.raises(InputRefusedError, match="folder"):
        backup(lived, tmp_path)
    with pytest.raises(InputRefusedError, match="not a folder"):
        backup(lived, tmp_path / "nowhere" / "b.tar")
    first = backup(lived, tmp_path / "b.tar", models=False)
    assert not any(name.startswith("models/") for name in first.files)
    second = backup(lived, tmp_path / "b.tar")
    assert read_manifest(tmp_path / "b.tar").files == second.files
    assert [p.name for p in tmp_path.glob(".b*")] == []


def test_a_full_disk_keeps_the_older_backup(lived: Workspace, tmp_path: Path) -> None:
    small = Path("/dev/shm") / f"llmops-test-{os.getpid()}"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from llmops_tui.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    shutil.rmtree(small, ignore_errors=True)
    path = tmp_path / "b.tar"
    path.write_text("the older one")
    done = subprocess.run(
        [sys.executable, "-c", code, "--workspace", str(lived.root), "backup", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert path.read_text() == "the older one"
    assert check(lived).errors == []


# ── clearing away ──


def untidy(workspace: Workspace) -> None:
    """What work leaves behind."""
    long_ago = time.time() - 40 * 86_400
    for name in ("datasets/" + "a" * 64, "datasets/.staging-x", "models/left"):
        folder = workspace.root / name
        folder.mkdir(parents=True)
        (folder / "part-00000.parquet").write_bytes(b"x" * 1000)
        os.utime(folder, (long_ago, long_ago))
    for name in ("logs/old.log", "answers.db", "workspace.duckdb.wal.corrupt-1"):
        (workspace.root / name).write_bytes(b"x")
        os.utime(workspace.root / name, (long_ago, long_ago))
    store = JobStore(EventLog(workspace))
    for number in range(3):
        job = store.add(kind="verify", title=f"old {number}", spec={})
        store.update(job.id, state="done", created_at=long_ago, finished_at=long_ago)
        folder = store.folder(store.get(job.id))
        folder.mkdir(parents=True)
        (folder / "output.log").write_text("done")
    store.event_log.close()


@pytest.mark.slow
def test_what_goes_is_told_with_its_reason_and_what_is_needed_stays(lived: Workspace) -> None:
    untidy(lived)
    (lived.datasets / ("b" * 64)).mkdir()
    removals = plan(lived, Settings(trace_days=1))
    told = {removal.what: removal.why for removal in removals}
    assert told["datasets/" + "a" * 64] == "no dataset version refers to it"
    # What was made a moment ago may belong to work that has not told the catalog yet.
    assert "datasets/" + "b" * 64 not in told
    assert sum(1 for what in told if what.startswith("runs/job_")) == 3
    assert any("traces" in what for what in told)
    before = contents(lived.root)
    assert contents(lived.root) == before
    collect(lived, Settings(trace_days=1))
    assert plan(lived, Settings(trace_days=1)) == []
    assert traces(lived) == ["run_000003"]
    report = check(lived)
    # What is gone was taken away by us; the checksums of the rest hold.
    assert [error.place for error in report.errors if not error.text.startswith("is gone")] == []


def test_gc_leaves_a_clean_workspace(lived: Workspace) -> None:
    untidy(lived)
    llmops = Llmops(lived)
    assert llmops.run("gc")["done"] is False
    assert llmops.run("gc", "--yes")["size_bytes"] > 3000
    assert llmops.run("check")["clean"]
    assert llmops.run("gc")["removals"] == []
    # The second is the option's name in the first version.
    for option in ("--trust-clock", "--clock-is-right"):
        assert llmops.run("gc", option)["removals"] == []


# ── kill -9 ──


class Killer:
    """Kills a command at moments spread over the time it takes."""

    def __init__(self, seed: int, *arguments: str) -> None:
        self._rng = random.Random(seed)
        self._arguments = arguments
        self.hit = 0
        # The process that commands are forks of is there, so that its start counts for none.
        commands.llmops("--version")
        began = time.monotonic()
        assert commands.llmops(*arguments).returncode == 0
        self._seconds = time.monotonic() - began

    def __call__(self) -> None:
        began = time.monotonic()
        try:
            commands.llmops(*self._arguments, seconds=self._seconds * self._rng.uniform(0.02, 1.0))
            # It was quicker than before, so the next kill comes earlier.
            self._seconds = min(self._seconds, time.monotonic() - began)
        except subprocess.TimeoutExpired:
            self.hit += 1


def kill_backups(lived: Workspace, tmp_path: Path, times: int) -> None:
    path = tmp_path / "b.tar"
    kill = Killer(3, "--workspace", str(lived.root), "backup", str(path))
    old = read_manifest(path).made_at
    for _ in range(times):
        kill()
        manifest = verify(path)
        assert manifest.made_at >= old
        old = manifest.made_at
    assert kill.hit >= times // 5
    assert check(lived).errors == []
    backup(lived, path)
    assert [p.name for p in tmp_path.glob(".b*") if not p.name.startswith(".backup-")] == []


def kill_restores(lived: Workspace, tmp_path: Path, times: int) -> None:
    path = tmp_path / "b.tar"
    backup(lived, path)
    kill = Killer(4, "--workspace", str(lived.root), "restore", str(path), "--yes")
    old = traces(lived)
    for number in range(times):
        fill_traces(lived, 1, 5000 + number)
        new = traces(lived)
        assert new != old
        kill()
        now = traces(lived)
        assert now in (old, new)
        assert check(lived).errors == []
        if now == new:
            restore(path, lived)
        for kept in tmp_path.glob("ws.before-*"):
            shutil.rmtree(kept)
    assert kill.hit >= times // 5
    restore(path, lived)
    assert [p.name for p in tmp_path.glob("ws.restoring-*")] == []


def kill_collections(lived: Workspace, tmp_path: Path, times: int) -> None:
    kill = Killer(5, "--workspace", str(lived.root), "gc", "--yes")
    needed = {
        name: digest for name, digest in contents(lived.root).items() if name.startswith(("datasets/", "models/"))
    }
    for _ in range(times):
        shutil.rmtree(lived.root / "models" / "left", ignore_errors=True)
        for name in ("datasets/" + "a" * 64, "datasets/.staging-x"):
            shutil.rmtree(lived.root / name, ignore_errors=True)
        untidy(lived)
        kill()
        found = contents(lived.root)
        assert {name: found.get(name) for name in needed} == needed
        for folder in (lived.datasets / ("a" * 64), lived.models / "left"):
            # There as a whole, or gone.
            assert not folder.exists() or (folder / "part-00000.parquet").read_bytes() == b"x" * 1000
    assert kill.hit >= times // 5
    collect(lived, Settings())
    assert list(lived.root.glob(".cleared-*")) == []
    assert json.loads(json.dumps([r.as_dict() for r in plan(lived, Settings())])) == []


@pytest.mark.slow
def test_a_killed_backup_leaves_the_old_one_or_the_new_one(lived: Workspace, tmp_path: Path) -> None:
    kill_backups(lived, tmp_path, 3)


@pytest.mark.slow
def test_a_killed_restore_leaves_the_old_workspace_or_the_new_one(lived: Workspace, tmp_path: Path) -> None:
    kill_restores(lived, tmp_path, 3)


@pytest.mark.slow
def test_a_killed_gc_takes_nothing_that_is_needed(lived: Workspace, tmp_path: Path) -> None:
    kill_collections(lived, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", [kill_backups, kill_restores, kill_collections])
def test_thirty_kills(lived: Workspace, tmp_path: Path, what) -> None:  # type: ignore[no-untyped-def]
    what(lived, tmp_path, 30)


def test_a_backup_of_damage_never_replaces_a_good_one(lived: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    backup(lived, target)
    record_checksums(lived, again=True, large=True)
    good = target.read_bytes()
    victim = next(path for path in lived.datasets.rglob("*.parquet"))
    raw = bytearray(victim.read_bytes())
    raw[100] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(InputRefusedError) as caught:
        backup(lived, target)
    assert caught.value.code == "workspace_damaged"
    assert victim.relative_to(lived.root).as_posix() in caught.value.message
    assert target.read_bytes() == good
    with pytest.raises(InputRefusedError, match="better backup"):
        backup(lived, target, damaged=True)
    assert backup(lived, tmp_path / "new.tar", damaged=True).files


def test_folders_on_another_disk_are_in_a_backup_and_other_links_are_named(lived: Workspace, tmp_path: Path) -> None:
    whole = set(backup(lived, tmp_path / "a.tar").files)
    for folder in (lived.datasets, lived.models):
        there = tmp_path / f"disk-{folder.name}"
        folder.rename(there)
        folder.symlink_to(there)
    (lived.models / "linked.gguf").symlink_to(tmp_path / "a.tar")
    (lived.root / "broken").symlink_to(tmp_path / "none")
    manifest = backup(lived, tmp_path / "b.tar")
    assert whole <= set(manifest.files)
    assert {"models/linked.gguf (a link)", "broken (a link)"} <= set(manifest.left_out)


def test_what_lies_beside_a_backup_and_is_not_ours_stays(lived: Workspace, tmp_path: Path) -> None:
    others = [".backup-mine", ".llmops-backup-mine", "ws.restoring-mine"]
    for name in others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("x")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".b.tar.1.tmp").write_text("x")
    killed = tmp_path / f".llmops-backup-{2**22 + 1}-killedit"
    killed.mkdir()
    (killed / "made-by-llmops").touch()
    backup(lived, tmp_path / "b.tar")
    assert not killed.exists()
    restore(tmp_path / "b.tar", lived)
    assert all((tmp_path / name / "precious").exists() for name in others)
    assert (tmp_path / ".b.tar.1.tmp").exists()


def test_clearing_away_follows_no_link(lived: Workspace, tmp_path: Path) -> None:
    tools = tmp_path / "another-tool"
    tools.mkdir()
    (tools / "model.gguf").write_text("x")
    (tools / "a.log").write_text("x")
    later = time.time() + 1_000_000
    for folder in (lived.models, lived.logs):
        folder.rename(tmp_path / f"old-{folder.name}")
        folder.symlink_to(tools)
    (lived.datasets / ("0" * 64)).symlink_to(tools)
    assert [
        r
        for r in plan(lived, Settings(), days=0, now=later)
        if r.path is not None and "another" in str(r.path.resolve())
    ] == []


def test_a_catalog_that_was_cut_off_is_not_checksummed_as_right_by_a_look(lived: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    backup(lived, target)
    record_checksums(lived, again=True, large=True)
    good = target.read_bytes()
    os.truncate(lived.catalog, lived.catalog.stat().st_size // 2)
    for command in ("model", "prompt", "data"):
        commands.llmops(command, "list", workspace=lived)
    assert check(lived).errors
    with pytest.raises(InputRefusedError, match=r"workspace\.duckdb"):
        backup(lived, target)
    # Nor where it has no checksum at all.
    (lived.root / "seals.json").unlink()
    marker = lived.root / "workspace.json"
    marker.write_text(marker.read_text().replace(', "seals.json"', ""))
    with pytest.raises(InputRefusedError, match="Corrupt"):
        backup(lived, target)
    assert target.read_bytes() == good
