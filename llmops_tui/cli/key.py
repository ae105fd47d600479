"""``llmops key``: keys for clients of the served models, with scopes, limits and an end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from llmops_tui.inference.access.report import KeyReport
    from llmops_tui.inference.access.store import KeyStore, NewKey
    from llmops_tui.monitoring.key_costs import KeyCost

app = typer.Typer(help="Access keys for clients of llmops serve: scopes, limits, expiry, use.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A key, by its name or id.")]
Number = Annotated[int | None, typer.Option(min=1)]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is called, in lists and in traces.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A registered model that it is for; repeatable. Default: all.")
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", help="An adapter that it is for; repeatable. Default: all.")
    ] = None,
    no_adapters: Annotated[bool, typer.Option("--no-adapters", help="Models without adapters alone.")] = False,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint",
            help="chat, completions, embeddings, rerank, classify, tokenize, batches, feedback, traces, metrics or keys; "
            "repeatable. "
            "Default: all but keys.",
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt", help="A served prompt that it is for, by its name; then no model for itself. Repeatable."
        ),
    ] = None,
    max_context: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of a prompt and its answer together.")
    ] = None,
    max_output: Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")] = None,
    requests_per_minute: Number = None,
    requests_per_day: Number = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Tokens of prompts and answers.")] = None,
    tokens_per_day: Number = None,
    expires: Annotated[
        str, typer.Option(metavar="30d", help="When it ends: in 30m, 12h, 30d or 8w, or a date such as 2027-01-31.")
    ] = "",
    owner: Annotated[str, typer.Option(help="Who has it, for your own list.")] = "",
    within: Annotated[
        str, typer.Option(metavar="KEY", help="Make it within another key, whose scope and limits it shares.")
    ] = "",
) -> None:
    """Make a key. Its secret is shown this once, and is kept nowhere."""
    from llmops_tui.chains.store import ChainStore
    from llmops_tui.inference.access.asked import check_known, moment_of
    from llmops_tui.inference.access.keys import Scope
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    if adapter and no_adapters:
        raise InputRefusedError("usage", "--adapter and --no-adapters exclude each other")
    scope = Scope(
        tuple(model) if model else None,
        () if no_adapters else tuple(adapter) if adapter else None,
        tuple(endpoint) if endpoint else None,
        max_context,
        max_output,
        requests_per_minute,
        requests_per_day,
        tokens_per_minute,
        tokens_per_day,
        tuple(prompt) if prompt else None,
    )
    if scope.prompts:
        from llmops_tui.prompts.store import PromptStore

        for one in scope.prompts:
            PromptStore(session.catalog).versions(one)
    if scope.models or scope.adapters:
        kinds = {one.name: one.kind for one in ModelRegistry(session.catalog).all()}
        check_known(scope, kinds | dict.fromkeys(ChainStore(session.catalog).served_names(), "chain"))
    store = _store(session)
    parent = store.get(within) if within else None
    ends = moment_of(expires, time.time()) if expires else None
    made = store.create(name, scope, owner=owner, expires_at=ends, parent=parent)
    _tell(session, made)


@app.command("list")
def list_keys(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="Maximum number of keys.", min=1)] = LIMIT,
    every: Annotated[bool, typer.Option("--all", help="Also those that are revoked.")] = False,
) -> None:
    """List keys with what is left of their limits, and their last use."""
    from llmops_tui.inference.access.report import limits_in_words, reports

    session = session_of(context)
    found = [one for one in reports(_store(session)) if every or one.state != "revoked"]
    shown = found[:limit]

    def human() -> str:
        rows = [
            [
                one.key.name,
                one.state,
                one.key.begins,
                limits_in_words(one.standings),
                _moment(one.key.expires_at),
                _moment(one.key.last_used),
                one.key.owner,
            ]
            for one in shown
        ]
        return session.rows(["key", "state", "begins", "left", "expires", "last use", "owner"], rows, len(found))

    told = {
        "keys": [one.as_record() for one in shown],
        "total": len(found),
        "truncated": len(found) > len(shown),
    }
    session.emit(told, human)


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show a key: scope, limits, and what it has used of which model, with the energy where it is known."""
    session = session_of(context)
    found = _report(session, name)
    costs = _costs(session, found)
    data = {**found.as_record(), "costs": [_cost_record(one) for one in costs]}
    session.emit(data, lambda: _shown(session, found, costs))


@app.command()
def revoke(context: typer.Context, name: Name) -> None:
    """Revoke a key at once, and all keys that were made within it."""
    session = session_of(context)
    store = _store(session)
    revoked = store.revoke(store.get(name))
    names = [key.name for key in revoked]
    session.emit({"revoked": names}, lambda: f"revoked: {', '.join(names)}" if names else f"{name} was revoked already")


@app.command()
def rotate(context: typer.Context, name: Name) -> None:
    """Give a key another secret, shown this once; the old one opens nothing from now on."""
    session = session_of(context)
    store = _store(session)
    _tell(session, store.rotate(store.get(name)))


def _store(session: Session) -> KeyStore:
    from llmops_tui.inference.access.store import KeyStore

    return KeyStore(session.event_log)


def _report(session: Session, name: str) -> KeyReport:
    from llmops_tui.inference.access.report import reports

    store = _store(session)
    wanted = store.get(name)
    return next(one for one in reports(store) if one.key.id == wanted.id)


def _costs(session: Session, report: KeyReport) -> list[KeyCost]:
    from llmops_tui.monitoring.history import History
    from llmops_tui.monitoring.key_costs import costs_of

    path = session.workspace.history
    history = History(path) if path.exists() else None
    try:
        return costs_of(report.use, history, session.event_log, time.time())
    finally:
        if history is not None:
            history.close()


def _cost_record(cost: KeyCost) -> dict[str, object]:
    return {
        "model": cost.model or None,
        "requests": cost.requests,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "seconds": round(cost.seconds, 3),
        "joules": None if cost.joules is None else round(cost.joules, 1),
    }


def _tell(session: Session, made: NewKey) -> None:
    from llmops_tui.inference.access.report import scope_in_words

    key = made.key
    data = {"name": key.name, "key": made.secret, "id": key.id, "expires_at": key.expires_at, **key.scope.as_record()}

    def human() -> str:
        limits = ", ".join(f"{limit.amount:,} {unit} a {span}" for unit, span, limit in key.scope.limits().values())
        lines = [f"key     {made.secret}", f"for     {scope_in_words(key)}", f"limits  {limits or 'none'}"]
        return "\n".join([*lines, f"ends    {_moment(key.expires_at) or 'never'}"])

    session.emit(data, human)
    session.say("it is shown this once: only its hash is kept")


def _shown(session: Session, report: KeyReport, costs: list[KeyCost]) -> str:
    from llmops_tui.inference.access.report import limits_in_words, scope_in_words

    key = report.key
    lines = [
        f"key       {key.name} ({key.id}), begins {key.begins}",
        f"state     {report.state}",
        f"for       {scope_in_words(key)}",
        f"left      {limits_in_words(report.standings)}",
        f"made      {_moment(key.created_at)}" + (f", within {report.within}" if report.within else ""),
        f"ends      {_moment(key.expires_at) or 'never'}",
        f"last use  {_moment(key.last_used) or 'never'}",
        f"owner     {key.owner or '–'}",
        f"requests  {report.requests:,}, and {report.refused:,} turned away by its limits",
    ]
    rows = [
        [
            one.model,
            one.prompt_tokens,
            one.completion_tokens,
            round(one.seconds, 1),
            "not known" if one.joules is None else f"{one.joules / 3600:.2f} Wh",
        ]
        for one in costs
        if one.model
    ]
    return "\n".join(lines) + "\n\n" + session.rows(["model", "prompt tokens", "answer tokens", "s", "energy"], rows)


def _moment(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
