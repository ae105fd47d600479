"""Deleting traces, prompts and datasets: shown before, refused where it is needed, and gone from every byte after."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.maintenance import erasure
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.record_removal import plan_record_removal, remove_record
from llmops_tui.maintenance.trace_removal import remove_traces
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace import catalog_file
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops

MARK = "Zwiebelturmuhr"
EVERYTHING = TraceFilter.parse("", 0.0)


def ask(workspace: Workspace, count: int, at: float = 1_796_000_000.0) -> None:
    event_log = EventLog(workspace)
    event_log.append_many(
        [
            (
                "request",
                f"run_x{n:05d}",
                {
                    "started_at": at + n,
                    "model": "support-base",
                    "finish_reason": "stop",
                    "total_ms": 5.0,
                    "parameters": {},
                    "messages": [{"role": "user", "content": f"{MARK} {n}"}],
                    "output": f"an answer about {MARK} {n} " * 20,
                },
            )
            for n in range(count)
        ]
    )
    event_log.close()


def files_with(root: Path, text: str) -> list[str]:
    """The files below a folder in which some text is to be found."""
    return [
        str(p.relative_to(root)) for p in sorted(root.rglob("*")) if p.is_file() and text.encode() in p.read_bytes()
    ]


def test_what_is_deleted_is_in_no_byte(lived: Workspace) -> None:
    ask(lived, 300)
    store = TraceStore(Catalog(lived), EventLog(lived))
    give(store, "run_x00007", score="down", correction=f"not {MARK}")
    (lived.backups / "workspace-schema6-20260101-000000.duckdb").write_bytes(lived.catalog.read_bytes())
    assert files_with(lived.root, MARK)
    other = store.page(EVERYTHING, 1)[1] - 300
    store.event_log.close()
    erased = remove_traces(lived, TraceFilter.parse(MARK, 0.0))
    assert (erased.traces, erased.feedback) == (300, 1)
    assert erased.copies == ("workspace-schema6-20260101-000000.duckdb",)
    assert files_with(lived.root, MARK) == []
    assert TraceStore(Catalog(lived), EventLog(lived)).page(EVERYTHING, 1)[1] == other
    assert check(lived).errors == []


@pytest.mark.slow
def test_erasing_again_and_again_is_no_damage(lived: Workspace) -> None:
    ask(lived, 40)
    record_checksums(lived)
    for number in range(2):
        remove_traces(lived, EVERYTHING, f"run_x{number:05d}")
        assert check(lived).errors == []
        record_checksums(lived)
        assert check(lived).errors == []


def test_a_log_that_is_being_read_is_not_called_erased(lived: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "READER_SECONDS", 0.1)
    ask(lived, 3)
    reader = sqlite3.connect(lived.event_log, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    with pytest.raises(LlmopsError, match="is reading it") as refused:
        remove_traces(lived, TraceFilter.parse(MARK, 0.0))
    assert refused.value.code == "erasing_failed"
    reader.close()
    assert remove_traces(lived, TraceFilter.parse(MARK, 0.0)).traces == 0
    assert files_with(lived.root, MARK) == []


def test_a_catalog_that_cannot_be_written_anew_stays_as_it_is(
    lived: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(lived, 3)
    found = catalog_file._contents
    monkeypatch.setattr(catalog_file, "_contents", lambda c, name: [*found(c, name), (name,)])
    with pytest.raises(LlmopsError, match="the copy differs"):
        erasure.erase_deleted(lived)
    assert [p.name for p in lived.root.glob(".workspace*")] == []
    assert check(lived).errors == []


def test_one_trace_goes_and_the_others_stay(lived: Workspace) -> None:
    llmops = Llmops(lived)
    ask(lived, 3)
    shown = llmops.run("traces", "remove", "run_x00001")
    assert (shown["done"], shown["traces"], shown["files"]) == (False, 1, [])
    llmops.run("traces", "remove", "run_x00001", "--yes")
    left = [line["trace"] for line in llmops.run("traces", "list", "--filter", MARK)["traces"]]
    assert left == ["run_x00002", "run_x00000"]
    for bad in ([], ["run_x00000", "--all"]):
        llmops.run("traces", "remove", *bad, code=2)
    llmops.run("traces", "remove", "run_x00009", "--yes", code=3)


def test_a_prompt_goes_when_it_was_not_used_or_when_told(lived: Workspace) -> None:
    llmops = Llmops(lived)
    store = PromptStore(Catalog(lived))
    store.save("passing", template="once {{ a }}")
    assert llmops.run("prompt", "remove", "passing")["versions"] == ["passing@1"]
    assert store.versions("passing")
    llmops.run("prompt", "remove", "passing", "--yes")
    with pytest.raises(NotFoundError):
        store.versions("passing")
    assert llmops.run("prompt", "remove", "triage")["uses"]
    assert llmops.run("prompt", "remove", "triage", "--yes", code=3)["error"]["code"] == "record_used"
    llmops.run("prompt", "remove", "triage", "--yes", "--force")
    assert "triage" not in [one["prompt"] for one in llmops.run("prompt", "list")["prompts"]]
    assert check(lived).errors == []


def test_a_dataset_goes_with_its_rows_but_not_those_that_another_has(lived: Workspace) -> None:
    store = DatasetStore(Catalog(lived))
    first = store.get("triage")
    made = apply(store, "sample", ["triage@1"], {"rows": 10, "seed": 1})
    planned = plan_record_removal(lived, Kept.DATASET, "triage@1")
    assert any(made.ref in use for use in planned.uses)
    with pytest.raises(InputRefusedError, match="was used"):
        remove_record(lived, Kept.DATASET, "triage@1")
    assert first.folder.exists()
    gone = remove_record(lived, Kept.DATASET, "triage@1", force=True)
    assert gone.done
    assert not first.folder.exists()
    assert [version.number for version in store.logs()["triage"]] == [made.number]
    assert check(lived).errors == []
    remove_record(lived, Kept.DATASET, "triage", force=True)
    assert "triage" not in store.logs()
    assert not made.folder.exists()
    assert check(lived).errors == []


def test_what_a_job_is_at_work_with_stays(lived: Workspace) -> None:
    from llmops_tui.jobs.launcher import JobLauncher

    launcher = JobLauncher(lived)
    with launcher.place() as place:
        launcher.store.add(
            kind="check",
            title="check triage",
            spec={"entry": "llmops_tui.x:y", "arguments": {"ref": "triage@1"}},
            job_id=place.id,
        )
        with pytest.raises(InputRefusedError, match="is using it"):
            remove_record(lived, Kept.DATASET, "triage", force=True)
    assert DatasetStore(Catalog(lived)).get("triage@1")
