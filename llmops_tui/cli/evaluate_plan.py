"""``llmops eval plan``: what a run could show, what it takes and what the model has seen, before it is made."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.evaluate_options import RunName, SuiteName, store_of, suite_of
from llmops_tui.cli.output import session_of
from llmops_tui.errors import InputRefusedError


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(plan)
    app.command()(card)


def plan(
    context: typer.Context,
    given: SuiteName,
    model: Annotated[str, typer.Option(help="The model; default: the first of the suite.")] = "",
    effect: Annotated[
        float, typer.Option(help="The difference that you want to see, in the metric's unit: 0.05 is 5 points.")
    ] = 0.05,
    limit: Annotated[int | None, typer.Option(min=1, help="For a sample of so many cases.")] = None,
) -> None:
    """Tell before a run how many cases an effect needs, the smallest effect, the cost, and which cases the model knows."""
    from llmops_tui.evaluation.costs_told import plan_text
    from llmops_tui.evaluation.planning import plan as make_plan

    session = session_of(context)
    store = store_of(session)
    version = suite_of(session, store, given)
    chosen = model or next(iter(version.suite.models), "")
    if not chosen:
        raise InputRefusedError(
            "no_model", f"suite {version.suite.name!r} has no model", "Choose one with --model NAME."
        )
    found = make_plan(store, version, chosen, effect=effect, limit=limit)
    session.emit(found, lambda: plan_text(found))


def card(context: typer.Context, name: RunName) -> None:
    """Print a run's card: what was asked, tokens, seconds and energy by case, and which cases the model knew."""
    from llmops_tui.evaluation.costs_told import card_text

    session = session_of(context)
    store = store_of(session)
    run = store.get(name)
    session.emit(store.state(run).as_dict(), lambda: card_text(run))
