"""A check finds what is wrong, names it, and finds nothing where nothing is."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import duckdb
import pytest

from llmops_tui.cli.options import Globals
from llmops_tui.cli.output import Session
from llmops_tui.cli.serve_address import keys_of
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.check_files import against_checksums
from llmops_tui.maintenance.findings import Report
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.rules import save_rules
from llmops_tui.workspace import checksums
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import CHECKSUMS_FILE, checksummed_files
from llmops_tui.workspace.checksums import load, record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import try_lock
from llmops_tui.workspace.written import note_all
from tests.commands import Llmops
from tests.maintenance.conftest import fill_traces
from tests.maintenance.corruption import replaced
from tests.maintenance.full_workspace import RULE
from tests.representatives import representatives


def flip(path: Path, bit: int) -> None:
    """Change one bit in the middle of a file, in place."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


def names(workspace: Workspace) -> list[str]:
    return [
        name for name in [*checksummed_files(workspace.root), CHECKSUMS_FILE] if (workspace.root / name).stat().st_size
    ]


def test_a_workspace_at_rest_is_clean_and_a_check_changes_nothing_it_keeps(lived: Workspace) -> None:
    report = check(lived)
    assert report.errors == []
    assert report.findings == []
    assert report.looked_at["rows of the catalog"] > 50
    assert report.looked_at["events"] == 10
    assert check(lived).errors == []


KINDS = ("workspace.duckdb", "journal.db", "history.db", "seals.json", "logs/app.log", "runs/job_old/state.json")


def flips(workspace: Workspace, files: list[str], count: int, seed: int) -> None:
    """Flip bits anywhere, one at a time, each file in its turn; each is found and its file named."""
    rng = random.Random(seed)
    missed = []
    for number in range(count):
        name = files[number % len(files)]
        path = workspace.root / name
        size = path.stat().st_size
        # Heads are where structures are; they get more than their share.
        bit = rng.randrange(min(size, 128) * 8) if rng.random() < 0.2 else rng.randrange(size * 8)
        before = path.read_bytes()
        flip(path, bit)
        found = check(workspace)
        if not any(name in error.place or name in error.text for error in found.errors):
            missed.append((name, bit, [error.place for error in found.errors]))
        path.write_bytes(before)
        checksums.record_checksums(workspace, again=True, large=True)
    assert missed == []


def test_a_flipped_bit_anywhere_is_found_and_named(lived: Workspace) -> None:
    # A file of each kind; all of them are of the slow tests.
    assert set(KINDS) <= set(names(lived))
    flips(lived, list(KINDS), len(KINDS), 1)


@pytest.mark.slow
def test_many_flipped_bits_anywhere_are_found_and_named(lived: Workspace) -> None:
    flips(lived, names(lived), 400, 2)


def test_a_flipped_bit_is_found_in_the_page_it_is_in(lived: Workspace) -> None:
    flip(lived.event_log, 8 * 5000)
    (error,) = [e for e in check(lived).errors if e.place == "journal.db"]
    assert "bytes 0 to" in error.text
    # SQLite itself sees nothing of a bit in a row.
    assert sqlite3.connect(lived.event_log).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_writer_that_was_killed_while_it_moved_its_writes_did_no_damage(lived: Workspace) -> None:
    log = lived.catalog.with_name(lived.catalog.name + ".wal")
    with duckdb.connect(str(lived.catalog)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO prompts VALUES ('logged', 0)")
    assert log.stat().st_size
    # As it leaves a page of which nothing is known yet: only the count in the header tells of it.
    flip(lived.catalog, 8 * (lived.catalog.stat().st_size - 10))

    def found() -> list[tuple[str, str]]:
        report = Report()
        against_checksums(lived, report, lambda _share, _what: None)
        return [(one.level, one.text) for one in report.findings if one.place == "workspace.duckdb"]

    ((level, text),) = found()
    assert level == "note"
    assert "its writer was killed" in text
    # Without the log there was no writer.
    log.unlink()
    ((level, text),) = found()
    assert level == "error"
    assert "was not changed by llmops" in text


def test_the_count_of_writes_cannot_hide_a_flip(lived: Workspace) -> None:
    flip(lived.event_log, 8 * 62)
    (error,) = check(lived).errors
    assert "count of writes" in error.text


def test_what_we_wrote_since_is_no_damage(lived: Workspace) -> None:
    fill_traces(lived, 5, 100)
    with (lived.logs / "app.log").open("a") as file:
        file.write("more\n")
    report = check(lived)
    assert report.errors == []
    assert [finding.place for finding in report.findings] == ["journal.db"]
    assert check(lived).findings == []


def test_a_row_that_was_changed_after_the_checksum_is_found_by_its_own_hash(lived: Workspace) -> None:
    fill_traces(lived, 5, 100)
    connection = sqlite3.connect(lived.event_log)
    connection.execute("UPDATE events SET body = replace(body, 'answer 102', 'answer 103')")
    connection.commit()
    connection.close()
    assert [error.place for error in check(lived).errors] == ["journal.db: event run_000102"]


def test_a_file_that_is_gone_or_cut_off_is_named(lived: Workspace) -> None:
    (lived.runs / "job_old" / "state.json").unlink()
    with (lived.runs / "job_old" / "output.log").open("r+b") as file:
        file.truncate(10)
    found = {error.place: error.text for error in check(lived).errors}
    assert found["runs/job_old/state.json"] == "is gone"
    assert "truncated" in found["runs/job_old/output.log"]


def test_a_log_that_was_rotated_is_no_damage(lived: Workspace) -> None:
    log = lived.logs / "app.log"
    log.rename(log.with_name("app.log.1"))
    log.write_text("new\n")
    assert check(lived).errors == []
    log.replace(log.with_name("app.log.1"))
    log.write_text("newer\n")
    assert check(lived).errors == []


def test_references_and_hashes_in_the_catalog_are_followed(lived: Workspace) -> None:
    def spoil(db):  # type: ignore[no-untyped-def]
        db.execute("UPDATE prompt_labels SET number = 99 WHERE prompt = 'triage'")
        db.execute("UPDATE prompt_versions SET template = 'other' WHERE prompt = 'support' AND number = 1")
        db.execute("UPDATE dataset_versions SET sha256 = repeat('0', 64), parent = 7 WHERE dataset = 'triage-test'")
        db.execute("UPDATE evaluation_suites SET body = '{}' WHERE name = 'triage'")

    Catalog(lived).write(spoil)
    places = " ".join(error.place for error in check(lived).errors)
    for place in (
        "label triage@production",
        "prompt support@1",
        "datasets/000000000000",
        "dataset triage-test@1",
        "triage@1",
    ):
        assert place in places


def test_a_model_that_changed_or_is_gone_is_named(lived: Workspace) -> None:
    model = ModelRegistry(Catalog(lived)).get("support-base")
    flip(model.path, 8 * 100_000)
    found = {error.place: error for error in check(lived).errors}
    assert "not the file that was registered" in found["model support-base"].text
    model.path.unlink()
    assert "is missing" in next(e.text for e in check(lived).errors if e.place == "model support-base")


def test_a_damaged_catalog_is_named_and_the_rest_is_looked_at(lived: Workspace) -> None:
    raw = bytearray(lived.catalog.read_bytes())
    raw[4096:4200] = b"x" * 104
    lived.catalog.write_bytes(bytes(raw))
    report = check(lived)
    assert any("workspace.duckdb" in error.text for error in report.errors)
    assert report.looked_at["events"] == 10


def test_what_was_accepted_is_right_from_then_on(lived: Workspace) -> None:
    llmops = Llmops(lived)
    llmops.run("job", "list")
    flip(lived.root / "runs" / "job_old" / "state.json", 9)
    found = llmops.run("check", code=1)
    assert not found["clean"]
    # Sealing again by itself never makes damage right.
    llmops.run("job", "list")
    llmops.run("check", code=1)
    llmops.run("check", "--accept")
    assert llmops.run("check")["clean"]


def test_each_command_checksums_what_it_wrote(workspace: Workspace) -> None:
    llmops = Llmops(workspace)
    llmops.run("prompt", "save", "p", "--text", "hello {{ name }}")
    assert {"workspace.duckdb", "journal.db"} & checksums.load(workspace).files.keys()
    assert "not held" not in str(llmops.run("check"))


def test_a_event_log_in_use_is_looked_at_without_being_disturbed(lived: Workspace) -> None:
    event_log = EventLog(lived)
    event_log.append("request", "run_new", {"started_at": 1.0, "model": "m", "output": "", "finish_reason": "stop"})
    assert check(lived).errors == []
    assert event_log.append(
        "request", "run_newer", {"started_at": 1.0, "model": "m", "output": "", "finish_reason": "stop"}
    )
    event_log.close()


def test_a_file_that_goes_by_nobodys_hand_stays_missed(lived: Workspace) -> None:
    part = next(lived.datasets.glob("*/*.parquet"))
    name = part.relative_to(lived.root).as_posix()
    part.unlink()
    record_checksums(lived)
    assert name in load(lived).files
    assert any(error.place == name and "is gone" in error.text for error in check(lived).errors)


def test_a_dataset_that_is_replaced_as_a_whole_is_not_checksummed_as_right(lived: Workspace) -> None:
    part = next(lived.datasets.glob("*/*.parquet"))
    name = part.relative_to(lived.root).as_posix()
    before = load(lived).files[name]
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 1
    part.unlink()
    part.write_bytes(raw)
    record_checksums(lived)
    assert load(lived).files[name] == before
    assert any(error.place == name for error in check(lived).errors)


@pytest.mark.parametrize(
    "name",
    representatives(
        [
            "models/support-base-Q4_K_M.gguf",
            "models/support-base-hf/config.json",
            "runs/job_old/state.json",
            "runs/job_old/output.log",
            "alerts.yaml",
        ],
        "models/support-base-hf/config.json",
        "alerts.yaml",
    ),
)
def test_a_file_that_is_replaced_as_a_whole_keeps_its_checksum(lived: Workspace, name: str) -> None:
    path = lived.root / name
    if name == "alerts.yaml":
        path.write_text(RULE)
        record_checksums(lived, again=True)
    before = load(lived).files[name]
    replaced(path)
    record_checksums(lived)
    assert load(lived).files[name] == before
    assert any(error.place == name for error in check(lived).errors)
    check(lived, accept=True)
    # The catalog's own hash of a model goes on to differ.
    assert not any(error.place == name for error in check(lived).errors)


def test_whoever_writes_a_file_renews_its_checksum(lived: Workspace) -> None:
    save_rules(lived.alert_rules, RULE)
    record_checksums(lived)
    save_rules(lived.alert_rules, RULE.replace("errors,", "failures,"))
    record_checksums(lived)
    assert not check(lived).errors
    # A model that is made again under its name is registered anew.
    registry = ModelRegistry(Catalog(lived))
    path = registry.get("support-base-q4").path
    registry.remove("support-base-q4")
    path.with_name("beside").write_bytes(registry.get("support-base").path.read_bytes())
    path.with_name("beside").replace(path)
    registry.add(path, "support-base-q4")
    record_checksums(lived)
    assert not check(lived).errors


def test_the_folder_of_a_job_at_work_is_left_to_whoever_is_at_work(lived: Workspace) -> None:
    folder = lived.runs / "job_old"
    name = "runs/job_old/state.json"
    lock = try_lock(folder / "work.lock")
    assert lock is not None
    before = load(lived).files[name]
    write_atomic(folder / "state.json", '{"step": 4}')
    record_checksums(lived)
    assert load(lived).files[name] == before
    note_all(folder)
    record_checksums(lived)
    assert load(lived).files[name] == before
    os.close(lock)
    record_checksums(lived)
    assert load(lived).files[name] != before
    assert not check(lived).errors


def test_a_key_that_is_made_anew_is_ours(lived: Workspace) -> None:
    session = Session(Globals(workspace=str(lived.root)))
    key = keys_of(session, None, no_key=False, host=None)[1]
    assert key is not None
    record_checksums(lived)
    key.unlink()
    keys_of(session, None, no_key=False, host=None)
    record_checksums(lived)
    assert check(lived).errors == []


@pytest.mark.slow
@pytest.mark.parametrize("size", representatives([0, 10, 4_100, 8_200], 10))
def test_a_database_that_was_put_aside_and_cut_is_named_and_stops_nothing(lived: Workspace, size: int) -> None:
    name = "backups/workspace-schema6-20260101-000000.duckdb"
    (lived.root / name).write_bytes(lived.catalog.read_bytes())
    record_checksums(lived)
    assert name in load(lived).files
    os.truncate(lived.root / name, size)
    for _ in range(2):
        assert name in {finding.place for finding in check(lived).errors}
        record_checksums(lived)
