"""``llmops prompt improve``, ``improvements``, ``improvement`` and ``promote``: better prompts, found and proved by measuring."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.improvement.records import CandidateRecord, ImprovedRecord, SealedRowRecord

_Ref = Annotated[str, typer.Argument(metavar="PROMPT", help="name, name@number or name@label: the seed.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The improvement's id, which is its job's, or a prefix of it.")]


def improve(
    context: typer.Context,
    ref: _Ref,
    model: Annotated[str, typer.Option("--model", help="The model that the prompt is for; default: the suite's.")] = "",
    data: Annotated[str, typer.Option(help="A dataset version; its rows are split into three parts.")] = "",
    metric: Annotated[str, typer.Option(help="What is improved: a metric's type, or its name in the suite.")] = "",
    suite: Annotated[str, typer.Option(help="Instead of --data: a suite that says data, paths and metrics.")] = "",
    paths: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=PATH", help="With --data: a variable's column or path.")
    ] = None,
    expected: Annotated[str, typer.Option(help="With --data: the column or path of the right answer.")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="With --data: the most tokens of an answer.")] = 256,
    sealed_data: Annotated[str, typer.Option(help="A dataset of another source; its rows are the sealed ones.")] = "",
    reflector: Annotated[str, typer.Option(help="The model that writes instructions; default: --model.")] = "",
    embedder: Annotated[str, typer.Option(help="The model that tells how diverse examples are; default: words.")] = "",
    by: Annotated[list[str] | None, typer.Option("--by", help="instructions or examples; default: both.")] = None,
    turns: Annotated[int, typer.Option(min=1, max=200, help="Number of candidates to propose.")] = 12,
    rows: Annotated[int, typer.Option(min=0, help="Use so many rows at the most; 0: all.")] = 0,
    calls: Annotated[int | None, typer.Option(min=1, help="The most calls of the model.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="The most minutes.")] = None,
    watt_hours: Annotated[float | None, typer.Option(min=0.001, help="The most energy, where it is measured.")] = None,
    most_words: Annotated[int, typer.Option(min=5, help="The longest instruction, in words.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is drawn, but not which rows are sealed.")] = 1,
    look_again: Annotated[
        bool, typer.Option("--look-again", help="Look at sealed rows once more; the interval is wider then.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it will take, and exit.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking; for scripts.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Find a better instruction or better examples, and prove it on rows that nothing was chosen by."""
    session = session_of(context)
    chosen, default_model, name = _suite(session, context, ref, suite, data, metric, paths or [], expected, max_tokens)
    plan: dict[str, Any] = {
        "prompt": ref,
        "suite": chosen.body,
        "metric": name,
        "model": model or default_model,
        "reflector": reflector,
        "embedder": embedder,
        "sealed_data": sealed_data,
        "turns": turns,
        "rows": rows,
        "calls": calls,
        "minutes": minutes,
        "watt_hours": watt_hours,
        "most_words": most_words,
        "seed": seed,
        "look_again": look_again,
    } | ({"ways": by} if by else {})
    _start(session, plan, dry_run=dry_run, yes=yes, detach=detach)


def _suite(
    session: Session,
    context: typer.Context,
    ref: str,
    suite: str,
    data: str,
    metric: str,
    paths: list[str],
    expected: str,
    max_tokens: int,
) -> tuple[Suite, str, str]:
    """The suite to improve by, the model that it names, and the metric's name in it."""
    from llmops_tui.cli.evaluate_options import store_of, suite_of
    from llmops_tui.cli.output import is_given
    from llmops_tui.improvement.asked import suite_of_data
    from llmops_tui.inference.template_renderer import TemplateRenderer

    if bool(suite) == bool(data):
        raise LlmopsError("usage", "give either --data with --metric, or --suite", exit_code=ExitCode.USAGE)
    store = store_of(session)
    if suite:
        for option in ("paths", "expected", "max_tokens"):
            if is_given(context, option):
                flag = {"paths": "var"}.get(option, option.replace("_", "-"))
                raise LlmopsError("usage", f"--{flag} goes with --data; a suite says it", exit_code=ExitCode.USAGE)
        found = suite_of(session, store, suite).suite
        names = [one.called for one in found.made_metrics()]
        return found, next(iter(found.models), ""), metric or next(iter(names), "")
    if not metric:
        raise LlmopsError("usage", "--data requires --metric; llmops eval metrics lists them", exit_code=ExitCode.USAGE)
    version = store.prompts.get(ref)
    renderer = TemplateRenderer()
    try:
        variables = renderer.variables(f"{version.system}\n{version.template}")
    finally:
        renderer.close()
    if not variables:
        raise InputRefusedError(
            "no_variables", f"{version.ref} has no variables, so every row would be asked the same", "Give it one."
        )
    given = dict(_named(one) for one in paths)
    made = suite_of_data(
        version.prompt,
        variables,
        store.datasets.get(data),
        {"type": metric},
        paths=given,
        expected=expected,
        parameters={"max_tokens": max_tokens} if is_given(context, "max_tokens") else {},
        settings=version.settings,
    )
    return made, "", metric


def _named(text: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not sign or not name or not path:
        raise LlmopsError("usage", f"--var {text}: give NAME=PATH", exit_code=ExitCode.USAGE)
    return name, path


def _start(session: Session, body: JsonObject, *, dry_run: bool, yes: bool, detach: bool) -> None:
    """Show what it will take, ask, and start the job."""
    from llmops_tui.improvement.estimate import ESTIMATE_ENTRY, estimate_text
    from llmops_tui.improvement.job import ENTRY, KIND, start_arguments
    from llmops_tui.improvement.plan import check_plan
    from llmops_tui.improvement.prepared import prepare

    if not body["model"]:
        raise LlmopsError("usage", "give the model that the prompt is for with --model", exit_code=ExitCode.USAGE)
    prepared = prepare(session.catalog, check_plan(body))
    arguments = {"plan": prepared.plan.as_record()}
    title = f"estimate of improving {prepared.seed.prompt}"
    estimate = run_job(session, kind="estimate", title=title, entry=ESTIMATE_ENTRY, arguments=arguments)
    for line in estimate["told"]:
        session.say(line)
    session.say(estimate_text(estimate))
    if dry_run:
        session.emit(estimate, lambda: "")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise LlmopsError(
                "nobody_to_ask", "without a terminal what it takes cannot be confirmed", "Give --yes.", ExitCode.USAGE
            )
        if not typer.confirm(f"Improve {prepared.seed.ref}?", default=False, err=True):
            raise InputRefusedError("not_confirmed", "nothing more was asked", "The first answers are remembered.")
    title = f"improve {prepared.seed.ref}"
    started = start_arguments(prepared)
    found = run_job(session, kind=KIND, title=title, entry=ENTRY, arguments=started, detach=detach)
    if found is not None:
        session.emit(found, lambda: _text(session, found))


def improvements(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(metavar="[PROMPT]", help="Those of this prompt; default: all.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of rows.")] = LIMIT,
) -> None:
    """List improvements, the newest first, with their verdicts and whether they looked at sealed rows."""
    from llmops_tui.improvement.store import ImprovementStore

    session = session_of(context)
    store = ImprovementStore(session.catalog)
    found = store.all(prompt)
    records = store.records(found[:limit])
    rows = [
        (
            one["improvement"],
            f"{one['prompt']}@{one['seed']}",
            one["state"],
            time.strftime("%Y-%m-%d %H:%M", time.localtime(one["started_at"])),
            f"look {one['looked']['look']}" if one["looked"] is not None else "closed",
            one["verdict"],
        )
        for one in records
    ]
    heads = ("improvement", "seed", "state", "started", "sealed", "verdict")
    session.emit({"improvements": records, "total": len(found)}, lambda: session.rows(heads, rows, len(found)))


def improvement(
    context: typer.Context,
    given: _Id,
    rows: Annotated[bool, typer.Option("--rows", help="Print the sealed rows behind the verdict.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --rows: how many are printed.")] = LIMIT,
) -> None:
    """Show what an improvement found so far or at its end: candidates, the front of score and length, the sealed verdict."""
    from llmops_tui.improvement.sealed_rows import sealed_rows
    from llmops_tui.improvement.store import ImprovementStore

    session = session_of(context)
    store = ImprovementStore(session.catalog)
    one = store.get(given)
    if rows:
        behind = sealed_rows(session.catalog, one)
        session.emit({"rows": behind[:limit], "total": len(behind)}, lambda: _rows_text(session, behind, limit))
        return
    found = store.so_far(one)
    if found is None:
        raise InputRefusedError(
            "nothing_yet", f"{one.id} has found nothing yet", f"llmops job show {one.id} says what it is at."
        )
    session.emit(found, lambda: _text(session, found))


def promote(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="VERSION", help="A candidate, as name@number.")],
    label: Annotated[str, typer.Option(help="Point this label at it, too, such as production.")] = "",
) -> None:
    """Make a candidate a version like any other, which lists show, and which may be the latest."""
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    store = PromptStore(session.catalog)
    before = store.get(ref)
    if not before.candidate_of and not label:
        raise InputRefusedError("no_candidate", f"{before.ref} is no candidate: it is a version like any other already")
    version = store.promote(before.ref)
    if label:
        version = UndoHistory(session.catalog, session.event_log).move_label(version.ref, label)
    session.emit(version.as_dict(), lambda: f"{version.ref} {' '.join(version.labels)}".rstrip())


# ── in words ──


def _text(session: Session, found: ImprovedRecord) -> str:
    from llmops_tui.improvement.front import front_lines

    rows = [_candidate_row(candidate) for candidate in found["candidates"]]
    heads = ("version", "parent", "what", "words", "tokens", "score on select", "rows", "gain", "front", "fate")
    blocks = [session.rows(heads, rows)]
    if found["refused"]:
        refused = "\n".join(f"  turn {entry['turn'] + 1}: {entry['why']}" for entry in found["refused"])
        blocks.append(f"proposals that are no candidates:\n{refused}")
    if drawing := front_lines(found["candidates"], found["better"]):
        blocks.append("\n".join(drawing))
    taken = found["taken"]
    energy = "energy not measured" if taken["joules"] is None else f"{taken['joules'] / 3600:.2g} Wh"
    blocks.append(
        f"{counted(taken['calls'], 'call')}, {taken['cached']:,} known before, {counted(taken['reflections'], 'reflection')}, "
        f"{taken['seconds'] / 60:.1f} min, {energy}"
    )
    if found["stopped"]:
        blocks.append(f"the budget ended it early: {found['stopped']}")
    blocks.append(found["verdict"] or f"not finished: {found['step']}")
    if found["sealed"] is not None:
        best = f"{found['prompt']}@{found['sealed']['version']}"
        blocks.append(
            f"llmops prompt diff {found['prompt']}@{found['seed']} {best} shows the change, llmops prompt improvement "
            f"{found['improvement']} --rows the sealed rows, llmops prompt promote {best} takes it"
        )
    return "\n\n".join(blocks)


def _candidate_row(one: CandidateRecord) -> tuple[object, ...]:
    score = ""
    if one["mean"] is not None:
        ends = f" [{one['low']:.3f}, {one['high']:.3f}]" if one["low"] is not None and one["high"] is not None else ""
        score = f"{one['mean']:.3f}{ends}"
    return (
        f"@{one['version']}",
        f"@{one['parent']}" if one["parent"] is not None else "",
        one["kind"],
        one["words"],
        "" if one["prompt_tokens"] is None else f"{one['prompt_tokens']:.0f}",
        score,
        one["rows"] or "",
        "" if one["gain"] is None else f"{one['gain']:+.3f}",
        "yes" if one["front"] else "",
        one["fate"],
    )


def _rows_text(session: Session, behind: list[SealedRowRecord], limit: int) -> str:
    if not behind:
        return "nobody looked at the sealed rows yet"
    shown = [
        (
            row["row"],
            row["seed_score"],
            row["candidate_score"],
            row["asked"],
            row["expected"],
            row["seed"],
            row["candidate"],
        )
        for row in behind[:limit]
    ]
    heads = ("row", "seed", "candidate", "asked", "expected", "seed's answer", "candidate's answer")
    return session.rows(heads, shown, len(behind))
