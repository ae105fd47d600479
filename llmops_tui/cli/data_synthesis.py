"""``llmops data``: rows that a model writes, rows said in other words, and which rows of a version nobody wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import Session, is_given, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.synthesis.prepared import Prepared
    from llmops_tui.synthesis.records import BudgetRecord, SynthesisedRecord

_Ref = Annotated[str, typer.Argument(help="name, name@number or name@tag.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Start without asking; the budget is shown all the same.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the budget and some first rows, and exit.")]
_Detach = Annotated[bool, typer.Option("--detach", help="Run the job in the background.")]
_Guidance = Annotated[str, typer.Option(help="What the model is told about the rows, in your own words.")]
_Prompt = Annotated[str, typer.Option(help="A prompt version that asks; default: the built-in one.")]
_Temperature = Annotated[float, typer.Option(min=0, max=5, help="Higher values are more varied.")]
_TopP = Annotated[float, typer.Option(min=0, max=1)]
_MaxTokens = Annotated[int, typer.Option(min=1, help="Most tokens of an answer; longer ones fall.")]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed, model and texts give the same rows.")]
_Near = Annotated[
    float, typer.Option(min=0.3, max=1.0, help="From this share of common word sequences on a row is a near-duplicate.")
]
_MinChars = Annotated[int, typer.Option(min=0, help="Shorter rows fall.")]
_MaxChars = Annotated[int, typer.Option(min=1, help="Longer rows fall.")]
_Judge = Annotated[str, typer.Option(help="A model that grades each row from 1 to 5; default: none.")]
_Rubric = Annotated[str, typer.Option(help="What the judge grades by.")]
_Least = Annotated[float, typer.Option(min=1, max=5, help="Rows with a lower grade fall.")]
_MAKERS = ("paraphrase", "back-translation", "noise")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (synthesise, augment, origins):
        app.command()(command)
    app.command("topic-tree")(topic_tree)


def synthesise(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The dataset that the rows are written to.")],
    model: Annotated[str, typer.Option("--model", help="The registered model that writes.")],
    seeds: Annotated[str, typer.Option(help="A dataset version whose rows are the examples.")] = "",
    schema: Annotated[Path | None, typer.Option(help="A file with a JSON Schema of a row.")] = None,
    topics: Annotated[Path | None, typer.Option(help="A file of topics, as llmops data topic-tree writes.")] = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows to ask for; filters leave fewer.")] = 100,
    write: Annotated[list[str] | None, typer.Option(help="A column of the seeds to write; repeatable.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to take from the seed row; repeatable.")] = None,
    shots: Annotated[int, typer.Option(min=1, max=20, help="Number of seed rows that the model is shown.")] = 5,
    guidance: _Guidance = "",
    prompt: _Prompt = "",
    temperature: _Temperature = 0.8,
    top_p: _TopP = 0.95,
    max_tokens: _MaxTokens = 256,
    seed: _Seed = 1,
    near: _Near = 0.8,
    min_chars: _MinChars = 3,
    max_chars: _MaxChars = 4000,
    judge: _Judge = "",
    rubric: _Rubric = "",
    least: _Least = 3.0,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    detach: _Detach = False,
) -> None:
    """Have a model write rows, as a job: like the rows of seeds, by a JSON Schema, or about topics. What fell is told."""
    from llmops_tui.synthesis.plan import read_schema
    from llmops_tui.synthesis.topics import parse_topics

    session = session_of(context)
    if not seeds and is_given(context, "shots"):
        raise LlmopsError("usage", "--shots goes with --seeds", exit_code=ExitCode.USAGE)
    plan: dict[str, Any] = {
        "way": "rows",
        "model": model,
        "rows": rows,
        "seeds": seeds,
        "schema": read_schema(schema) if schema is not None else None,
        "topics": [t.as_dict() for t in parse_topics(_text(topics))] if topics is not None else [],
        "write": write or [],
        "keep": keep,
        "shots": shots,
        "guidance": guidance,
        "prompt": prompt,
        "seed": seed,
        "parameters": {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens},
        "filters": _filters(near, min_chars, max_chars, judge, rubric, least),
    }
    _start(session, plan, name, dry_run=dry_run, yes=yes, detach=detach)


def augment(
    context: typer.Context,
    ref: _Ref,
    by: Annotated[str, typer.Option("--by", help=f"{', '.join(_MAKERS)}.")],
    model: Annotated[str, typer.Option("--model", help="The model that says texts otherwise; noise needs none.")] = "",
    name: Annotated[str, typer.Option("--name", help="The dataset to write to; default: REF's name and the way.")] = "",
    column: Annotated[str, typer.Option(help="Of a table: the column of texts.")] = "",
    rows: Annotated[int, typer.Option("--rows", "-n", min=0, help="Rows to ask for; 0: one for each row.")] = 0,
    noise: Annotated[list[str] | None, typer.Option(help="typos, upper, lower or blanks; repeatable.")] = None,
    rate: Annotated[float, typer.Option(min=0.001, max=1, help="Share of the words with a typo.")] = 0.1,
    times: Annotated[int, typer.Option(min=1, max=100, help="Rows with typos for each row.")] = 1,
    language: Annotated[str, typer.Option(help="Of back-translation: the language between, such as fr.")] = "fr",
    guidance: _Guidance = "",
    prompt: _Prompt = "",
    temperature: _Temperature = 0.8,
    top_p: _TopP = 0.95,
    max_tokens: _MaxTokens = 256,
    seed: _Seed = 1,
    near: _Near = 0.8,
    min_chars: _MinChars = 3,
    max_chars: _MaxChars = 4000,
    judge: _Judge = "",
    rubric: _Rubric = "",
    least: _Least = 3.0,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    detach: _Detach = False,
) -> None:
    """Say rows in other words, there and back by another language, or with noise. Only new rows, each with its parent."""
    from llmops_tui.datasets.store import DatasetStore

    session = session_of(context)
    if by not in _MAKERS:
        raise LlmopsError("usage", f"--by {by}: {', '.join(_MAKERS)}", exit_code=ExitCode.USAGE)
    _refuse_idle(context, by)
    version = DatasetStore(session.catalog).get(ref)
    target = name or f"{version.dataset}-{by}"
    if by == "noise":
        parameters = {"kinds": noise or ["typos"], "rate": rate, "times": times, "seed": seed, "column": column}
        _noise(session, version.ref, parameters, target)
        return
    if not model:
        raise LlmopsError("usage", f"--by {by} requires --model", exit_code=ExitCode.USAGE)
    plan: dict[str, Any] = {
        "way": by,
        "model": model,
        "rows": rows or version.rows,
        "seeds": version.ref,
        "write": [column] if column else [],
        "guidance": guidance,
        "prompt": prompt,
        "language": language,
        "seed": seed,
        "parameters": {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens},
        "filters": _filters(near, min_chars, max_chars, judge, rubric, least),
    }
    _start(session, plan, target, dry_run=dry_run, yes=yes, detach=detach)


def _refuse_idle(context: typer.Context, by: str) -> None:
    """Refuse options that this way does not have."""
    of_noise = {"noise", "rate", "times"}
    of_models = set(context.params) - of_noise - {"ref", "by", "name", "column", "seed"}
    idle = of_models if by == "noise" else of_noise | ({"language"} if by == "paraphrase" else set())
    for option in sorted(idle):
        if is_given(context, option):
            flag = option.replace("_", "-")
            raise LlmopsError("usage", f"--{flag} does not go with --by {by}", exit_code=ExitCode.USAGE)


def _noise(session: Session, ref: str, parameters: JsonObject, name: str) -> None:
    from llmops_tui.datasets.operations.base import apply
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.maintenance.undo import UndoHistory

    show = session.progress(f"noise {ref}")
    made = apply(
        DatasetStore(session.catalog),
        "noise",
        [ref],
        parameters,
        name=name,
        report=lambda share, _: show(share) if show else None,
    )
    UndoHistory(session.catalog, session.event_log).note_rows(made)
    session.emit(made.as_dict(), lambda: f"{made.ref}: {counted(made.rows, 'row')}, {made.note}")


def _filters(near: float, least_chars: int, most_chars: int, judge: str, rubric: str, least: float) -> JsonObject:
    filters: dict[str, Any] = {"near": near, "min_chars": least_chars, "max_chars": most_chars}
    if rubric and not judge:
        raise LlmopsError("usage", "--rubric goes with --judge", exit_code=ExitCode.USAGE)
    return filters | {"judge": judge, "least": least} | ({"rubric": rubric} if rubric else {})


def _text(path: Path) -> str:
    from llmops_tui.foreign_text import text_of

    try:
        return text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("unreadable", f"{path} cannot be read: {error}") from error


def _start(session: Session, body: JsonObject, name: str, *, dry_run: bool, yes: bool, detach: bool) -> None:
    """Show the budget, ask, and write the rows as a job."""
    from llmops_tui.datasets.store import check_name
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.synthesis.budget import BUDGET_ENTRY
    from llmops_tui.synthesis.job import ENTRY, KIND, start_arguments
    from llmops_tui.synthesis.plan import check_plan
    from llmops_tui.synthesis.prepared import prepare

    check_name(name)
    prepared = prepare(session.catalog, check_plan(body))
    for line in prepared.told:
        session.say(line)
    arguments = {"plan": prepared.plan.as_record()}
    budget = run_job(session, kind="budget", title=f"budget of {name}", entry=BUDGET_ENTRY, arguments=arguments)
    _tell_budget(session, prepared, budget)
    if dry_run:
        session.emit(budget, lambda: "")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise LlmopsError(
                "nobody_to_ask", "without a terminal the budget cannot be confirmed", "Give --yes.", ExitCode.USAGE
            )
        if not typer.confirm(f"Write {counted(budget['rows'], 'row')} into {name}?", default=False, err=True):
            raise InputRefusedError("not_confirmed", "nothing more was written", "The first rows are remembered.")
    started = start_arguments(prepared, name)
    made = run_job(session, kind=KIND, title=f"write {name}", entry=ENTRY, arguments=started, detach=detach)
    if made is not None:
        version = _version(session, made)
        UndoHistory(session.catalog, session.event_log).note_rows(version)
        session.emit(made, lambda: _made_text(made))


def _version(session: Session, made: SynthesisedRecord) -> Any:
    from llmops_tui.datasets.store import DatasetStore

    return DatasetStore(session.catalog).get(f"{made['dataset']}@{made['version']}")


def _tell_budget(session: Session, prepared: Prepared, budget: BudgetRecord) -> None:
    from llmops_tui.datasets.origins import COLUMN
    from llmops_tui.synthesis.budget import budget_text

    for line in budget["told"][len(prepared.told) :]:
        session.say(line)
    for sample in budget["samples"]:
        shown = {key: value for key, value in sample.items() if key != COLUMN}
        session.say(f"  {json.dumps(shown, ensure_ascii=False)[:300]}")
    session.say(f"budget: {budget_text(budget)}")


def _made_text(made: SynthesisedRecord) -> str:
    from llmops_tui.synthesis.funnel import funnel_lines

    ref = f"{made['dataset']}@{made['version']}"
    took = f"{counted(made['calls'], 'call')}, {made['prompt_tokens'] + made['completion_tokens']:,} tokens"
    lines = [f"{ref}: {counted(made['rows'], 'row')}, {made['note']}; {took}", *funnel_lines(made["funnel"])]
    if made["rejected"]:
        lines.append(f"llmops data rejects {ref} lists what fell")
    return "\n".join(lines)


def topic_tree(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(help="What the topics are of, in your own words.")],
    model: Annotated[str, typer.Option("--model", help="The registered model that proposes.")],
    to: Annotated[
        Path | None, typer.Option(help="Write the tree to this file, to be edited; default: print it.")
    ] = None,
    first: Annotated[int, typer.Option("--topics", min=1, max=100, help="Most topics of the first level.")] = 8,
    second: Annotated[int, typer.Option("--below", min=0, max=100, help="Most topics below each; 0: none.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Another seed proposes others.")] = 1,
) -> None:
    """Have a model propose a tree of topics to write rows about, as YAML. Edit it, then give it to data synthesise."""
    from llmops_tui.synthesis.propose import PROPOSAL_ENTRY
    from llmops_tui.synthesis.topics import read_topics, topics_text
    from llmops_tui.workspace.files import write_atomic

    session = session_of(context)
    if to is not None and to.exists():
        raise InputRefusedError("file_exists", f"{to} already exists", "Choose another file.")
    arguments = {"model": model, "subject": subject, "first": first, "second": second, "seed": seed}
    made = run_job(session, kind="topics", title=f"topics of {subject[:40]}", entry=PROPOSAL_ENTRY, arguments=arguments)
    text = topics_text(read_topics(made["topics"]), subject)
    if to is None:
        session.emit(made, text.rstrip)
        return
    write_atomic(to, text)
    session.emit(made, lambda: f"{to}: {counted(made['leaves'], 'topic')}; edit it, then data synthesise --topics {to}")


def origins(
    context: typer.Context,
    refs: Annotated[
        list[str] | None, typer.Argument(metavar="[REF…]", help="Versions; default: the newest of each.")
    ] = None,
) -> None:
    """Show which share of a version's rows a model wrote or a rule made."""
    from llmops_tui.datasets.origins import written_of
    from llmops_tui.datasets.store import DatasetStore

    session = session_of(context)
    store = DatasetStore(session.catalog)
    found = [written_of(store, store.get(ref)) for ref in refs] if refs else [written_of(store, v) for v in store.all()]
    rows = [(w.version, w.rows, w.model, w.rule, f"{w.share:.1%}", ", ".join(w.unmarked)) for w in found]
    headers = ("version", "rows", "by a model", "by a rule", "share", "made from, and not marked")
    session.emit({"versions": [w.as_dict() for w in found]}, lambda: session.rows(headers, rows))
