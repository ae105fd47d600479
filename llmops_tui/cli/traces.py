"""``llmops traces``: requests, feedback on them, and datasets made from them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.moments import moment_words

if TYPE_CHECKING:
    from llmops_tui.inference.request_code import RequestCode
    from llmops_tui.traces.store import Trace

app = typer.Typer(help="Requests with their answers, timings and feedback.")
Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        help="Words, ~regex, terms: model:M prompt:P@3 is:down slow:2000 since:24h experiment:E@b chain:C work:W recording:R.",
    ),
]


def _store(session: Session) -> Any:
    from llmops_tui.traces.store import TraceStore

    return TraceStore(session.catalog, session.event_log)


def _wanted(session: Session, said: str) -> Any:
    from llmops_tui.traces.known_names import known_filter

    return known_filter(session.catalog, session.event_log, said)


@app.command("list")
def list_traces(
    context: typer.Context,
    said: Filter = "",
    limit: Annotated[int, typer.Option(help="Maximum number of traces.", min=1)] = LIMIT,
    sort: Annotated[
        str,
        typer.Option(help="A column, the greatest first: time, took, first, speed, tokens …; -took: the least first."),
    ] = "time",
) -> None:
    """List traces, newest first."""
    from llmops_tui.traces.orders import TraceOrder

    session = session_of(context)
    lines, total = _store(session).page(_wanted(session, said), limit, order=TraceOrder.parse(sort))

    def human() -> str:
        rows = [
            [
                line.id,
                moment_words(line.started_at, "%m-%d %H:%M:%S"),
                line.model,
                line.asked_with,
                line.finish_reason,
                round(line.total_ms) if line.total_ms is not None else None,
                {1: "up", -1: "down"}.get(line.score or 0, ""),
                (line.question or "")[:40],
                line.output[:40],
            ]
            for line in lines
        ]
        headers = ["trace", "when", "model", "prompt", "end", "ms", "said", "question", "answer"]
        return session.rows(headers, rows, total)

    session.emit({"traces": [line.as_dict() for line in lines], "total": total, "truncated": total > len(lines)}, human)


@app.command()
def show(
    context: typer.Context,
    trace: Annotated[str, typer.Argument(help="The trace id, or a prefix of it.")],
    as_: Annotated[
        str,
        typer.Option(
            "--as", metavar="curl|python|markdown", help="Print the request to make it elsewhere, or to read."
        ),
    ] = "",
) -> None:
    """Show one trace with its messages, figures and feedback."""
    from llmops_tui.traces.citations import citation_words, citations_of
    from llmops_tui.traces.retrieved import retrieval_words, retrieved_of

    session = session_of(context)
    found = _store(session).get(trace)
    cited = citations_of(session.catalog, found)
    if as_:
        text = _code_of(session, found).written(as_)
        if found.line.content == "redacted":
            session.say("personal data was replaced when this was kept: the request that was made had other words")
        session.emit({"trace": found.line.id, "form": as_, "code": text}, lambda: text)
        return

    def human() -> str:
        line = found.line
        when = moment_words(line.started_at)
        parts = [f"{line.id}  {when}  {line.model}  {line.finish_reason}"]
        parts += [line.asked_with] if line.asked_with else []
        parts += [f"[{m.get('role')}]\n{m.get('content')}" for m in found.messages]
        parts += [f"[thinking]\n{found.thinking}"] if found.thinking else []
        parts += [f"[answer]\n{found.output}"] + ([f"error: {line.error}"] if line.error else [])
        parts += [f"content: {line.content}"] if line.content else []
        parts += [f"client: {words}"] if (words := found.client_words) else []
        parts += [f"retrieved: {retrieval_words(one)}" for one in retrieved_of(found.client)]
        parts += [f"citation {citation_words(one)}" for one in cited]
        for said in found.said:
            words = [
                {1: "up", -1: "down"}.get(said["score"] or 0),
                said["correction"],
                said["comment"],
                said["verdict"],
            ]
            parts.append(f"{said['source']}: " + " · ".join(word for word in words if word))
        return "\n".join(parts)

    session.emit({**found.as_dict(), "citations": cited}, human)


def _code_of(session: Session, found: Trace) -> RequestCode:
    from llmops_tui.inference.request_code import code_of
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.prompts.store import PromptStore

    try:
        model = ModelRegistry(session.catalog).get(found.line.model)
    except NotFoundError:
        model = None
    settings = None
    if found.line.prompt and found.line.version is not None:
        with contextlib.suppress(NotFoundError):
            settings = PromptStore(session.catalog).get(f"{found.line.prompt}@{found.line.version}").settings
    return code_of(found.line.model, model, found.messages, found.parameters, found.output, settings)


@app.command()
def feedback(
    context: typer.Context,
    trace: Annotated[str, typer.Argument(help="The trace id, or a prefix of it.")],
    score: Annotated[str | None, typer.Option(help="up or down.")] = None,
    correct: Annotated[str | None, typer.Option(help="The correct answer.")] = None,
    comment: Annotated[str | None, typer.Option(help="A comment.")] = None,
    verdict: Annotated[
        str | None, typer.Option(help="accepted or dismissed; removes the trace from the review queue.")
    ] = None,
) -> None:
    """Give feedback on an answer."""
    from llmops_tui.traces.feedback import give

    session = session_of(context)
    made = give(_store(session), trace, score=score, correction=correct, comment=comment, verdict=verdict)
    session.emit(made, lambda: f"kept: {made['trace']}")


@app.command("to-dataset")
def to_dataset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The dataset; a new version is added.")],
    shape: Annotated[str, typer.Option("--as", help="messages, or preference for pairs.")] = "messages",
    said: Filter = "",
    keep_personal: Annotated[
        bool, typer.Option("--keep-personal", help="Keep personal data; by default it is redacted.")
    ] = False,
) -> None:
    """Make a dataset version from corrected and upvoted answers."""
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.traces.to_dataset import gather, make_version

    session = session_of(context)
    store = _store(session)
    privacy = "keep" if keep_personal else "redact"
    wanted = _wanted(session, said)
    store.page(wanted, 1)
    gathered = gather(store, wanted, shape, privacy)
    version = make_version(DatasetStore(session.catalog), name, gathered, shape, privacy)
    UndoHistory(session.catalog, session.event_log).note_rows(version)
    data = {
        "dataset": version.dataset,
        "version": version.number,
        "rows": version.rows,
        "sha256": version.sha256,
        "as": shape,
        "left_out": dict(gathered.left_out),
        "personal": dict(gathered.personal),
        "privacy": privacy,
    }

    def human() -> str:
        lines = [f"{version.ref}: {version.note}"]
        lines += [f"left out: {count} × {why}" for why, count in gathered.left_out.items()]
        return "\n".join(lines)

    session.emit(data, human)


@app.command()
def trajectories(
    context: typer.Context,
    said: Filter = "",
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Checks in YAML; exits with 1 if one fails.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of conversations.", min=1)] = LIMIT,
) -> None:
    """Put the requests of agents together: which tools each conversation called, and whether checks of that hold."""
    from llmops_tui.evaluation.statistics.intervals import wilson
    from llmops_tui.foreign_text import text_of
    from llmops_tui.traces.trajectories import read_checks
    from llmops_tui.traces.trajectories import trajectories as found_in
    from llmops_tui.user_files import with_home

    session = session_of(context)
    path = with_home(check) if check is not None else None
    checks = read_checks(text_of(path), str(path)) if path is not None else ()
    store, wanted = _store(session), _wanted(session, said)
    found = found_in(store, wanted)
    if checks and not found:
        raise InputRefusedError(
            "nothing_to_check", "no conversation is of this filter, so that nothing was checked", "llmops traces list"
        )
    for one in found:
        one.problems = [told for asked in checks for told in asked.problems(one)]
    passed = sum(not one.problems for one in found)
    share = wilson(passed, len(found)) if checks and found else None
    rows = [
        [
            one.traces[0],
            len(one.traces),
            " → ".join(call["tool"] for call in one.calls),
            one.answer[:40],
            "; ".join(one.problems) or ("passed" if checks else ""),
        ]
        for one in found[:limit]
    ]
    data = {
        "trajectories": [one.as_dict() for one in found[:limit]],
        "total": len(found),
        "checks": len(checks),
        "passed": passed if checks else None,
        "low": share.low if share is not None else None,
        "high": share.high if share is not None else None,
    }

    def human() -> str:
        table = session.rows(["first trace", "requests", "calls", "answer", "checks"], rows, len(found))
        if share is None:
            return table
        return f"{table}\n{passed} of {len(found)} passed, {share.low:.0%} to {share.high:.0%}"

    session.emit(data, human)
    if passed < len(found) and checks:
        raise typer.Exit(1)


@app.command("export")
def export_traces(
    context: typer.Context,
    otlp: Annotated[str, typer.Option(help="The OTLP/HTTP address of a collector, such as http://localhost:4318.")],
    said: Filter = "",
    content: Annotated[bool, typer.Option("--content", help="Also send prompts and answers.")] = False,
    header: Annotated[list[str] | None, typer.Option(help="An HTTP header as NAME=VALUE; repeatable.")] = None,
) -> None:
    """Send traces to a collector as OpenTelemetry spans."""
    from llmops_tui.traces.otlp import export

    session = session_of(context)
    headers = {}
    for item in header or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise InputRefusedError("bad_header", f"{item!r} is not a header", "--header NAME=VALUE")
        headers[name] = value
    sent = export(_store(session), _wanted(session, said), otlp, content=content, headers=headers)
    session.emit({"sent": sent}, lambda: f"{counted(sent, 'trace')} sent to {otlp}")
