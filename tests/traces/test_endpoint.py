"""Feedback through the endpoint of a real server, and what its event log keeps under each policy."""

from __future__ import annotations

import json

import httpx
import pytest

from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.representatives import representatives


def post(handle: ServerHandle, path: str, body: object) -> httpx.Response:
    with httpx.Client(
        transport=socket_transport(handle.socket),
        base_url="http://localhost",
        timeout=120,
        headers={"Authorization": f"Bearer {handle.key}"},
    ) as client:
        return client.post(path, json=body)


def ask(handle: ServerHandle) -> str:
    body = {"messages": [{"role": "user", "content": "I am ann@example.org. When are you open?"}], "max_tokens": 5}
    return str(post(handle, "/v1/chat/completions", body).json()["id"])


@pytest.mark.parametrize("policy", representatives(["keep", "redact", "off"], "redact"))
def test_a_client_says_what_it_thinks_by_the_id_of_the_answer(sample: Workspace, policy: str) -> None:
    model = ModelRegistry(Catalog(sample)).get("support-base")
    handle = ServerSupervisor(sample).ensure(model, LoadOptions(threads=1, trace_content=policy))
    answer = ask(handle)
    said = post(handle, "/v1/feedback", {"id": answer, "score": "down", "correction": "At nine.", "user": "ann"})
    assert said.status_code == 200
    assert said.json()["trace"] == answer
    assert said.json()["left_out"] == (["correction"] if policy == "off" else [])
    textual = post(handle, "/v1/feedback", {"id": answer, "comment": "late"})
    assert textual.status_code == (400 if policy == "off" else 200)
    for bad in (
        {"id": answer},
        {"score": "up"},
        {"id": answer, "score": "best"},
        {"id": answer, "score": "up", "more": 1},
    ):
        refused = post(handle, "/v1/feedback", bad)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"]
    store = TraceStore(Catalog(sample), EventLog(sample))
    trace = store.get(answer)
    words = (None, "not kept") if policy == "off" else ("At nine.", "ann")
    assert (trace.line.score, trace.line.correction, trace.said[0]["source"]) == (-1, *words)
    kept = json.dumps(trace.messages)
    assert ("ann@example.org" in kept) == (policy == "keep")
    assert (trace.messages == []) == (policy == "off")
    assert (trace.output == "") == (policy == "off")
    assert trace.line.completion_tokens
    assert store.page(TraceFilter.parse("is:queue", 0.0), 5)[1] == 1
