"""A backup of a healthy workspace is made, whatever goes on beside it, and leaves others' backups alone."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance import backup as backing
from llmops_tui.maintenance import check_catalog, check_files, staging
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.findings import Report
from llmops_tui.maintenance.staging import clear_leftovers, made_beside
from llmops_tui.monitoring.rules import save_rules
from llmops_tui.workspace import checksums
from llmops_tui.workspace.catalog import Catalog, catalog_lock
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.kept_engines import close_kept
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import is_held, locked
from tests.commands import Llmops

NOBODY = 2**22 + 1
RULE = "- {name: errors, series: 'errors.*', above: 0.5, for_seconds: 2, severity: error}"


def compared(workspace: Workspace) -> Report:
    report = Report()
    check_files.against_checksums(workspace, report, lambda _share, _what: None)
    return report


def test_alert_rules_that_were_edited_are_told_and_backed_up(lived: Workspace, tmp_path: Path) -> None:
    save_rules(lived.alert_rules, RULE)
    record_checksums(lived, again=True)
    lived.alert_rules.write_text(RULE.replace("errors,", "failures,"), encoding="utf-8")  # as an editor does
    assert [error.place for error in check(lived).errors] == ["alerts.yaml"]
    told = Llmops(lived).run("backup", str(tmp_path / "b.tar"))
    assert [note.split()[0] for note in told["notes"]] == ["alerts.yaml"]
    assert "alerts.yaml" in backing.verify(tmp_path / "b.tar").files


def test_what_is_refused_can_be_accepted(lived: Workspace, tmp_path: Path) -> None:
    victim = lived.runs / "job_old" / "state.json"
    victim.write_text('{"step": 4}')
    with pytest.raises(InputRefusedError, match=r"job_old/state\.json") as caught:
        backup(lived, tmp_path / "b.tar")
    assert "llmops check --accept" in caught.value.hint
    check(lived, accept=True)
    assert backup(lived, tmp_path / "b.tar").notes == []


def test_rows_that_swap_their_values_are_no_damage(lived: Workspace) -> None:
    """DuckDB's own checksum of a block is the same when two of its words swap places; ours tells them apart."""
    catalog, values = Catalog(lived), [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest()[:16] for n in range(2500)]

    def fill(connection: Any) -> None:
        connection.execute("CREATE TABLE many (id INTEGER, v VARCHAR)")
        connection.executemany("INSERT INTO many VALUES (?, ?)", list(enumerate(values)))

    def swap(connection: Any, first: int) -> None:
        for here, there in ((first, first + 1), (first + 1, first)):
            connection.execute("UPDATE many SET v = ? WHERE id = ?", [values[there], here])

    for work in (fill, *(partial(swap, first=10 + 2 * number) for number in range(6))):
        catalog.write(work)
        catalog.write(lambda connection: connection.execute("CHECKPOINT"))
        close_kept()
        record_checksums(lived)
    assert check(lived).errors == []


def test_each_part_of_a_long_file_has_its_own_hash(tmp_path: Path) -> None:
    raw = b"".join(number.to_bytes(4, "big") * 1024 for number in range(1300))
    path = tmp_path / "long.bin"
    path.write_bytes(raw)
    part = checksums.chunk_size(len(raw))
    for size in (len(raw), len(raw) - 1, len(raw) + 1):
        # Of one that was cut there are fewer parts.
        told = checksums.chunks_of(path, size)
        parts = [raw[:size][n : n + part] for n in range(0, min(size, len(raw)), part)]
        assert told == tuple(hashlib.blake2b(one, digest_size=8).hexdigest() for one in parts)
    assert len(raw) > 4 * 1024 * 1024


class Meanwhile:
    """Something that happens once, when the parts of a file are about to be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, work: Any) -> None:
        self._real, self._path, self._work = checksums.chunks_of, path, work
        self.times = 0
        monkeypatch.setattr(checksums, "chunks_of", self)

    def __call__(self, path: Path, size: int) -> tuple[str, ...]:
        if path == self._path:
            self.times += 1
            if self.times == 1:
                self._work()
        return self._real(path, size)


def test_a_checkpoint_while_the_catalog_is_compared_is_no_damage(
    lived: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(connection: Any) -> None:
        connection.execute("CREATE TABLE much AS SELECT range AS n, md5(range::VARCHAR) AS t FROM range(200000)")

    meanwhile = Meanwhile(monkeypatch, lived.catalog, lambda: Catalog(lived).write(write))
    report = compared(lived)
    assert meanwhile.times >= 1
    assert report.errors == []
    assert any(f.place == lived.catalog.name and "written since" in f.text for f in report.findings)


def test_pages_that_change_before_the_count_are_compared_again_while_nobody_writes(
    lived: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lived.catalog.read_bytes()
    torn = bytearray(whole)
    torn[20_000] ^= 1
    lived.catalog.write_bytes(torn)
    real = check_files.locked

    def finished(path: Path, seconds: float) -> Any:
        lived.catalog.write_bytes(whole)
        return real(path, seconds)

    # The other one is done as soon as its lock can be had.
    monkeypatch.setattr(check_files, "locked", finished)
    assert compared(lived).errors == []
    lived.catalog.write_bytes(torn)
    monkeypatch.setattr(check_files, "locked", real)
    assert [error.place for error in compared(lived).errors] == [lived.catalog.name]
    monkeypatch.setattr(check_files, "LOCK_SECONDS", 0.0)
    with locked(catalog_lock(lived)) as alone:
        assert alone
        busy = compared(lived)
    assert busy.errors == []
    assert any(f.place == lived.catalog.name and "in use" in f.text for f in busy.findings)


def test_a_check_that_finds_the_workspace_busy_says_so_and_calls_nothing_damaged(
    lived: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_files, "LOCK_SECONDS", 0.0)
    monkeypatch.setattr(check_catalog, "Catalog", partial(Catalog, lock_seconds=0.0))
    with locked(catalog_lock(lived)) as alone, pytest.raises(LlmopsError, match="stayed locked") as told:
        assert alone
        check(lived)
    assert told.value.code == "workspace_locked"
    assert check(lived).errors == []


def test_a_file_that_goes_while_files_are_compared(lived: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(EventLog(lived))
    job = store.add(kind="verify", title="at work", spec={})
    store.update(job.id, state="running")
    folder = store.folder(store.get(job.id))
    folder.mkdir(parents=True)
    for path in (folder / "state.json", lived.root / "notes.txt"):
        path.write_text("{}")
    store.event_log.close()
    record_checksums(lived, again=True)
    with monkeypatch.context() as patch:
        Meanwhile(patch, folder / "state.json", (folder / "state.json").unlink)
        assert compared(lived).errors == []
    with monkeypatch.context() as patch:
        Meanwhile(patch, lived.root / "notes.txt", (lived.root / "notes.txt").unlink)
        assert [(e.place, e.text) for e in compared(lived).errors] == [("notes.txt", "is gone")]


def test_a_file_that_cannot_be_read_is_named(lived: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise OSError(5, "Input/output error")

    Meanwhile(monkeypatch, lived.runs / "job_old" / "state.json", fails)
    assert [(e.place, e.text) for e in compared(lived).errors] == [
        ("runs/job_old/state.json", "cannot be read: Input/output error")
    ]


# ── what lies beside a backup ──


def left(folder: Path) -> Path:
    folder.mkdir()
    (folder / "backup.tar").write_text("x")
    (folder / "made-by-llmops").touch()
    return folder


def aged(folder: Path) -> Path:
    long_ago = time.time() - 7200
    for path in (*folder.iterdir(), folder):
        os.utime(path, (long_ago, long_ago))
    return folder


def test_a_backup_of_another_machine_into_the_same_folder_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "b.tar"
    # Its number is of another container: nobody here has it.
    monkeypatch.setattr(staging.os, "getpid", lambda: NOBODY)
    with made_beside(target) as folder:
        assert f"-{NOBODY}-" in folder.name
        clear_leftovers(target)
        assert folder.exists()
        aged(folder)
        clear_leftovers(target)
        assert folder.exists()
    assert list(tmp_path.glob(".llmops-backup-*")) == []


def test_a_folder_cleared_away_before_its_mark_was_in_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, made = tmp_path / "b.tar", []

    def make(**place: Any) -> str:
        folder = tempfile.mkdtemp(**place)
        made.append(Path(folder))
        if len(made) == 1:
            clear_leftovers(target)
        return folder

    monkeypatch.setattr(staging.os, "getpid", lambda: NOBODY)
    monkeypatch.setattr(staging, "tempfile", SimpleNamespace(mkdtemp=make))
    with made_beside(target) as folder:
        assert (folder, len(made), made[0].exists()) == (made[1], 2, False)
        (folder / "backup.tar").write_text("x")
    assert list(tmp_path.glob(".llmops-backup-*")) == []


def test_a_folder_whose_mark_another_backup_looks_at_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked = staging.try_lock, []

    def held_at_first(mark: Path) -> int | None:
        looked.append(mark)
        return None if len(looked) == 1 else real(mark)

    monkeypatch.setattr(staging, "try_lock", held_at_first)
    with made_beside(tmp_path / "b.tar") as folder:
        assert folder == looked[1].parent != looked[0].parent
        assert is_held(looked[1])


def test_leftovers_are_free_and_of_nobody_here_or_old(tmp_path: Path) -> None:
    target = tmp_path / "b.tar"

    def named(number: int, name: str) -> Path:
        return tmp_path / f".llmops-backup-{number}-{name}"

    dead = left(named(NOBODY, "deadmark"))
    old = aged(left(named(os.getpid(), "oldmarks")))
    # Of a version whose folders had no number in their names.
    nameless = aged(left(tmp_path / ".llmops-backup-nameless"))
    empty = named(NOBODY, "emptydir")
    gone = {dead, old, nameless, empty}
    alive = left(named(os.getpid(), "livemark"))
    begun = named(os.getpid(), "begunnow")
    written = aged(left(named(os.getpid(), "written_")))
    (written / "backup.tar").write_text("more")
    unmarked = named(NOBODY, "unmarked")
    mine = tmp_path / ".llmops-backup-mine"
    for path in (empty, begun, unmarked, mine):
        path.mkdir()
    (unmarked / "file").write_text("not ours")
    others = left(tmp_path / "others")
    link = tmp_path / ".llmops-backup-link"
    link.symlink_to(others)
    marked = named(NOBODY, "linkmark")
    marked.mkdir()
    (marked / "made-by-llmops").symlink_to(others / "made-by-llmops")
    clear_leftovers(target)
    assert not [path for path in gone if path.exists()]
    kept = (alive, begun, written, mine, link, marked / "made-by-llmops", unmarked / "file", others / "backup.tar")
    assert all(path.exists() for path in kept)
