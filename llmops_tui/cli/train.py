"""``llmops train``: start, watch, stop, pause and resume fine-tuning runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli import train_export, train_rewards
from llmops_tui.cli.archive import AlsoArchived, left
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.cli.train_options import (
    Accept,
    Changes,
    RecipeName,
    RunName,
    Target,
    announce,
    at,
    of_base,
    recipe_of,
    store_of,
    with_changes,
)
from llmops_tui.cli.train_rewards import evaluation_told
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.regular_files import open_regular

if TYPE_CHECKING:
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.runs import RunState, RunStore

app = typer.Typer(help="Fine-tuning.", no_args_is_help=True, rich_markup_mode=None)
train_export.add_to(app)
train_rewards.add_to(app)

_WATCH_SECONDS = 0.5
# So many of the newest plans are looked through.
_PLANS = 20


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the recipe.")],
    base: Annotated[str, typer.Option(help="The model to train: a registered folder or GGUF file, or a path.")],
    data: Annotated[list[str], typer.Option(help="A dataset version, optionally as VERSION*WEIGHT; repeatable.")],
    preset: Annotated[
        list[str] | None,
        typer.Option(help="A preset: classify, chat, preference, rewards, pretrain, tiny; 8gb, 24gb, 80gb, cpu."),
    ] = None,
    changes: Changes = None,
    to: Annotated[Path | None, typer.Option(help="Write the recipe to a file instead of saving it.")] = None,
) -> None:
    """Make a recipe from presets and save it as a version."""
    from llmops_tui.training import presets
    from llmops_tui.training.recipe import check
    from llmops_tui.training.recipe_input import from_text

    session = session_of(context)
    sources = [source for item in data for source in from_text("data", item)]
    recipe = presets.apply(check({"name": name, "base": base, "data": sources}), *(preset or []))
    recipe = with_changes(of_base(session, recipe), changes)
    text = recipe.to_yaml()
    if to is not None:
        if to.exists():
            raise InputRefusedError("file_exists", f"{to} already exists", "Choose another file.")
        to.write_text(text, encoding="utf-8")
        session.emit({"recipe": name, "path": str(to)}, lambda: str(to))
        return
    number = store_of(session).save_recipe(recipe)
    session.emit(
        {"recipe": name, "version": number, "sha256": recipe.sha256, "body": recipe.model_dump()},
        lambda: f"{name}@{number}\n{text}",
    )


@app.command()
def recipes(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT, archived: AlsoArchived = False
) -> None:
    """List the saved recipes, newest first."""
    session = session_of(context)
    found = left(session, "recipe", store_of(session).recipes(), lambda one: one[0], also=archived)
    data = [
        {"recipe": n, "version": v, "sha256": r.sha256, "note": note, "created_at": at}
        for n, v, r, note, at in found[:limit]
    ]
    rows = [(f"{n}@{v}", r.method, r.base, ", ".join(s.dataset for s in r.data)) for n, v, r, _, _ in found[:limit]]
    session.emit(
        {"recipes": data, "total": len(found)},
        lambda: session.rows(("recipe", "method", "base", "data"), rows, len(found)),
    )


@app.command()
def recipe(context: typer.Context, name: RecipeName, changes: Changes = None, accept: Accept = None) -> None:
    """Print a recipe as YAML; also converts files of axolotl, LLaMA-Factory and Unsloth."""
    session = session_of(context)
    found = recipe_of(session, name, changes, accept)
    session.emit(found.model_dump(), lambda: found.to_yaml().rstrip())


@app.command()
def fields(context: typer.Context) -> None:
    """List the fields of a recipe with their description and default."""
    from llmops_tui.training.recipe import fields as all_fields

    session = session_of(context)
    rows = [
        (path, "" if info.is_required() else _short(info.get_default()), info.description or "")
        for path, info in all_fields()
    ]
    data = [{"field": path, "default": default, "about": about} for path, default, about in rows]
    session.emit({"fields": data}, lambda: session.rows(("field", "default", "description"), rows))


def _short(value: Any) -> str:
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)


@app.command()
def start(
    context: typer.Context,
    given: RecipeName,
    changes: Changes = None,
    accept: Accept = None,
    target: Target = None,
    follow: Annotated[
        bool,
        typer.Option("--follow/--detach", help="Follow the run until it ends; interrupting does not stop the run."),
    ] = False,
    beside: Annotated[bool, typer.Option("--beside", help="Do not wait for other runs on the same device.")] = False,
    make_room: Annotated[
        bool, typer.Option("--make-room", help="Stop the model servers of this workspace during the run.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Start even if the preflight finds errors.")] = False,
) -> None:
    """Start a run as a job; it continues when the terminal is closed. Preflight errors stop it."""
    from llmops_tui.training import device_queue

    session = session_of(context)
    store = store_of(session)
    recipe = at(recipe_of(session, given, changes, accept), target)
    devices = [] if beside or recipe.target else device_queue.training_devices(recipe.devices)
    holders = [(device, holder) for device in devices if (holder := device_queue.holder_of(device))]
    announce(session, store, recipe)
    run = store.start(recipe, beside=beside, make_room=make_room, force=force)
    for device, holder in holders:
        session.say(f"{holder} trains on {device} now; {run.name} waits for it (--beside does not)")
    if follow:
        _follow(session, store, run.name)
        return
    state = store.state(run)
    warned = warnings_told(store, recipe)
    session.emit(
        state.as_dict(),
        lambda: (
            f"{run.name} started; llmops train watch {run.name} shows it\n"
            f"{warned}llmops train show {run.name} lists what its preflight warns of"
        ),
    )


def warnings_told(store: RunStore, recipe: Recipe) -> str:
    """How many warnings the newest plan of a recipe has, as the beginning of a line; empty where it was not planned."""
    body = recipe.model_dump(mode="json")
    for job in store.jobs.of_kind("plan", _PLANS):
        if job.result is not None and job.spec["arguments"].get("recipe") == body:
            count = sum(problem["level"] == "warn" for problem in job.result.get("problems", []))
            return f"{counted(count, 'warning')} in the newest plan of this recipe; "
    return ""


@app.command("list")
def list_(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT, archived: AlsoArchived = False
) -> None:
    """List runs, newest first."""
    session = session_of(context)
    store = store_of(session)
    runs = left(session, "training", store.all(), lambda run: run.name, also=archived)
    states = [state.as_dict() for state in store.states(runs[:limit])]
    rows = [
        (
            s["run"],
            s["state"],
            f"{s['step']}/{s['total']}",
            _figure(s["loss"]),
            _figure(s["eval_loss"]),
            s["cause"] or s["message"],
        )
        for s in states
    ]
    headers = ("run", "state", "step", "loss", "eval", "note")
    session.emit({"runs": states, "total": len(runs)}, lambda: session.rows(headers, rows, len(runs)))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@app.command()
def show(context: typer.Context, name: RunName) -> None:
    """Show one run: its state, events and result."""
    from llmops_tui.training.history import read_history
    from llmops_tui.training.reward_figures import learned, learned_told

    session = session_of(context)
    store = store_of(session)
    state = store.state(store.get(name))
    history = read_history(state.run.folder)
    facts = state.as_dict()
    data = facts | {
        "recipe": state.run.recipe.model_dump(),
        "data_sha256": dict(state.run.data),
        "facts": history.facts,
        "events": [vars(e) for e in history.events],
        "samples": [vars(s) for s in history.samples],
        "answers": [vars(a) for a in history.answers],
        "rewards": learned(history),
    }

    def human() -> str:
        lines = [f"{key:14} {value}" for key, value in facts.items() if value not in (None, "", [])]
        lines += [f"{name:14} {told}" for name, told in learned_told(history)]
        lines += [f"{e.level:5} step {e.step}: {e.message} {e.hint}".rstrip() for e in history.events]
        return "\n".join(lines)

    session.emit(data, human)


@app.command()
def compare(
    context: typer.Context, names: Annotated[list[str], typer.Argument(metavar="RUN…", help="Two or more runs.")]
) -> None:
    """Compare runs side by side: results, and the recipe fields that differ."""
    from llmops_tui.training.recipe import fields as all_fields
    from llmops_tui.training.recipe import value_at

    session = session_of(context)
    store = store_of(session)
    states = [store.state(store.get(name)) for name in names]
    shown = [state.as_dict() for state in states]
    recipes = [state.run.recipe for state in states]
    different = {
        path: [_short(value_at(r, path)) for r in recipes]
        for path, _ in all_fields()
        if path not in {"name", "data"} and len({_short(value_at(r, path)) for r in recipes}) > 1
    }
    rows = [("state", *(s["state"] for s in shown)), ("data", *(", ".join(s["data"]) for s in shown))]
    rows += [(key, *(_figure(s[key]) for s in shown)) for key in ("loss", "eval_loss", "tokens_per_s")]
    rows += [(path, *values) for path, values in different.items()]
    session.emit({"runs": shown, "different": different}, lambda: session.rows(("", *names), rows))


@app.command()
def watch(context: typer.Context, name: RunName) -> None:
    """Follow a run: one line per step, or with --json one JSON object per record; ends with the run."""
    session = session_of(context)
    _follow(session, store_of(session), name)


def _follow(session: Session, store: RunStore, name: str) -> None:
    from llmops_tui.training.history import FILE

    run = store.get(name)
    path = run.folder / FILE
    offset = 0
    while True:
        state = store.state(run)
        if path.exists():
            with open_regular(path) as file:
                file.seek(offset)
                whole, newline, _ = file.read().rpartition(b"\n")
            offset += len(whole) + len(newline)
            for line in whole.splitlines():
                _tell(session, line)
        if state.state == "lost" or (state.job is not None and state.job.state.final):
            break
        time.sleep(_WATCH_SECONDS)
    _end(session, store.state(store.get(name)))


def _tell(session: Session, line: bytes) -> None:
    import json

    try:
        record = json.loads(line)
    except ValueError:
        return
    if session.options.json:
        session.emit_line(record)
        return
    step = record.get("step")
    texts = {
        "step": lambda: (
            f"step {step:>6}  {_worth(record)}  lr {record['learning_rate']:.2e}  {record['seconds']:.2f} s"
        ),
        "eval": lambda: f"step {step:>6}  {evaluation_told(record)}",
        "sample": lambda: f"step {step:>6}  sample: {record.get('text')}",
        "event": lambda: (
            f"step {step:>6}  {record.get('level')}: {record.get('message')} {record.get('hint')}".rstrip()
        ),
        "checkpoint": lambda: f"step {step:>6}  checkpoint",
        "start": lambda: (
            f"from step {step} of {record.get('total')}: {counted(record.get('rows') or 0, 'row')}, "
            f"{record.get('trainable')} trainable parameters"
        ),
    }
    if record.get("kind") in texts:
        session.emit(record, texts[record["kind"]])


def _worth(record: JsonObject) -> str:
    """What a step came to: its loss, or of rewards what they were, how far it is from the base, and how long answers are."""
    if "reward" not in record:
        return f"loss {record['loss']:.4f}"
    return (
        f"reward {record['reward']:.3f} ± {record['reward_std']:.3f}  KL {record.get('kl', 0):.4f}  "
        f"{record['completions/mean_length']:.1f} tokens"
    )


def _end(session: Session, state: RunState) -> None:
    facts = state.as_dict()
    if session.options.json:
        session.emit_line({"kind": "state", **facts})
    else:
        session.say(f"{state.run.name}: {state.state} {facts['cause']}".rstrip())
    if state.state not in {"done", "paused", "stopped"}:
        raise LlmopsError(
            "run_failed", f"run {state.run.name} {state.state}: {facts['cause']}", "llmops train resume continues it."
        )


@app.command()
def stop(
    context: typer.Context,
    name: RunName,
    after_save: Annotated[
        bool, typer.Option("--after-save", help="Stop after the next checkpoint is written.")
    ] = False,
) -> None:
    """Stop a run; `train resume` continues from its last checkpoint."""
    _steered(context, store_of(session_of(context)).stop(name, after_save=after_save))


@app.command()
def pause(context: typer.Context, name: RunName) -> None:
    """Write a checkpoint now and release the device."""
    _steered(context, store_of(session_of(context)).pause(name))


@app.command()
def resume(context: typer.Context, name: RunName) -> None:
    """Continue a run from its last complete checkpoint."""
    _steered(context, store_of(session_of(context)).resume(name))


def _steered(context: typer.Context, state: RunState) -> None:
    session = session_of(context)
    session.emit(state.as_dict(), lambda: f"{state.run.name}: {state.state}")
