"""``llmops experiment``: which of two models is better on served traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import LIMIT, session_of
from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from llmops_tui.cli.output import Session
    from llmops_tui.inference.experiments.store import ExperimentStore

app = typer.Typer(
    help="Experiments on served traffic: A/B tests, canaries and shadows.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def start(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model or alias whose requests are part of it.")],
    b: Annotated[str, typer.Option("--b", help="The candidate; for a prompt a version of it, or a model.")],
    a: Annotated[str, typer.Option("--a", help="What answers now; without it, what NAME means.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="ab, canary or shadow.")] = "ab",
    split: Annotated[float | None, typer.Option("--split", help="The share of conversations that B has.")] = None,
    by: Annotated[
        str, typer.Option("--by", help="What a conversation is known by: conversation, user, key or header:NAME.")
    ] = "conversation",
    metric: Annotated[
        str, typer.Option("--metric", help="What decides: rating, answered, or a metric, by its type or as JSON.")
    ] = "",
    budget: Annotated[
        float | None, typer.Option("--budget", help="The share of conversations that may fail before B is stopped.")
    ] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="How often a decision may be wrong.")] = None,
    slower: Annotated[float, typer.Option("--slower", help="How many times as long B may take.")] = 1.2,
) -> None:
    """Begin an experiment; the server of all models (`llmops serve --all`) follows it within a second."""
    import pydantic

    from llmops_tui.experiments.beginning import NewExperiment, begin
    from llmops_tui.experiments.reports import record_of

    session = session_of(context)
    given = {
        "name": name, "a": a, "b": b, "kind": kind, "split": split, "by": by, "metric": metric, "budget": budget,
        "alpha": alpha, "slower": slower,
    }  # fmt: skip
    try:
        asked = NewExperiment.model_validate(given)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        told = f"--{first['loc'][0]}: {first['msg']}"
        raise InputRefusedError("bad_experiment", told, "llmops experiment start --help says what there is.") from error
    store = _store(session)
    made = begin(session.catalog, store, asked)
    settings = made.settings
    if not _is_served(session):
        session.say("no server of all models runs: llmops serve --all follows the experiment when it is started")
    session.emit(
        record_of(store, made),
        lambda: f"{made.id}: {kind} on {name}, A {settings['a']}, B {settings['b']}; llmops experiment show {made.id}",
    )


@app.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = LIMIT,
) -> None:
    """List experiments, the newest first."""
    from llmops_tui.experiments.reports import record_of

    session = session_of(context)
    store = _store(session)
    every = store.all()
    found = [record_of(store, one) for one in every[:limit]]
    heads = ("id", "name", "kind", "state", "A", "B", "with A", "with B", "failed with B")
    rows = [
        (
            one["experiment"], one["name"], one["kind"], one["state"], one["settings"]["a"], one["settings"]["b"],
            one["conversations"]["a"], one["conversations"]["b"], one["failed"]["b"],
        )
        for one in found
    ]  # fmt: skip
    session.emit({"experiments": found, "total": len(every)}, lambda: session.rows(heads, rows, len(every)))


@app.command()
def show(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Its id, or the name that it is on.")],
) -> None:
    """Show the verdict on an experiment so far; you may look as often as you like."""
    from llmops_tui.experiments.reports import shown

    session = session_of(context)
    store = _store(session)
    found = shown(session.catalog, store, store.get(experiment))

    def human() -> str:
        record, verdict = found["experiment"], found["verdict"]
        lines = [
            f"{record['experiment']}: {record['kind']} on {record['name']}, {record['state']}",
            verdict["sentence"],
        ]
        if record["without_unit"]:
            by = record["settings"]["by"]
            lines.append(f"{record['without_unit']} requests had no {by}, went to A and are no part of it.")
        rows = [
            (g["metric"], g["state"], g["margin"], _figure(g["at_least"]), _figure(g["at_most"]), g["unit"])
            for g in verdict["guardrails"]
        ]
        return "\n".join(
            [*lines, session.rows(("guardrail", "B is", "margin", "worse by at least", "at most", ""), rows)]
        )

    session.emit(found, human)


@app.command()
def stop(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Its id, or the name that it is on.")],
) -> None:
    """End an experiment: its name means again what it meant before."""
    from llmops_tui.experiments.reports import record_of

    session = session_of(context)
    store = _store(session)
    found = store.get(experiment)
    store.stop(found.id, "stopped by hand")
    session.emit(
        record_of(store, store.get(found.id)), lambda: f"{found.id} is stopped; {found.name} means what it meant"
    )


def _store(session: Session) -> ExperimentStore:
    from llmops_tui.inference.experiments.store import ExperimentStore
    from llmops_tui.workspace.event_log import EventLog

    return ExperimentStore(EventLog(session.workspace))


def _is_served(session: Session) -> bool:
    from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor

    return ServerSupervisor(session.workspace).find(ALL_MODELS) is not None


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:+.4g}"
