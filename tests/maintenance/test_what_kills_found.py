"""Faults that kills and two others at work brought to light, each at its very moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmops_tui import settings as settings_module
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.rejects import read_rejects, rejects_path
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.store import JobState
from llmops_tui.maintenance import gc, record_removal, trace_removal
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.record_removal import remove_record
from llmops_tui.maintenance.restore import restore
from llmops_tui.maintenance.trace_removal import remove_traces
from llmops_tui.monitoring import rules
from llmops_tui.prompts.store import PromptStore
from llmops_tui.settings import Settings, load_settings, save_settings
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.training.recipe import check as check_recipe
from llmops_tui.training.runs import RunStore
from llmops_tui.user_files import settings_path
from llmops_tui.workspace import approved_digests
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.fakes import end_processes, start_no_processes


class Killed(BaseException):
    """Nothing after it is done, as after a kill."""


def die(*_given: Any, **_named: Any) -> Any:
    raise Killed


# Reads the event log, and is the last to close it where nobody else has it open.
READS = """
import sys
from pathlib import Path
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
event_log = EventLog(Workspace(Path(sys.argv[1])))
print(*(row[0] for row in event_log.connection().execute("SELECT key FROM events ORDER BY seq")))
event_log.close()
"""


def read_elsewhere(workspace: Workspace) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", READS, str(workspace.root)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.slow
def test_whoever_checksummed_still_writes_into_the_event_log_that_others_read(
    workspace: Workspace, event_log: EventLog
) -> None:
    Catalog(workspace).write(lambda connection: connection.execute("SELECT 1"))
    event_log.append("request", "a", {})
    assert record_checksums(workspace) > 0
    assert check(workspace).errors == []
    assert read_elsewhere(workspace) == ["a"]
    event_log.append("request", "b", {})
    assert read_elsewhere(workspace) == ["a", "b"]


def test_settings_that_cannot_be_read_stay_until_others_take_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text('trace_contents = "off"\n')
    assert load_settings()[0].trace_content == "off"
    with monkeypatch.context() as patch:
        patch.setattr(settings_module, "write_atomic", die)
        with pytest.raises(Killed):
            save_settings(Settings(trace_content="redact"))
    assert load_settings()[0].trace_content == "off"
    kept = save_settings(Settings(trace_content="redact"))
    assert kept is not None
    assert kept.read_text() == 'trace_contents = "off"\n'
    assert load_settings() == (Settings(trace_content="redact"), [])


def test_rules_that_two_approve_at_once_are_both_approved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process approves between the reading and the writing of this one: it waits, or is not lost."""
    paths = [tmp_path / name for name in ("a.yaml", "b.yaml")]
    for path in paths:
        path.write_text(path.name)
    code = "import sys; from pathlib import Path; from llmops_tui.monitoring.rules import approve_rules; approve_rules(Path(sys.argv[1]))"
    began: list[subprocess.Popen[bytes]] = []
    words = approved_digests._words

    def meanwhile(raw: bytes) -> list[str]:
        if not began:
            began.append(subprocess.Popen([sys.executable, "-c", code, str(paths[1])]))
            # It comes to an end only once this one is through, or has overtaken it by then.
            with pytest.raises(subprocess.TimeoutExpired):
                began[0].wait(0.5)
        return words(raw)

    rules.approve_rules(paths[0])
    monkeypatch.setattr(approved_digests, "_words", meanwhile)
    rules.approve_rules(paths[0])
    assert began[0].wait(120) == 0
    assert all(rules.may_run(path) for path in paths)


# ── datasets ──


def lines(tmp_path: Path) -> Path:
    file = tmp_path / "some.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": str(n)}]} for n in range(3)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    return file


def test_a_version_that_is_known_has_what_was_set_apart(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = DatasetStore(Catalog(workspace)), lines(tmp_path)
    record = DatasetStore._record

    def recorded(*given: Any) -> Any:
        record(*given)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(DatasetStore, "_record", recorded)
        with pytest.raises(Killed):
            import_now(store, [file], "some", "messages")
    (version,) = store.logs()["some"]
    assert len(read_rejects(workspace, version)) == version.rejected == 1
    # The same again makes no version, and leaves nothing that belongs to none.
    assert import_now(store, [file], "some", "messages").id == version.id
    assert list((workspace.datasets / "rejected").iterdir()) == [rejects_path(workspace, version)]


def test_rows_that_another_dataset_just_took_for_its_own_are_not_removed(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = DatasetStore(Catalog(workspace)), lines(tmp_path)
    import_now(store, [file], "one", "messages")
    planned = record_removal._plan

    def meanwhile(*given: Any, **named: Any) -> Any:
        found = planned(*given, **named)
        import_now(store, [file], "two", "messages")
        return found

    monkeypatch.setattr(record_removal, "_plan", meanwhile)
    with monkeypatch.context() as patch:
        patch.setattr(record_removal, "_TRIES", 1)
        with pytest.raises(InputRefusedError, match="two@1 was just made of the same rows"):
            remove_record(workspace, Kept.DATASET, "one")
    assert all(version.files for name in ("one", "two") for version in store.logs()[name])
    remove_record(workspace, Kept.DATASET, "two")
    # It is made again meanwhile; another plan knows of it.
    assert remove_record(workspace, Kept.DATASET, "one").done
    assert store.get("two").files
    assert check(workspace).errors == []


def test_rows_that_are_being_taken_away_are_put_there_again_by_whoever_needs_them(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their folder is away before the version that had them is forgotten."""
    store, file = DatasetStore(Catalog(workspace)), lines(tmp_path)
    version = import_now(store, [file], "one", "messages")
    written = Catalog.write

    def write(catalog: Catalog, work: Any) -> Any:
        monkeypatch.setattr(Catalog, "write", written)
        assert not version.folder.exists()
        import_now(store, [file], "two", "messages")
        return written(catalog, work)

    monkeypatch.setattr(Catalog, "write", write)
    assert remove_record(workspace, Kept.DATASET, "one").done
    assert store.get("two").files
    assert check(workspace).errors == []


def test_rows_that_nobody_needed_are_not_cleared_away_from_whoever_needs_them_now(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = DatasetStore(Catalog(workspace)), lines(tmp_path)
    version = import_now(store, [file], "one", "messages")
    store.catalog.write(lambda connection: connection.execute("DELETE FROM dataset_versions"))
    old = time.time() - 7200
    os.utime(version.folder, (old, old))
    store.catalog.write(lambda connection: connection.execute("UPDATE workspace SET made_at = 0"))
    planned = gc.plan

    def meanwhile(*given: Any, **named: Any) -> Any:
        found = planned(*given, **named)
        import_now(store, [file], "two", "messages")
        return found

    monkeypatch.setattr(gc, "plan", meanwhile)
    assert version.folder not in {removal.path for removal in gc.collect(workspace, Settings())}
    assert store.get("two").files


# ── erasing, restoring, clearing away ──


@pytest.mark.slow
def test_an_erasure_that_was_cut_off_is_told_and_ended(lived: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trace_removal, "erase_deleted", die)
        with pytest.raises(Killed):
            remove_traces(lived, TraceFilter(), "run_000005")
    store = TraceStore(Catalog(lived), EventLog(lived))
    assert "run_000005" not in {line.id for line in store.page(TraceFilter(), 100)[0]}
    store.event_log.close()
    told = [finding.text for finding in check(lived).findings if finding.place == "what was deleted"]
    assert told == ["is still in some files, because its erasure was interrupted: llmops gc --yes completes it"]
    assert [one.what for one in gc.plan(lived, Settings())] == ["what was deleted"]
    assert [one.what for one in gc.collect(lived, Settings())] == ["what was deleted"]
    assert gc.plan(lived, Settings()) == []
    assert b"question 5\\" not in lived.catalog.read_bytes()
    assert check(lived).errors == []


def test_what_a_kill_left_half_of_a_catalog_is_cleared_away(workspace: Workspace) -> None:
    Catalog(workspace).write(lambda connection: connection.execute("SELECT 1"))
    left = [
        workspace.root / ".workspace.duckdb.anew",
        workspace.root / ".workspace.duckdb.anew.wal",
        workspace.backups / ".workspace-schema6-20260101-000000.duckdb.tmp",
        workspace.models / ".mine.gguf.part",
        workspace.datasets / "rejected" / "dsv_1.part",
    ]
    (workspace.datasets / "rejected").mkdir()
    for path in left:
        path.write_text("half")
    later = time.time() + 7200
    assert {removal.path for removal in gc.plan(workspace, Settings(), now=later)} == set(left)
    # One of them is no part of what is written there next.
    Catalog(workspace).rewrite_catalog()
    assert not any(path.exists() for path in left[:2])


def test_two_restores_in_one_second_keep_both_that_were_there(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101-000000")
    prompts = PromptStore(Catalog(workspace))
    prompts.save("first", template="x")
    backup(workspace, tmp_path / "first.tar")
    kept = []
    for name in ("second", "third"):
        prompts.save(name, template="x")
        kept.append(restore(tmp_path / "first.tar", workspace))
    assert [path.name for path in kept if path] == ["ws.before-20260101-000000", "ws.before-20260101-000000-2"]
    names = [{one.name for one in PromptStore(Catalog(Workspace(path))).summaries()} for path in kept if path]
    assert names == [{"first", "second"}, {"first", "third"}]


def test_a_run_whose_job_was_killed_after_its_result_was_kept_is_done(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was shown as lost, with the advice to go on with it, and going on was refused since it was done."""
    start_no_processes(monkeypatch)
    store = RunStore(sample)
    run = store.start(check_recipe({"name": "mine", "base": "support-base-hf", "data": ["triage"], "trackers": []}))
    store.keep_result(run, {"steps": 4})
    assert store.state(store.get(run.name)).state == "queued"
    end_processes()
    state = store.state(store.get(run.name))
    assert (state.state, state.cause) == ("done", "")
    assert state.job is not None
    assert state.job.state == JobState.LOST
    with pytest.raises(InputRefusedError, match="is done"):
        store.resume(run.name)
