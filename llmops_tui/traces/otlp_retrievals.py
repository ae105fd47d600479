"""Searches in indexes as spans: those of a request's prompt, and the steps of chains that retrieve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from llmops_tui.chains.records import SpanRecord
from llmops_tui.chains.runs import get_run
from llmops_tui.errors import NotFoundError
from llmops_tui.jobs.store import JobStore
from llmops_tui.traces.otlp_spans import CLIENT, ERROR, Span, attributes, below, trace_of
from llmops_tui.traces.retrieved import retrieved_of
from llmops_tui.traces.store import Trace, TraceStore
from llmops_tui.workspace.events import TracedRetrieval


def searched(trace: Trace, whole: Span, *, content: bool) -> list[Span]:
    """What was searched for the prompt of a request, whose own span is ``whole``."""
    return [_search(n, one, whole, content=content) for n, one in enumerate(retrieved_of(trace.client))]


def _search(number: int, found: TracedRetrieval, whole: Span, *, content: bool) -> Span:
    begin = int(found["started_at"] * 1e9)
    documents = [{"id": f"{found['index']}#{one['chunk']}", "score": one["score"]} for one in found["passages"]]
    values: dict[str, object] = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": found["index"],
        "gen_ai.request.top_k": found["k"],
        "gen_ai.retrieval.documents": json.dumps(documents),
        "llmops.retrieval.by": found["by"],
    }
    if content:
        values["gen_ai.retrieval.query.text"] = found["query"]
    return {
        "traceId": whole["traceId"],
        "spanId": hashlib.sha256(f"{whole['spanId']} {number}".encode()).hexdigest()[:16],
        "parentSpanId": whole["spanId"],
        "name": f"retrieval {found['index']}",
        "kind": CLIENT,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int(found["seconds"] * 1e9)),
        "attributes": attributes(values),
        "events": [],
    }


def chain_retrievals(store: TraceStore, batch: Sequence[Trace], seen: set[str], *, content: bool) -> list[Span]:
    """What the runs of chains whose steps are sent retrieved; each run's once."""
    found: list[Span] = []
    jobs = JobStore(store.event_log)
    for trace in batch:
        run = ((trace.client or {}).get("chain") or {}).get("run")
        if not run or run in seen:
            continue
        seen.add(run)
        try:
            steps: Iterable[SpanRecord] = get_run(jobs, run).spans()
        except NotFoundError:
            # Of a served chain only the requests are kept.
            continue
        found += [_retrieval(run, step, content=content) for step in steps if step["kind"] == "retrieve"]
    return found


def _retrieval(run: str, step: SpanRecord, *, content: bool) -> Span:
    passages = (step["output"] or {}).get("passages", []) if isinstance(step["output"], dict) else []
    kept = ("number", "source", "sha256", "score")
    documents = [
        {"id": str(one.get("source") or one.get("number")), **{k: one[k] for k in kept if k in one}} for one in passages
    ]
    if content:
        documents = [{**told, "content": one.get("text")} for told, one in zip(documents, passages, strict=True)]
    # Older runs kept the query alone.
    asked = step["input"] if isinstance(step["input"], dict) else {"query": step["input"]}
    values = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": asked.get("index"),
        "gen_ai.retrieval.query.text": str(asked.get("query", "")) if content else None,
        "gen_ai.request.top_k": asked.get("k", len(passages)),
        "gen_ai.retrieval.documents": json.dumps(documents, ensure_ascii=False),
        "llmops.chain.step": step["path"],
        "error.type": "error" if step["state"] == "failed" else None,
    }
    digest = hashlib.sha256(f"{run} {step['path']} {step['key']}".encode()).hexdigest()
    made = below(trace_of(run)[:32], digest, "", f"retrieval {asked.get('index') or step['step']}", values)
    made["kind"] = CLIENT
    made["startTimeUnixNano"] = str(int(step["started_at"] * 1e9))
    made["endTimeUnixNano"] = str(int((step["started_at"] + step["seconds"]) * 1e9))
    if step["state"] == "failed":
        made["status"] = {"code": ERROR}
    return made
