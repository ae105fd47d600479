"""How many connections to the event log there are, and that a copy of one that may only be read does not grow old."""

from __future__ import annotations

import contextlib
import gc
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.history import History
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.waiting import wait_for

Event = dict[str, object]
REQUEST: Event = {"started_at": 1.0, "model": "m", "output": "", "finish_reason": "stop"}


def descriptors(workspace: Workspace) -> int:
    """How many descriptors of the event log and what is beside it are open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith(str(workspace.event_log))
    return found


def test_threads_that_come_and_go_leave_no_more_descriptors(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    event_log.append("request", "run_1", REQUEST)
    jobs = [JobStore(EventLog(workspace)) for _ in range(3)]

    def come_and_go(count: int) -> int:
        for _ in range(count):
            thread = threading.Thread(target=lambda: [event_log.waiting(), *(store.all() for store in jobs)])
            thread.start()
            thread.join()
        return descriptors(workspace)

    # The collector may be long in coming.
    gc.disable()
    try:
        before = come_and_go(1)
        assert come_and_go(30) == before
    finally:
        gc.enable()


def test_connections_are_closed_with_the_last_that_uses_them(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    event_log.append("request", "run_1", REQUEST)
    thread = threading.Thread(target=event_log.waiting)
    thread.start()
    thread.join()
    assert descriptors(workspace)
    del event_log, thread
    gc.collect()
    assert not descriptors(workspace)


def test_what_a_thread_left_is_not_used_on_another_file(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    event_log.append("request", "run_1", REQUEST)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(event_log.waiting).result() == 1
    moved = workspace.root.rename(workspace.root.with_name("moved"))
    shutil.copytree(moved, workspace.root)
    with sqlite3.connect(workspace.event_log) as writing:
        writing.execute("DELETE FROM events")
    writing.close()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(event_log.waiting).result() == 0


def test_a_thread_has_one_connection_however_many_objects_use_it(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    event_log.append("request", "run_1", REQUEST)
    others = [EventLog(workspace) for _ in range(5)]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(event_log.waiting).result()
        before = descriptors(workspace)
        for other in others:
            assert pool.submit(other.waiting).result() == 1
        assert descriptors(workspace) == before
        # Whoever is done with it takes it from nobody else.
        connection = pool.submit(event_log.connection).result()
        pool.submit(others[0].close).result()
        assert pool.submit(event_log.connection).result() is connection
        for each in (event_log, *others):
            pool.submit(each.close).result()
        assert descriptors(workspace) < before


def test_a_transaction_is_not_ended_by_another_object_that_closes(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    with event_log.transaction() as connection:
        connection.execute("INSERT INTO drafts (key, body, at) VALUES ('a', '{}', 0)")
        beside = EventLog(workspace)
        assert beside.draft_keys() == {"a"}
        beside.close()
    assert event_log.draft_keys() == {"a"}


def test_workspaces_do_not_share_connections(workspace: Workspace) -> None:
    other = make_workspace(Workspace(workspace.root.with_name("other")))
    EventLog(workspace).append("request", "run_1", REQUEST)
    assert EventLog(other).waiting() == 0


def read_only(monkeypatch: pytest.MonkeyPatch, *places: str) -> None:
    for place in places:
        monkeypatch.setattr(f"{place}.may_write_in", lambda _root: False)


def test_a_event_log_that_may_only_be_read_shows_what_its_owner_wrote_since(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = EventLog(workspace)
    owner.append("request", "run_1", REQUEST)
    write = owner.connection()
    with monkeypatch.context() as patched:
        read_only(patched, "llmops_tui.workspace.known_folders")
        with ThreadPoolExecutor(1) as pool:
            reader = EventLog(workspace)
            assert pool.submit(reader.waiting).result() == 1
            copy = pool.submit(reader.connection).result()
            write.execute("INSERT INTO events (key, kind, at, body, sha256) VALUES ('run_2', 'request', 0, '{}', '')")
            wait_for(lambda: pool.submit(reader.waiting).result() == 2)
            # Where nothing was written it is the same copy.
            copy = pool.submit(reader.connection).result()
            assert pool.submit(reader.connection).result() is copy


def test_a_history_that_may_only_be_read_shows_what_its_owner_measured_since(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = History(workspace.history)
    owner.keep_changes([], {"models": "one"})
    with monkeypatch.context() as patched:
        read_only(
            patched,
            "llmops_tui.workspace.known_folders",
            "llmops_tui.monitoring.history",
            "llmops_tui.monitoring.history_file",
        )
        reader = History(workspace.history)
        assert reader.known() == {"models": "one"}
        with sqlite3.connect(workspace.history) as writing:
            writing.execute("UPDATE known SET value = 'two'")
        writing.close()
        wait_for(lambda: reader.known() == {"models": "two"})
