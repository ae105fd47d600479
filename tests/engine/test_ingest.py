"""Folding: what is finished goes from the event log into the catalog, exactly once, and nothing blocks what comes after."""

from __future__ import annotations

import json
import multiprocessing
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces import feedback
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace import bulk, catalog_file, kept_engines
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.notices import read_notices


def request_body(output: str = "x", **more: Any) -> dict[str, Any]:
    return {"started_at": 1.0, "model": "m", "output": output, "finish_reason": "stop", **more}


def select(catalog: Catalog, query: str) -> list[tuple[Any, ...]]:
    return catalog.read(lambda connection: connection.execute(query).fetchall())


def count_requests(catalog: Catalog) -> int:
    return int(select(catalog, "SELECT count(*) FROM requests")[0][0])


def test_ingest_moves_each_event_once_even_after_a_crash_between_catalog_and_event_log(
    catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        event_log.append("request", f"run_{number}", request_body())
    transaction = EventLog.transaction
    monkeypatch.setattr(EventLog, "transaction", lambda _self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ingest(catalog, event_log)
    monkeypatch.setattr(EventLog, "transaction", transaction)
    assert count_requests(catalog) == 5
    event_log.append("request", "run_5", request_body())
    ingest(catalog, event_log)
    assert count_requests(catalog) == 6
    assert event_log.connection().execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_a_flipped_bit_in_the_event_log_is_noticed(workspace: Workspace, catalog: Catalog, event_log: EventLog) -> None:
    event_log.append("request", "run_a", request_body("good"))
    event_log.append("request", "run_b", request_body("good"))
    event_log.connection().execute("UPDATE events SET body = replace(body, 'good', 'gone') WHERE key = 'run_a'")
    ingest(catalog, event_log)
    assert count_requests(catalog) == 1
    assert "run_a" in read_notices(workspace)[0][1]


def append_many(root: str, writer: int) -> None:
    event_log = EventLog(Workspace(Path(root)))
    for number in range(100):
        assert event_log.append("request", f"run_{writer}_{number}", request_body())


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_writers_at_once_lose_nothing(workspace: Workspace, catalog: Catalog, event_log: EventLog, count: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=append_many, args=(str(workspace.root), i)) for i in range(count)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert ingest(catalog, event_log) == 100 * count
    assert count_requests(catalog) == 100 * count


def test_all_of_a_request_and_its_lineage_arrive(catalog: Catalog, event_log: EventLog) -> None:
    version, _ = PromptStore(catalog).save("triage", template="{{ q }}")
    full = request_body(
        "é\0x",
        model_sha256="sha-model",
        adapter_sha256="sha-adapter",
        prompt="triage",
        prompt_version=1,
        variables={"q": "a"},
        messages=[{"role": "user", "content": "☃"}],
        parameters={"seed": 1},
        error=None,
        prompt_tokens=3,
        completion_tokens=4,
        reused_tokens=0,
        ttft_ms=1,
        total_ms=2.5,
        tokens_per_s=7,
        engine="e",
        content="kept",
    )
    event_log.append("request", "run_full", full)
    event_log.append("request", "run_bare", request_body(prompt="gone", prompt_version=9, model_sha256="sha-model"))
    event_log.append("feedback", "fb_1", {"request": "run_full", "score": -1, "source": "test", "said_at": 2})
    assert ingest(catalog, event_log) == 3
    names = [name for name in full if name != "adapter_sha256"]
    kept = select(catalog, f"SELECT {', '.join(names)} FROM requests WHERE id = 'run_full'")[0]
    for name, value in zip(names, kept, strict=True):
        assert (json.loads(value) if name in {"variables", "messages", "parameters"} else value) == full[name], name
    edges = select(catalog, "SELECT output, input FROM lineage WHERE kind = 'run' ORDER BY ALL")
    assert edges == sorted(
        [
            ("run_full", "sha-model"),
            ("run_full", "sha-adapter"),
            ("run_full", version.sha256),
            ("run_bare", "sha-model"),
        ]
    )
    assert select(catalog, "SELECT request, score, comment, said_at FROM feedback") == [("run_full", -1, None, 2.0)]


def test_an_event_that_the_catalog_will_not_have_is_set_aside_and_keeps_nobody_waiting(
    workspace: Workspace, catalog: Catalog, event_log: EventLog
) -> None:
    bad = {3: {"model": None}, 11: {"reused_tokens": "many"}, 19: {"prompt_tokens": 2**40}}
    for number in range(20):
        event_log.append("request", f"run_{number:02}", request_body() | bad.get(number, {}))
    assert ingest(catalog, event_log) == 20
    kept = [row[0] for row in select(catalog, "SELECT id FROM requests ORDER BY id")]
    assert kept == [f"run_{number:02}" for number in range(20) if number not in bad]
    aside = sorted(workspace.logs.glob("refused-*.json"), key=lambda path: int(path.stem.rpartition("-")[2]))
    assert [json.loads(path.read_text()) for path in aside] == [request_body() | change for change in bad.values()]
    told = " ".join(text for _, text in read_notices(workspace))
    assert all(f"run_{number:02}" in told for number in bad)
    assert ingest(catalog, event_log) == 0


@given(texts=st.lists(st.text(st.characters(exclude_categories=()), max_size=20), min_size=1, max_size=40))
@settings(max_examples=6, deadline=None)
def test_any_text_a_client_can_send_is_ingested(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = make_workspace(Workspace(tmp_path_factory.mktemp("folding") / "ws"))
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    for number, text in enumerate(texts):
        body = request_body(text, messages=[{"role": "user", "content": text}], error=text)
        event_log.append("request", f"run_{number:02}", body)
    ingest(catalog, event_log)
    event_log.close()
    assert read_notices(workspace) == []
    rows = select(catalog, "SELECT output, messages, error FROM requests ORDER BY id")
    for text, (output, messages, error) in zip(texts, rows, strict=True):
        stored = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
        assert (output, json.loads(messages)[0]["content"], error) == (stored, stored, stored)


def test_how_far_the_event_log_was_read_never_goes_back(catalog: Catalog, event_log: EventLog) -> None:
    event_log.append("request", "run_a", request_body())
    name = event_log.connection().execute("SELECT journal FROM identity").fetchone()[0]
    catalog.write(lambda connection: connection.execute("INSERT INTO folded VALUES (?, 100)", [name]))
    assert ingest(catalog, event_log) == 1
    assert select(catalog, "SELECT last_seq FROM folded") == [(100,)]
    assert count_requests(catalog) == 0


@pytest.mark.slow
def test_large_events_need_no_more_memory_than_small_ones(
    workspace: Workspace, catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_engines.close_kept()
    monkeypatch.setitem(catalog_file._CONFIG, "memory_limit", "100MB")
    event_log.append_many([("request", f"run_{n:03}", request_body("x" * 600_000)) for n in range(100)])
    assert ingest(catalog, event_log) == 100
    assert count_requests(catalog) == 100
    assert read_notices(workspace) == []


def test_an_event_too_large_for_memory_keeps_no_others_waiting(
    workspace: Workspace, catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log.append("request", "run_a", request_body())
    event_log.append("request", "run_huge", request_body("x" * 6_000_000))
    event_log.append("request", "run_b", request_body())
    catalog.read(lambda _connection: None)
    kept_engines.close_kept()
    monkeypatch.setitem(catalog_file._CONFIG, "memory_limit", "8MB")
    assert ingest(catalog, event_log) == 3
    assert select(catalog, "SELECT id FROM requests ORDER BY 1") == [("run_a",), ("run_b",)]
    aside = next(workspace.logs.glob("refused-*.json"))
    assert json.loads(aside.read_text())["output"] == "x" * 6_000_000
    assert "run_huge" in read_notices(workspace)[0][1]


def test_feedback_that_is_durable_is_not_told_as_lost(
    catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log.append("request", "run_a", request_body())

    def busy(*_: object) -> int:
        raise LlmopsError("workspace_locked", "the catalog stayed locked")

    monkeypatch.setattr(feedback, "ingest", busy)
    said = feedback.give(TraceStore(catalog, event_log), "run_a", score="up")
    ingest(catalog, event_log)
    assert select(catalog, "SELECT id, score FROM feedback") == [(said["feedback"], 1)]


_MIXED: list[tuple[Any, ...]] = [
    ("a", 1, 1.5, '{"a": 1}'),
    ("b\0c é ☃ \U0001f469", None, 2, "null"),
    (None, 2**31 - 1, None, None),
    ("", -(2**31), float("inf"), '"\\ud83d\\udc69"'),
    ("x", 2, 2**60, "[]"),
]


@pytest.mark.parametrize(
    "odd",
    [
        (),
        ("half \ud83d of a pair", 1, 1.0, "{}"),
        ("x", 2.5, 1.0, "{}"),
        ("x", 2.7, 1.0, "{}"),
        (5, True, "7", "{}"),
        ("x", "9", True, "{}"),
        # What DuckDB refuses.
        ("x", "many", 1.0, "{}"),
        ("x", 2**40, 1.0, "{}"),
        ("x", 1, "far", "{}"),
        ("x", 1, 1.0, "{"),
        ("x", [1], 1.0, "{}"),
    ],
    ids=repr,
)
def test_many_rows_are_what_each_of_them_is_alone(odd: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"t": "VARCHAR", "i": "INTEGER", "d": "DOUBLE", "j": "JSON"}

    def inserted(many: int) -> list[tuple[Any, ...]] | type[Exception]:
        monkeypatch.setattr(bulk, "_MANY", many)
        with closing(catalog_file.connect_memory()) as connection:
            connection.execute("CREATE TABLE held (t VARCHAR, i INTEGER, d DOUBLE, j JSON)")
            # Somebody looked at the first row alone.
            connection.execute("SELECT * FROM range(5000)").fetchone()
            try:
                bulk.insert_rows(connection, "held", columns, [*_MIXED, *([odd] if odd else [])])
            except duckdb.Error as error:
                return type(error)
            return connection.execute("SELECT * FROM held ORDER BY rowid").fetchall()

    one_way, other_way = inserted(1), inserted(1000)
    assert one_way == other_way
    assert isinstance(one_way, type) or one_way[: len(_MIXED)] == [(t, i, d, j) for t, i, d, j in _MIXED]


def test_a_row_that_does_not_fit_is_told_within_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_MANY", 1)
    with closing(catalog_file.connect_memory()) as connection:
        connection.execute("CREATE TABLE held (i INTEGER NOT NULL)")
        for _ in range(2):
            connection.execute("BEGIN")
            with pytest.raises(duckdb.ConstraintException, match="NOT NULL"):
                bulk.insert_rows(connection, "held", {"i": "INTEGER"}, [(1,), (None,)])
            connection.execute("ROLLBACK")
        bulk.insert_rows(connection, "held", {"i": "INTEGER"}, [(1,), (2,)])
        assert connection.execute("SELECT i FROM held").fetchall() == [(1,), (2,)]


def test_a_backlog_is_taken_by_arrays_and_its_rows_are_those_of_few(
    catalog: Catalog, event_log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PromptStore(catalog).save("triage", template="{{ q }}")
    events = [
        (
            "request",
            f"run_{n}",
            request_body(
                f"o{n}",
                prompt="triage",
                prompt_version=1,
                model_sha256="m",
                ttft_ms=n / 3,
                messages=[{"role": "user", "content": "☃" * n}],
            ),
        )
        for n in range(30)
    ]
    other = make_workspace(Workspace(tmp_path / "other"))
    other_catalog, other_log = Catalog(other), EventLog(other)
    PromptStore(other_catalog).save("triage", template="{{ q }}")
    by_arrays: list[bool] = []
    made = bulk._arrays
    monkeypatch.setattr(bulk, "_arrays", lambda *given: by_arrays.append((found := made(*given)) is not None) or found)
    for many, log, book in ((1000, event_log, catalog), (1, other_log, other_catalog)):
        monkeypatch.setattr(bulk, "_MANY", many)
        log.append_many(events)
        assert ingest(book, log) == 30
    other_log.close()
    assert by_arrays == [True, True]
    for table in ("requests", "lineage"):
        rows = [
            select(
                book, f"SELECT * EXCLUDE ({'made_at' if table == 'lineage' else 'engine'}) FROM {table} ORDER BY ALL"
            )
            for book in (catalog, other_catalog)
        ]
        assert rows[0] == rows[1]
        assert len(rows[0]) >= 30
