"""Spans of other applications, taken in by OTLP: in both wire forms, by conventions of several ages, and back out again."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.otlp.conversion import as_feedback, as_request, key_of
from llmops_tui.inference.otlp.protobuf import ProtobufError, partial_success, read_request
from llmops_tui.inference.otlp.spans import ForeignEvent, ForeignSpan, spans_of
from llmops_tui.inference.server.apis.otlp import OtlpApi
from llmops_tui.traces.otlp import spans_of as spans_told
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.traces.to_dataset import gather
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import OWN, Doors, opened
from tests.later import Later

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ASKED = [{"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]}]
ANSWERED = [{"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": "Rain."}]}]


def attribute(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": valued(value)}


def valued(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [valued(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [attribute(name, one) for name, one in value.items()]}}
    return {"stringValue": value}


def request(*spans: dict[str, Any]) -> dict[str, Any]:
    scoped = {"scope": {"name": "my.library", "version": "1"}, "spans": list(spans), "schemaUrl": "https://x"}
    return {
        "resourceSpans": [{"resource": {"attributes": [attribute("service.name", "shop")]}, "scopeSpans": [scoped]}]
    }


def span(attributes: dict[str, Any], events: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE, "spanId": SPAN, "name": "chat m", "kind": 3, "startTimeUnixNano": "1795000000000000000",
        "endTimeUnixNano": "1795000000250000000", "attributes": [attribute(n, v) for n, v in attributes.items()],
        "events": list(events),
    } | more  # fmt: skip


CHAT = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.request.seed": -3,
    "gen_ai.request.temperature": 0.25, "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2,
    "gen_ai.response.finish_reasons": ["stop"], "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
    "gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED, "llmops.flag": True,
}  # fmt: skip
EVALUATED = {
    "name": "gen_ai.evaluation.result", "timeUnixNano": "1795000001000000000",
    "attributes": [
        attribute("gen_ai.evaluation.name", "relevance"), attribute("gen_ai.evaluation.score.value", 0.5),
    ],
}  # fmt: skip
RATED = {
    "name": "gen_ai.evaluation.result", "timeUnixNano": "1795000002000000000",
    "attributes": [
        attribute("gen_ai.evaluation.name", "user_feedback"), attribute("gen_ai.evaluation.score.label", "down"),
        attribute("gen_ai.evaluation.explanation", "too short"),
    ],
}  # fmt: skip


def binary(given: dict[str, Any]) -> bytes:
    """As OpenTelemetry's own messages write it; their JSON has ids in base64, and OTLP's in hexadecimal digits."""
    parse = Later("google.protobuf.json_format").Parse
    messages = Later("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    made = parse(json.dumps(given), messages.ExportTraceServiceRequest())
    for resource in made.resource_spans:
        for scoped in resource.scope_spans:
            for one in scoped.spans:
                one.trace_id, one.span_id = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
    return bytes(made.SerializeToString())


def only(given: dict[str, Any]) -> ForeignSpan:
    (found,) = spans_of(given)
    return found


def test_both_wire_forms_say_the_same() -> None:
    given = request(span(CHAT, [EVALUATED], status={"code": 2, "message": "broke"}))
    found = only(given)
    assert only(read_request(binary(given))) == found
    assert (found.service, found.scope, found.failed, found.error) == ("shop", "my.library", True, "broke")
    assert {name: found.attributes[name] for name in CHAT} == CHAT
    assert found.ended_at - found.started_at == pytest.approx(0.25)
    assert found.events == [
        ForeignEvent(
            "gen_ai.evaluation.result",
            1_795_000_001.0,
            {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.5},
        )
    ]


def test_what_is_no_request_is_refused_by_its_place() -> None:
    whole = binary(request(span(CHAT)))
    for cut in (whole[:-1], whole[: len(whole) // 2], b"\x0a\xff", b"\x0f", b"\x08" + b"\xff" * 11):
        with pytest.raises(ProtobufError):
            read_request(cut)
    # Fields that nobody here knows are passed over.
    assert only(read_request(whole + b"\xf8\x06\x01")) == only(read_request(whole))
    for bad, place in (
        ({"resourceSpans": {}}, "resourceSpans"),
        (request(span(CHAT, traceId="xyz")), r"resourceSpans\[0\].scopeSpans\[0\].spans\[0\].traceId"),
        (request(span(CHAT, spanId="0" * 16)), "spanId"),
        (request(span(CHAT, startTimeUnixNano="noon")), "startTimeUnixNano"),
        (request(span({}) | {"attributes": [{"key": "a", "value": {"lostValue": 1}}]}), "lostValue"),
        (request(span({}) | {"attributes": [{"key": "a", "value": {"intValue": "x"}}]}), "intValue"),
        (request(span({}) | {"attributes": [{"key": "a", "value": {"intValue": "9" * 400}}]}), "intValue"),
        # No moment that a clock can tell.
        (request(span({}) | {"startTimeUnixNano": "9" * 400}), "startTimeUnixNano"),
        (request(span({}) | {"startTimeUnixNano": float("inf")}), "startTimeUnixNano"),
        (request(span({}) | {"endTimeUnixNano": -1}), "endTimeUnixNano"),
    ):
        with pytest.raises(InputRefusedError, match=place):
            list(spans_of(bad))
    assert partial_success(0, "") == b""
    told = Later("opentelemetry.proto.collector.trace.v1.trace_service_pb2").ExportTraceServiceResponse()
    told.ParseFromString(partial_success(300, "why"))
    assert (told.partial_success.rejected_spans, told.partial_success.error_message) == (300, "why")
    told.ParseFromString(partial_success(0, "why"))
    assert (told.partial_success.rejected_spans, told.partial_success.error_message) == (0, "why")


def test_what_is_not_kept_of_a_span_is_told_by_its_name(workspace: Workspace) -> None:
    api = OtlpApi(EventLog(workspace), "keep")
    usage = {**CHAT, "gen_ai.usage.input_tokens": -5, "gen_ai.usage.output_tokens": 99999999999999999}
    rejected, why = api._keep(json.dumps(request(span(usage))).encode(), binary=False, packed=False, key="")
    assert rejected == 0
    assert "gen_ai.usage.input_tokens is -5, no number of tokens" in why
    assert "gen_ai.usage.output_tokens is 99999999999999999" in why
    late = str(7_300_000_000 * 10**9)
    for times, count, part in [
        ({"startTimeUnixNano": late, "endTimeUnixNano": late}, 1, "not kept: its time is in the future"),
        ({"startTimeUnixNano": "2000000000", "endTimeUnixNano": "1000000000"}, 0, "ends before it starts"),
    ]:
        rejected, why = api._keep(json.dumps(request(span(CHAT, **times))).encode(), binary=False, packed=False, key="")
        assert rejected == count
        assert part in why
    assert api._keep(json.dumps(request(span(CHAT))).encode(), binary=False, packed=False, key="") == (0, "")


def test_a_request_is_a_trace_with_its_figures() -> None:
    found = as_request(only(request(span(CHAT, [EVALUATED, RATED]))), "app")
    assert found is not None
    assert found["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"},
    ]  # fmt: skip
    assert (found["output"], found["finish_reason"], found["model"]) == ("Rain.", "stop", "m")
    assert (found["prompt_tokens"], found["completion_tokens"], found["total_ms"]) == (7, 2, pytest.approx(250))
    assert found["parameters"] == {"temperature": 0.25, "seed": -3}
    client = found["client"]
    assert client is not None
    assert client["otlp"] == {
        "trace": TRACE, "span": SPAN, "parent": "", "operation": "chat", "service": "shop", "scope": "my.library",
    }  # fmt: skip
    assert client["metadata"]["evaluations"] == [{"name": "relevance", "score.value": 0.5}]
    ((key, said),) = as_feedback(only(request(span(CHAT, [EVALUATED, RATED]))))
    assert key.startswith("fb_otlp_")
    assert (said["score"], said["comment"], said["source"]) == (-1, "too short", "otlp shop")


@pytest.mark.parametrize(
    ("attributes", "events", "messages", "answer", "model"),
    [
        (
            {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.response.model": "gpt"},
            [
                {"name": "gen_ai.system.message", "attributes": [attribute("content", "Be brief.")]},
                {"name": "gen_ai.user.message", "attributes": [attribute("content", "Hi")]},
                {"name": "gen_ai.choice", "attributes": [attribute("message", {"role": "assistant", "content": "Hello"})]},
            ],
            [("system", "Be brief."), ("user", "Hi")],
            "Hello",
            "gpt",
        ),
        (
            {
                "openinference.span.kind": "LLM", "llm.model_name": "gpt", "llm.invocation_parameters": '{"temperature": 0}',
                "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be brief.",
                "llm.input_messages.1.message.role": "user",
                "llm.input_messages.1.message.contents.0.message_content.text": "Hi",
                "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "Hello",
            },
            [],
            [("system", "Be brief."), ("user", "Hi")],
            "Hello",
            "gpt",
        ),
        (
            {
                "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather",
                "gen_ai.tool.call.arguments": {"city": "Paris"}, "gen_ai.tool.call.result": "rain",
            },
            [],
            [("user", '{"city": "Paris"}')],
            "rain",
            "execute_tool weather",
        ),
        (
            {
                "gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "docs",
                "gen_ai.retrieval.query.text": "a kettle", "gen_ai.retrieval.documents": [{"id": "d1", "score": 0.5}],
            },
            [],
            [("user", "a kettle")],
            '[{"id": "d1", "score": 0.5}]',
            "retrieval docs",
        ),
    ],
)  # fmt: skip
def test_conventions_of_several_ages_are_read(
    attributes: dict[str, Any], events: list[Any], messages: list[tuple[str, str]], answer: str, model: str
) -> None:
    found = as_request(only(request(span(attributes, events))), "")
    assert found is not None
    assert [(one["role"], one["content"]) for one in found["messages"]] == messages
    assert (found["output"], found["model"]) == (answer, model)


def test_tools_are_messages_as_a_model_is_sent_them() -> None:
    parts = [
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "result": "rain"}]},
    ]  # fmt: skip
    found = as_request(only(request(span(CHAT | {"gen_ai.input.messages": json.dumps(ASKED + parts)}))), "")
    assert found is not None
    call, answer = found["messages"][2:]
    assert call["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    ]  # fmt: skip
    assert answer == {"role": "tool", "tool_call_id": "c1", "content": "rain"}


async def send(doors: Doors, body: bytes, kind: str = "application/x-protobuf", **headers: str) -> httpx.Response:
    told = {"Authorization": "Bearer a-key-of-the-owner-file", "Content-Type": kind, **headers}
    return await doors.http.post("/v1/traces", content=body, headers=told)


async def test_spans_are_taken_once_found_made_data_and_sent_again(workspace: Workspace, catalog: Catalog) -> None:
    given = request(
        span(CHAT, [RATED]),
        span({"http.method": "GET"}, spanId="b7ad6b7169203332"),
        span(CHAT, spanId="b7ad6b7169203333"),
    )
    async with opened(workspace) as doors:
        answered = await send(doors, json.dumps(given).encode(), "application/json")
        assert answered.json()["partialSuccess"]["rejectedSpans"] == "1"
        assert "openinference.span.kind" in answered.json()["partialSuccess"]["errorMessage"]
        # The same spans once more, as an exporter sends them that heard nothing: packed, too.
        one = request(given["resourceSpans"][0]["scopeSpans"][0]["spans"][0])
        again = await send(doors, gzip.compress(binary(one)), **{"Content-Encoding": "gzip"})
        assert (again.status_code, again.content, again.headers["content-type"]) == (200, b"", "application/x-protobuf")
        for bad, kind in ((b"\x0f", "application/x-protobuf"), (b"[]", "application/json"), (b"{", "application/json")):
            assert (await send(doors, bad, kind)).status_code == 400
        assert (await send(doors, b"no gzip", **{"Content-Encoding": "gzip"})).status_code == 400
        assert (await send(doors, b"", "text/plain")).status_code == 415
        key = doors.key("mute", endpoints=("chat",))
        assert (await doors.ask(key.secret, "/v1/traces", given)).status_code == 403
    event_log = EventLog(workspace)
    # They say nothing of how quick this machine is.
    assert event_log.connection().execute("SELECT count(*) FROM timings").fetchone() == (0,)
    store = TraceStore(catalog, event_log)
    lines, total = store.page(TraceFilter.parse(f"service:shop trace:{TRACE[:6]}", 0), 10)
    assert total == 2
    rated = next(line for line in lines if line.score == -1)
    assert rated.id == key_of(only(request(span(CHAT))))
    trace = store.get(rated.id)
    assert trace.client_words == f"chat of shop, trace {TRACE}"
    assert store.page(TraceFilter.parse("is:queue", 0), 10)[1] == 1
    (told,) = spans_told(trace, content=True)
    assert (told["traceId"], told["spanId"]) == (TRACE, SPAN)
    back = as_request(only(request(dict(told))), "")
    assert back is not None
    assert back["messages"] == trace.messages
    assert (back["output"], back["engine"]) == (trace.output, "openai")
    store.event_log.append(
        "feedback", "fb_1", {"request": rated.id, "score": None, "correction": "Rain, all day.", "said_at": 2e9, "source": "me"}
    )  # fmt: skip
    store.page(TraceFilter(), 1)
    assert gather(store, TraceFilter(service="shop"), "messages", "keep").rows


async def test_texts_are_kept_as_the_setting_says(workspace: Workspace, catalog: Catalog) -> None:
    async with opened(workspace, trace_content="off") as doors:
        await send(doors, json.dumps(request(span(CHAT, [RATED]))).encode(), "application/json")
    store = TraceStore(catalog, EventLog(workspace))
    trace = store.get(key_of(only(request(span(CHAT)))))
    assert (trace.messages, trace.output, trace.line.content, trace.line.comment) == ([], "", "off", None)
    assert (trace.line.prompt_tokens, trace.line.score) == (7, -1)
    assert OWN not in json.dumps(trace.as_dict())


@pytest.mark.slow
def test_the_sdk_of_opentelemetry_sends_and_reads(sample: Workspace) -> None:
    """The exporter of opentelemetry-exporter-otlp-proto-http, as an application has it, to a server's address."""
    exporter = pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    trace_sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    resources = pytest.importorskip("opentelemetry.sdk.resources")
    from llmops_tui.inference.options import RouterOptions
    from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor
    from tests.engine.test_guard import free_port
    from tests.router.fakes import KEY

    os.environ["OTEL_SDK_DISABLED"] = "false"
    supervisor = ServerSupervisor(sample)
    handle = supervisor.serve_all(RouterOptions(host="127.0.0.1", port=free_port(), keys=(KEY,)))
    try:
        for compression in ("none", "gzip"):
            sender = exporter.OTLPSpanExporter(
                endpoint=f"{handle.address}/v1/traces",
                headers={"Authorization": f"Bearer {KEY}"},
                compression=exporter.Compression(compression),
            )
            provider = trace_sdk.TracerProvider(
                resource=resources.Resource.create({"service.name": f"shop {compression}"})
            )
            processor = export.SimpleSpanProcessor(sender)
            provider.add_span_processor(processor)
            tracer = provider.get_tracer("my.agent")
            with tracer.start_as_current_span("invoke_agent clerk") as agent:
                agent.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk"})
                with tracer.start_as_current_span("chat m") as one:
                    one.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
                    one.set_attribute("gen_ai.input.messages", json.dumps(ASKED))
                    one.set_attribute("gen_ai.output.messages", json.dumps(ANSWERED))
                    one.add_event(
                        "gen_ai.evaluation.result",
                        {"gen_ai.evaluation.name": "user_feedback", "gen_ai.evaluation.score.value": 1.0},
                    )
                with tracer.start_as_current_span("execute_tool weather") as tool:
                    tool.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"})
                    tool.set_attribute("gen_ai.tool.call.result", "rain")
            provider.shutdown()
    finally:
        supervisor.stop(ALL_MODELS)
    store = TraceStore(Catalog(sample), EventLog(sample))
    for compression in ("none", "gzip"):
        lines, _ = store.page(TraceFilter(service=f"shop {compression}"), 10)
        assert {line.model for line in lines} == {"invoke_agent clerk", "m", "execute_tool weather"}
        chat = next(line for line in lines if line.model == "m")
        assert (chat.question, chat.output, chat.score) == ("Weather in Paris?", "Rain.", 1)
        own = {line.id: store.get(line.id).client["otlp"] for line in lines}  # type: ignore[index]
        assert len({one["trace"] for one in own.values()}) == 1
        assert sum(not one["parent"] for one in own.values()) == 1
