"""Requests as traces, what people say of them, and what is made of that."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.training_fields import conversation_of
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.inference.content import as_kept, feedback_as_kept
from llmops_tui.maintenance.check_catalog import references
from llmops_tui.maintenance.findings import Report
from llmops_tui.moments import moment_words
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.feedback import give
from llmops_tui.traces.otlp import export, span, spans_of
from llmops_tui.traces.retrieved import retrieval_words, retrieved_of
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.traces.to_dataset import gather, gathered_requests, make_version
from llmops_tui.workspace.catalog import Catalog, catalog_lock
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from tests.commands import Llmops
from tests.datasets.conftest import rows_of


@pytest.fixture
def store(catalog: Catalog, event_log: EventLog) -> TraceStore:
    return TraceStore(catalog, event_log)


def ask(event_log: EventLog, number: int, question: str = "Where is it?", answer: str = "Here.", **more: Any) -> str:
    key = f"run_{number:08d}"
    body = {
        "started_at": 1_795_000_000.0 + number,
        "model": "m",
        "messages": [{"role": "user", "content": question}],
        "output": answer,
        "finish_reason": "stop",
        "prompt": "triage",
        "prompt_version": 2,
        "variables": {"message": question},
        "parameters": {"temperature": 0.5, "seed": 3, "stop": ["x"]},
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_ms": 100.0 * number,
        "ttft_ms": 10.0,
    }
    event_log.append("request", key, body | more)
    return key


# ── finding ──


def test_traces_are_found_by_what_is_said_of_them(store: TraceStore, event_log: EventLog) -> None:
    ask(event_log, 1)
    ask(event_log, 2, answer="Dort drüben: 100 %_")
    ask(event_log, 3, model="m+qlora", finish_reason="error", error="out of memory")
    ask(event_log, 4, "Wo ist der Schlüssel?", prompt="reply", prompt_version=1, started_at=time.time() - 60)
    give(store, "run_00000001", score="down")

    def found(said: str) -> list[int]:
        lines, total = store.page(TraceFilter.parse(said, time.time()), 50)
        assert total == len(lines)
        return sorted(int(line.id[4:]) for line in lines)

    assert found("") == [1, 2, 3, 4]
    assert found("drüben") == [2]
    assert found("SCHLÜSSEL".lower()) == [4]
    assert found("100 %_") == [2]
    assert found("100 %x") == []
    assert found("~^Dort") == [2]
    assert found("model:m") == [1, 2, 3, 4]
    assert found("model:m+qlora") == [3]
    assert found("prompt:triage@2 slow:200") == [2, 3]
    assert found("is:failed") == [3]
    assert found("is:queue") == found("is:down") == [1]
    assert found("since:1h") == [4]
    assert found("memory") == [3]
    for said in ("is:lost", "slow:x", "since:h", "~["):
        with pytest.raises(InputRefusedError):
            found(said)


def test_pages_are_of_the_newest_first(store: TraceStore, event_log: EventLog) -> None:
    for number in range(10):
        ask(event_log, number)
    lines, total = store.page(TraceFilter(), 3, 2)
    assert (total, [line.id[-1] for line in lines]) == (10, ["7", "6", "5"])


def test_one_trace_has_all_of_it(store: TraceStore, event_log: EventLog) -> None:
    ask(event_log, 5)
    trace = store.get("run_0000")
    assert trace.messages == [{"role": "user", "content": "Where is it?"}]
    assert trace.parameters["seed"] == 3
    assert trace.line.ttft_ms == 10.0
    with pytest.raises(NotFoundError):
        store.get("run_9")


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("started_at", "'inf'::DOUBLE", "started_at is inf"),
        ("total_ms", "'nan'::DOUBLE", "total_ms is nan"),
        ("completion_tokens", "-5", "completion_tokens is -5"),
        ("total_ms", "NULL", ""),
    ],
)
def test_a_damaged_row_is_listed_and_named_by_the_check(
    store: TraceStore, event_log: EventLog, workspace: Workspace, column: str, value: str, told: str
) -> None:
    ask(event_log, 1)
    store.page(TraceFilter(), 5)
    store.catalog.write(lambda db: db.execute(f"UPDATE requests SET {column} = {value}"))
    (line,), _ = store.page(TraceFilter(), 5)
    assert moment_words(line.started_at).startswith("damaged: inf") == (column == "started_at")
    report = Report()
    references(workspace, report)
    said = [str(one) for one in report.findings if "run_00000001" in str(one)]
    assert len(said) == bool(told)
    assert all(told in one for one in said)


def test_a_moment_that_no_calendar_has_is_damaged() -> None:
    assert moment_words(float("nan")) == "damaged: nan"
    assert moment_words(1e30) == "damaged: 1e+30"


# ── feedback ──


def test_what_is_said_last_counts_and_all_of_it_is_kept(store: TraceStore, event_log: EventLog) -> None:
    key = ask(event_log, 1)
    give(store, key, score="down")
    give(store, key, correction="There.")
    give(store, key, comment="mixed up")
    give(store, key, score="up")
    trace = store.get(key)
    assert (trace.line.score, trace.line.correction, trace.line.comment) == (1, "There.", "mixed up")
    assert len(trace.said) == 4
    assert store.queue_length() == 1
    give(store, key, verdict="accepted")
    assert store.queue_length() == 0
    # Something new that is said brings it back.
    give(store, key, comment="still not right")
    assert store.queue_length() == 1


def test_bad_feedback_is_refused(store: TraceStore, event_log: EventLog) -> None:
    key = ask(event_log, 1)
    for what in ({}, {"score": "best"}, {"verdict": "perhaps"}, {"correction": ""}):
        with pytest.raises(InputRefusedError):
            give(store, key, **what)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        give(store, "run_nowhere", score="up")


# ── datasets ──


def test_corrections_and_thumbs_become_conversations(store: TraceStore, event_log: EventLog, catalog: Catalog) -> None:
    give(store, ask(event_log, 1, "a", "wrong"), score="down", correction="right")
    give(store, ask(event_log, 2, "b", "good"), score="up")
    give(store, ask(event_log, 3, "c", "bad"), score="down")
    give(store, ask(event_log, 4, "d", "dismissed"), score="up")
    give(store, "run_00000004", verdict="dismissed")
    ask(event_log, 5, "e", "nothing said")
    give(store, ask(event_log, 6, "f", "", content="off", messages=[]), score="up")
    give(store, ask(event_log, 7, "g", "text", messages=[{"role": "prompt", "content": "g"}]), score="up")
    store.page(TraceFilter(), 1)
    gathered = gather(store, TraceFilter(), "messages", "redact")
    version = make_version(DatasetStore(catalog), "feedback", gathered, "messages", "redact")
    assert [[m["content"] for m in row["messages"]] for row in rows_of(version)] == [["a", "right"], ["b", "good"]]
    assert version.kind == "messages"
    assert sum(gathered.left_out.values()) == 3
    # What it was made from is known, from the answer to the dataset.
    from llmops_tui.maintenance.lineage import trace_lineage

    lineage = trace_lineage(catalog, event_log, "feedback")
    assert {child.id for child in lineage.sources.children} == {"run_00000001", "run_00000002"}
    # The same again makes no version.
    again = gather(store, TraceFilter(), "messages", "redact")
    assert make_version(DatasetStore(catalog), "feedback", again, "messages", "redact").number == 1


def test_examples_of_a_version_are_asked_and_not_learned(
    store: TraceStore, event_log: EventLog, catalog: Catalog
) -> None:
    turns = [{"question": "q1", "answer": "a1"}, {"question": "q2", "answer": "a2"}]
    prompts = PromptStore(catalog)
    prompts.save("triage", template="{{ message }}")
    prompts.save("triage", template="{{ message }}", settings=read_settings({"examples": {"turns": turns}}, "here"))

    def said(*contents: str) -> list[dict[str, str]]:
        roles = ("system", *("user", "assistant") * 4)
        return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]

    give(store, ask(event_log, 1, answer="x", messages=said("s", "q1", "a1", "q2", "a2", "c", "d", "e")), score="up")
    # Nobody knows what stands in the place of the examples, and a version without any has none.
    give(store, ask(event_log, 2, answer="x", messages=said("s", "q1", "other", "q2", "a2", "e")), score="up")
    whole = said("s", "q1", "a1", "q2", "a2", "e")
    give(store, ask(event_log, 3, answer="x", messages=whole, prompt_version=1), score="up")
    store.page(TraceFilter(), 1)
    rows = gather(store, TraceFilter(), "messages", "redact").rows
    assert rows == gathered_requests(store, [f"run_{n:08d}" for n in (1, 2, 3)], "redact").rows
    weights = [[turn.get("weight") for turn in row["messages"]] for row in rows]
    assert weights == [[None, None, 0, None, 0, *[None] * 4], [None] * 7, [None] * 7]
    assert rows[2]["messages"][:-1] == whole
    gathered = gather(store, TraceFilter(), "messages", "redact")
    version = make_version(DatasetStore(catalog), "feedback", gathered, "messages", "redact")
    learned = [conversation_of("messages", row).learned for row in rows_of(version)]
    assert [sorted(one) for one in learned] == [[6, 8], [2, 4, 6], [2, 4, 6]]
    cases = build_cases(check_suite({"cases": version.ref, "metrics": ["exact"]}, "s"), DatasetStore(catalog)).cases
    assert all({*turn} == {"role", "content"} for case in cases for turn in case.messages)


def test_pairs_are_of_the_same_conversation(store: TraceStore, event_log: EventLog, catalog: Catalog) -> None:
    give(store, ask(event_log, 1, "a", "good"), score="up")
    give(store, ask(event_log, 2, "a", "bad"), score="down")
    give(store, ask(event_log, 3, "b", "wrong"), correction="right")
    give(store, ask(event_log, 4, "c", "alone"), score="up")
    store.page(TraceFilter(), 1)
    gathered = gather(store, TraceFilter(), "preference", "redact")
    version = make_version(DatasetStore(catalog), "pairs", gathered, "preference", "redact")
    pairs = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows_of(version)]
    assert sorted(pairs) == [("good", "bad"), ("right", "wrong")]
    assert version.kind == "preference"
    assert gathered.left_out == {"no other answer to the same conversation": 1}


def test_personal_data_is_taken_out_unless_it_is_asked_for(
    store: TraceStore, event_log: EventLog, catalog: Catalog
) -> None:
    give(store, ask(event_log, 1, "I am at ann@example.org", "Noted."), score="up")
    store.page(TraceFilter(), 1)
    clean = gather(store, TraceFilter(), "messages", "redact")
    assert "ann@example.org" not in json.dumps(clean.rows)
    assert clean.personal == {"email": 1}
    assert "ann@example.org" in json.dumps(gather(store, TraceFilter(), "messages", "keep").rows)
    with pytest.raises(InputRefusedError, match="no trace can become a row"):
        make_version(
            DatasetStore(catalog),
            "x",
            gather(store, TraceFilter(text="zzz"), "messages", "redact"),
            "messages",
            "redact",
        )


# ── privacy and retention ──


def test_content_is_kept_redacted_or_left_out() -> None:
    body = {
        "messages": [{"role": "user", "content": "mail ann@example.org"}],
        "output": "to ann@example.org",
        "variables": {"a": "b"},
        "model": "m",
        "total_ms": 3.0,
    }
    assert as_kept(body, "keep") == body
    redacted = as_kept(body, "redact")
    assert "ann@" not in json.dumps(redacted)
    assert redacted["messages"][0]["role"] == "user"
    assert redacted["content"] == "redacted"
    off = as_kept(body, "off")
    assert (off["messages"], off["output"], off["variables"], off["total_ms"]) == ([], "", {}, 3.0)


SECRET = "ann@example.org"
RETRIEVED = [
    {
        "index": "manual@3", "query": f"where is the card of {SECRET}", "k": 1, "by": "bm25", "started_at": 1.0, "seconds": 0.25,
        "passages": [{"chunk": 7, "document": f"{SECRET}.txt", "start": 0, "end": 9, "sha256": "ab", "score": 1.5}],
    }
]  # fmt: skip
ANYWHERE = {
    "messages": [{"role": "user", "content": SECRET, "name": SECRET, "tool_calls": [{"function": {"arguments": SECRET}}]}],
    "output": SECRET, "variables": {SECRET: SECRET, "n": 4711}, "error": f"template_failed: {SECRET} is no number",
    "parameters": {"stop": [SECRET], "temperature": 0.5, "grammar": SECRET}, "model": "m", "total_ms": 3.0,
    "client": {"key": "0123abcd", "metadata": {"user": SECRET, "customer": 4711}, "retrieved": RETRIEVED}, "a_field_of_tomorrow": {"deep": [SECRET]},
}  # fmt: skip


def test_no_field_of_a_record_escapes_what_the_user_decided() -> None:
    redacted, off = as_kept(ANYWHERE, "redact"), as_kept(ANYWHERE, "off")
    assert SECRET not in json.dumps(redacted)
    assert redacted["client"]["key"] == off["client"]["key"] == "0123abcd"
    # Which chunks came is a figure; what was searched for is content.
    assert [one["client"]["retrieved"][0]["passages"][0]["chunk"] for one in (redacted, off)] == [7, 7]
    assert SECRET not in json.dumps(off)
    assert "4711" not in json.dumps(off)
    assert off["parameters"] == {"temperature": 0.5}
    assert (off["model"], off["total_ms"], off["content"]) == ("m", 3.0, "off")
    said = {
        "request": "run_1",
        "score": -1,
        "correction": f"to {SECRET}",
        "comment": SECRET,
        "source": SECRET,
        "said_at": 2.0,
    }
    for policy in ("redact", "off"):
        kept = feedback_as_kept(said, policy)
        assert SECRET not in json.dumps(kept)
        assert (kept["request"], kept["score"], kept["said_at"]) == ("run_1", -1, 2.0)


def test_feedback_is_kept_as_the_settings_say(store: TraceStore, event_log: EventLog, own_home: Path) -> None:
    settings = own_home / ".config" / "llmops" / "settings.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    ask(event_log, 1)
    settings.write_text('trace_content = "redact"\n')
    give(store, "run_00000001", score="down", comment=f"ask {SECRET}")
    settings.write_text('trace_content = "off"\n')
    with pytest.raises(InputRefusedError, match="texts are not stored"):
        give(store, "run_00000001", score="down", correction=SECRET)
    give(store, "run_00000001", score="up")
    said = store.get("run_00000001").said
    assert [(one["score"], one["comment"], one["source"]) for one in said] == [
        (-1, "ask [EMAIL]", "me"),
        (1, None, "me"),
    ]


def test_comments_and_errors_go_to_a_collector_only_with_content(store: TraceStore, event_log: EventLog) -> None:
    ask(event_log, 1)
    give(store, "run_00000001", score="down", comment="between us")
    trace = replace(
        store.get("run_00000001"), line=replace(store.get("run_00000001").line, error="quotes the question")
    )
    for content in (False, True):
        sent = json.dumps(span(trace, content=content))
        assert ("between us" in sent) is ("quotes the question" in sent) is content


def test_what_was_retrieved_is_shown_and_is_a_span_of_its_own(store: TraceStore, event_log: EventLog) -> None:
    trace = replace(store.get(ask(event_log, 1)), client={"retrieved": RETRIEVED})
    assert trace.client_words == ""
    (found,) = retrieved_of(trace.client)
    assert retrieval_words(found) == (
        f"1 passage of manual@3 by bm25 for 'where is the card of {SECRET}', 250 ms: [1] {SECRET}.txt 0:9 (1.5)"
    )
    whole, search = spans_of(trace, content=False)
    assert (search["parentSpanId"], search["traceId"]) == (whole["spanId"], whole["traceId"])
    assert int(search["endTimeUnixNano"]) - int(search["startTimeUnixNano"]) == 250_000_000
    assert SECRET not in json.dumps(search)
    assert '\\"id\\": \\"manual@3#7\\", \\"score\\": 1.5' in json.dumps(search)
    assert SECRET in json.dumps(spans_of(trace, content=True)[1])
    for odd in ({"retrieved": 5}, {"retrieved": [{"index": "x"}]}, None):
        assert retrieved_of(odd) == []


@pytest.mark.slow
def test_what_sixty_say_at_once_is_there_once_each_and_nothing_else(store: TraceStore, event_log: EventLog) -> None:
    trace = ask(event_log, 1)
    store.page(TraceFilter(), 1)
    begin, told = threading.Barrier(60), Queue[str]()

    def say(number: int) -> None:
        own = TraceStore(Catalog(store.catalog.workspace), EventLog(store.catalog.workspace))
        begin.wait()
        try:
            give(own, trace, comment=f"said by {number}", source=f"person {number}")
            told.put(f"person {number}")
        finally:
            own.event_log.close()

    people = [threading.Thread(target=say, args=(number,)) for number in range(60)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    there = sorted(said["source"] for said in store.get(trace).said)
    assert there == sorted(told.get() for _ in range(told.qsize()))
    assert len(there) == 60


def test_what_is_said_does_not_wait_for_a_busy_catalog(store: TraceStore, event_log: EventLog) -> None:
    trace = ask(event_log, 1)
    with locked(catalog_lock(store.catalog.workspace)) as busy:
        assert busy
        give(store, trace, comment="while it is busy")
    assert [said["comment"] for said in store.get(trace).said] == ["while it is busy"]


def test_old_traces_are_those_that_nobody_spoke_of(store: TraceStore, event_log: EventLog) -> None:
    for number in range(4):
        ask(event_log, number)
    give(store, "run_00000001", score="up")
    assert store.before(1_795_000_003.0) == ["run_00000000", "run_00000002"]


# ── export ──


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent, checked as the protocol's own messages."""

    spans: list[Any]
    status = 200

    def do_POST(self) -> None:
        from google.protobuf.json_format import Parse
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["content-length"]))
        request = Parse(body, ExportTraceServiceRequest())
        self.server.spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    server.spans, server.status = [], 200  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_traces_are_spans_of_opentelemetry(store: TraceStore, event_log: EventLog, collector: Any) -> None:
    ask(event_log, 1, "secret question")
    give(store, ask(event_log, 2, finish_reason="error", error="broke"), score="down", comment="no")
    url = f"http://127.0.0.1:{collector.server_port}"
    assert export(store, TraceFilter(), url, content=False, headers={"x-key": "1"}) == 2
    first, second = collector.spans
    values = {a.key: a.value for a in first.attributes}
    assert first.name == "chat m"
    assert values["gen_ai.operation.name"].string_value == "chat"
    assert values["gen_ai.usage.input_tokens"].int_value == 7
    assert values["gen_ai.request.temperature"].double_value == 0.5
    assert values["gen_ai.response.finish_reasons"].array_value.values[0].string_value == "stop"
    assert first.end_time_unix_nano - first.start_time_unix_nano == 100_000_000
    assert "gen_ai.input.messages" not in values
    assert second.status.code == 2
    assert {a.key for a in second.events[0].attributes} >= {"gen_ai.evaluation.score.value"}
    assert export(store, TraceFilter(text="secret"), url + "/v1/traces", content=True, headers={}) == 1
    sent = {a.key: a.value.string_value for a in collector.spans[-1].attributes}
    assert "secret question" in sent["gen_ai.input.messages"]


def test_a_collector_that_refuses_or_is_gone_is_told(store: TraceStore, event_log: EventLog, collector: Any) -> None:
    ask(event_log, 1)
    collector.status = 503
    with pytest.raises(LlmopsError, match="HTTP 503"):
        export(store, TraceFilter(), f"http://127.0.0.1:{collector.server_port}", content=False, headers={})
    with pytest.raises(LlmopsError, match="0 traces sent before"):
        export(store, TraceFilter(), "http://127.0.0.1:1", content=False, headers={})
    with pytest.raises(InputRefusedError):
        export(store, TraceFilter(), "file:///etc/passwd", content=False, headers={})


# ── the command line ──


def test_the_command_line_goes_all_the_way(workspace: Workspace, event_log: EventLog) -> None:
    llmops = Llmops(workspace)
    ask(event_log, 1, answer="wrong")
    ask(event_log, 2, answer="fine")
    assert [t["trace"] for t in llmops.run("traces", "list", "--limit", "1")["traces"]] == ["run_00000002"]
    llmops.run("traces", "feedback", "run_00000001", "--score", "down", "--correct", "right")
    llmops.run("traces", "feedback", "run_00000002", "--score", "up")
    shown = llmops.run("traces", "show", "00000001")
    assert shown["feedback"] == {"score": "down", "correction": "right", "comment": None, "verdict": None}
    made = llmops.run("traces", "to-dataset", "feedback")
    assert (made["dataset"], made["version"], made["rows"]) == ("feedback", 1, 2)
    llmops.run("traces", "feedback", "run_00000001", "--verdict", "accepted")
    assert llmops.run("traces", "list", "--filter", "is:queue")["total"] == 0
    llmops.run("traces", "feedback", "run_00000001", "--score", "great", code=3)
    llmops.run("traces", "list", "--filter", "is:nothing", code=3)
    llmops.run("traces", "show", "run_none", code=3)
