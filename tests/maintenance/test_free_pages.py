"""The room of ingested events is given back to the disk, and no check takes that for damage."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from llmops_tui.maintenance.check import check
from llmops_tui.workspace import free_pages
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import load, maintenance_lock, record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from tests.maintenance.conftest import fill_traces


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_pages, "MANY", 50)


def pages(workspace: Workspace) -> tuple[int, int]:
    """How many pages the journal has, and how many of them are free."""
    with closing(sqlite3.connect(workspace.event_log)) as connection:
        return tuple(
            int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count")
        )  # type: ignore[return-value]


def test_the_journal_gets_short_again_and_goes_on_with_its_numbers(lived: Workspace) -> None:
    fill_traces(lived, 2000, start=1000)
    event_log = EventLog(lived)
    long, _ = pages(lived)
    newest = event_log.newest()
    ingest(Catalog(lived), event_log)
    short, free = pages(lived)
    assert (short < long // 2, free) == (True, 0)
    assert event_log.newest() == newest
    fill_traces(lived, 1, start=5000)
    assert ingest(Catalog(lived), event_log) == 1


def test_a_check_before_and_after_the_next_checksum_finds_no_damage(lived: Workspace) -> None:
    fill_traces(lived, 2000, start=1000)
    record_checksums(lived)
    before = load(lived).files["journal.db"]
    ingest(Catalog(lived), EventLog(lived))
    assert pages(lived)[1] == 0
    assert check(lived).errors == []
    record_checksums(lived)
    after = load(lived).files["journal.db"]
    assert (after.size < before.size, after.writes != before.writes) == (True, True)
    assert check(lived).findings == []


def test_where_somebody_records_checksums_it_is_left_to_the_next(lived: Workspace) -> None:
    fill_traces(lived, 2000, start=1000)
    event_log = EventLog(lived)
    with locked(maintenance_lock(lived)) as alone:
        assert alone
        ingest(Catalog(lived), event_log)
        assert pages(lived)[1] > 50
    assert free_pages.give_back(event_log)
    assert not free_pages.give_back(event_log)
    assert pages(lived)[1] == 0
