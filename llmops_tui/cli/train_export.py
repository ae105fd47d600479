"""``llmops train plan``, ``export`` and ``sweep``: preflight, export of a run, and hyperparameter search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import Session, session_of
from llmops_tui.cli.train_options import Accept, Changes, RecipeName, RunName, Target, announce, at, recipe_of, store_of
from llmops_tui.counts import agree, counted
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.training.example import examples_told
from llmops_tui.training.memory import devices_told
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.training.records import ExportResult, MemoryPart, PlanRecord, SweepResult


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(plan)
    app.command()(export)
    app.command()(sweep)


def plan(
    context: typer.Context,
    given: RecipeName,
    changes: Changes = None,
    accept: Accept = None,
    target: Target = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run/--no-dry-run", help="Run and measure real steps: two on the longest rows, two on usual ones."
        ),
    ] = True,
) -> None:
    """Preflight a run: data, template, tokens, memory, time. Exit 1 if there are errors."""
    from llmops_tui.training.worker import PLAN_ENTRY

    session = session_of(context)
    recipe = at(recipe_of(session, given, changes, accept), target)
    announce(session, store_of(session), recipe)
    arguments = {"recipe": recipe.model_dump(), "dry_run": dry_run}
    found = run_job(session, kind="plan", title=f"preflight {recipe.name}", entry=PLAN_ENTRY, arguments=arguments)
    session.emit(found, lambda: _plan_text(found))
    if not found.get("ok"):
        raise typer.Exit(int(ExitCode.FAILED))


def _plan_text(plan: PlanRecord) -> str:
    from llmops_tui.training.mixture import mixture_lines
    from llmops_tui.training.preflight_speed import saving_lines

    data, memory, timing = plan["data"], plan["memory"], plan["time"]
    parts: tuple[MemoryPart, ...] = ("weights", "adapter", "optimizer", "activations", "logits", "overhead")
    lines = [f"{p['level']:5} {p['message']}" + (f"\n      {p['hint']}" if p["hint"] else "") for p in plan["problems"]]
    seconds = timing["seconds"]
    speed = "" if seconds is None else f"about {seconds / 60:.1f} min at {timing['tokens_per_s']:,.0f} tokens/s"
    tokens = data["tokens"]
    shares = ", ".join(f"{name} {memory[name] / 1e9:.2f} GB" for name in parts)
    lines += [
        (
            f"data      {examples_told(data)}, {data['held_out']} held out; tokens p50 {tokens['p50']:.0f}, "
            f"p95 {tokens['p95']:.0f}, max {tokens['max']}; {data['trained_tokens']:,} in the loss"
        ),
        *(f"mixture   {line}" for line in mixture_lines(data)),
        (
            f"memory    {memory['total'] / 1e9:.2f} GB of {memory['available'] / 1e9:.2f} GB free on {devices_told(memory)}: "
            f"{shares} (corrected by {memory['measured_runs']} measured runs)"
        ),
        f"time      {counted(timing['steps'], 'step')}, {speed or 'not known before a dry run'}",
        *(f"saves     {line}" for line in saving_lines(plan.get("savings", []))),
        f"disk      {plan['disk']['needed'] / 1e6:,.0f} MB at the most, {plan['disk']['free'] / 1e9:.1f} GB free",
    ]
    parity = plan["parity"]
    if parity:
        same = (
            "the same tokens"
            if not parity["different"]
            else f"{parity['different']} {agree(parity['different'], 'differs', 'differ')}"
        )
        lines.append(
            f"template  {counted(parity['compared'], 'conversation')} in training and in {parity['serving']}: {same}"
        )
    if plan["energy_kwh"] is not None:
        lines.append(f"energy    {plan['energy_kwh']:.2f} kWh at the card's power limit")
    if plan["dry_run"]:
        dry = plan["dry_run"]
        error = dry["estimated_bytes"] / dry["peak_bytes"] - 1
        lines.append(
            f"dry run   {dry['step_s']:.2f} s a step, {dry['peak_bytes'] / 1e9:.2f} GB at the peak; "
            f"the estimate was {error:+.0%} off"
        )
    marks = {"trained": "[", "masked": "", "cut": "<"}
    closing = {"trained": "]", "masked": "", "cut": ">"}
    for example in plan["examples"][:2]:
        lines.append("example   " + "".join(f"{marks[s]}{t}{closing[s]}" for t, s in example).replace("\n", "⏎"))
    return "\n".join(lines)


def export(
    context: typer.Context,
    name: RunName,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="Verify the GGUF adapter on its base; the run has already written it.")
    ] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Merge the adapter into the base, as 16-bit GGUF.")] = False,
    quantize: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Merge and quantize, such as Q8_0 or Q4_K_M.")
    ] = None,
    safetensors: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the merged model as safetensors.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach")] = False,
) -> None:
    """Export a run as a model to serve, and verify each step against the adapter on its base; as a job."""
    from llmops_tui.training.export.validation import ENTRY, check_export

    session = session_of(context)
    if not (gguf or merge or quantize or safetensors):
        raise LlmopsError(
            "usage",
            "nothing to export is given: --gguf, --merge, --quantize TYPE or --safetensors FOLDER",
            exit_code=ExitCode.USAGE,
        )
    check_export(store_of(session), name, quantize)
    arguments = {
        "run_name": name,
        "merge": merge,
        "quantize": quantize,
        "safetensors": None if safetensors is None else str(with_home(safetensors).resolve()),
    }
    found = run_job(session, kind="export", title=f"export {name}", entry=ENTRY, arguments=arguments, detach=detach)
    if found is not None:
        session.emit(found, lambda: _proof_table(session, found))


def _proof_table(session: Session, result: ExportResult) -> str:
    from llmops_tui.training.export.proof_table import TABLE_HEADERS, table

    made = ", ".join(result.get("models") or []) or "nothing new"
    return f"made: {made}\n" + session.rows(TABLE_HEADERS, table(result.get("proof") or []))


def sweep(
    context: typer.Context,
    given: RecipeName,
    space: Annotated[
        Path | None, typer.Option(help="YAML: fields with a list of values, or with low, high and log.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, max=10_000)] = 8,
    sampler: Annotated[
        str,
        typer.Option(help="tpe (Bayesian), random, grid, or evolutionary: cmaes, and nsga2 for several objectives."),
    ] = "tpe",
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Stop trials early that fall behind the others.")
    ] = True,
    pruner: Annotated[
        str | None, typer.Option(help="How: median, asha (successive halving), hyperband, or none. Default: median.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="What is searched for: loss, size, speed or memory; repeatable: the front of all is found."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="On a cluster: how many trials train at once. Default: one a GPU, or one a node."
        ),
    ] = None,
    changes: Changes = None,
    accept: Accept = None,
    target: Target = None,
    detach: Annotated[bool, typer.Option("--detach")] = False,
) -> None:
    """Search hyperparameters with short runs; the best is saved as a recipe."""
    from llmops_tui.training.search_space import default_space, read_space
    from llmops_tui.training.sweeps import ENTRY, check_search

    session = session_of(context)
    if not prune and pruner not in {None, "none"}:
        raise LlmopsError("usage", f"--no-prune and --pruner {pruner} exclude each other", exit_code=ExitCode.USAGE)
    recipe = at(recipe_of(session, given, changes, accept), target)
    objectives = objective or ["loss"]
    # By several objectives, or by others than the loss, nothing can be ended early, unless that is asked for and refused.
    by_loss = objectives == ["loss"]
    pruner = pruner or ("median" if prune and by_loss else "none")
    wanted = read_space(space) if space else default_space(recipe, numbers=sampler == "cmaes")
    check_search(recipe.model_dump(), wanted, sampler, pruner, objectives, at_once or 0)
    if pruner == "none" and prune and not by_loss:
        session.say(f"no trial is ended early: the objectives are {', '.join(objectives)}")
    arguments = {
        "recipe": recipe.model_dump(),
        "space": wanted,
        "trials": trials,
        "sampler": sampler,
        "pruner": pruner,
        "objectives": objectives,
        "at_once": at_once or 0,
    }
    found = run_job(
        session, kind="sweep", title=f"sweep {recipe.name}", entry=ENTRY, arguments=arguments, detach=detach
    )
    if found is not None:
        session.emit(found, lambda: _sweep_text(session, found))


def _sweep_text(session: Session, found: SweepResult) -> str:
    from llmops_tui.training.search_methods import best_first

    names, objectives, best = list(found["best"]), found.get("objectives") or ["loss"], set(found.get("front") or [])
    ordered: list[Any] = list(best_first(found["trials"], objectives))
    rows = [
        (
            f"{row['trial']}{' *' if len(objectives) > 1 and row['trial'] in best else ''}",
            row["state"],
            *((row.get("values") or {"loss": row["loss"]}).get(one) for one in objectives),
            *(row.get(name) for name in names),
            row.get("why", ""),
        )
        for row in ordered
    ]
    text = session.rows(("trial", "state", *objectives, *names, "note"), rows)
    weights = "  ".join(f"{name} {share:.0%}" for name, share in found["importance"].items())
    told = f"\n* no other trial is better in all of {', '.join(objectives)}" if len(objectives) > 1 else ""
    return f"{text}{told}\nimportance: {weights or 'needs more trials'}\nkept as {found['recipe']}"
