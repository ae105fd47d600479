"""``llmops chain run``, ``again``, ``runs`` and ``steps``: runs of chains, and what each step of one did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.chain import Model, Ref
from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.cli.prompt import read_given
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.chains.records import RanRecord, RunAsked, SpanRecord
    from llmops_tui.chains.resolution import Resolved
    from llmops_tui.chains.tools import ChainTools

_Inputs = Annotated[list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input; repeatable.")]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Ask the model again for what was answered before.")]
_Plan = Annotated[bool, typer.Option("--plan", help="Only tell what it would ask for.")]
_Detach = Annotated[bool, typer.Option("--detach", help="Run the job in the background.")]
_RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or a prefix of it; last: the newest.")]
_SHORT = 100


def _pairs(given: Sequence[str] | None, what: str) -> dict[str, str]:
    found = {}
    for one in given or ():
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise LlmopsError("usage", f"{what} takes NAME=VALUE, not {one[:60]!r}", exit_code=ExitCode.USAGE)
        found[name] = value
    return found


def run(
    context: typer.Context,
    ref: Ref,
    inputs: _Inputs = None,
    model: Model = "",
    dataset: Annotated[str, typer.Option("--dataset", help="Run it for each row of a dataset (name, name@3).")] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="INPUT=COLUMN",
            help="With --dataset: the column of an input, or an expression over columns; default: that of its name.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="With --dataset: only the first rows.")] = None,
    fresh: _Fresh = False,
    plan: _Plan = False,
    detach: _Detach = False,
) -> None:
    """Run a chain as a job, once or for each row of a dataset. Killed, llmops job resume goes on with it."""
    from llmops_tui.chains.resolution import refuse_unasked
    from llmops_tui.chains.runs import RunOptions, prepare_run, read_input
    from llmops_tui.chains.store import ChainStore
    from llmops_tui.chains.tools import ChainTools

    session = session_of(context)
    chain = ChainStore(session.catalog).get(ref).chain
    given = {name: read_input(chain, name, text) for name, text in _pairs(inputs, "--input").items()}
    options = RunOptions(model, dataset, _pairs(columns, "--column"), limit, fresh)
    with ChainTools(session.catalog) as tools:
        asked, resolved = prepare_run(tools, ref, given, options)
        refuse_unasked(resolved, model)
        _start(session, tools, asked, resolved, plan=plan, detach=detach)


def again(
    context: typer.Context,
    run_id: _RunId,
    step: Annotated[str, typer.Option("--from", metavar="STEP", help="The first step that is done again.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STEP.FIELD=VALUE",
            help="Another field of a step, such as label.parameters.seed=2; repeatable.",
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Another text of the chain; - reads stdin.")] = None,
    version: Annotated[str, typer.Option("--chain", metavar="CHAIN", help="Another version of the chain.")] = "",
    fresh: _Fresh = False,
    plan: _Plan = False,
    detach: _Detach = False,
) -> None:
    """Run a chain again from one of its steps on, with an edit; what comes before is as it was in that run."""
    from llmops_tui.chains.runs import RunOptions, edited, get_run, prepare_run
    from llmops_tui.chains.store import ChainStore
    from llmops_tui.chains.tools import ChainTools
    from llmops_tui.jobs.store import JobStore

    session = session_of(context)
    before = get_run(JobStore(session.event_log), _newest(session, run_id))
    if sum((bool(changes), file is not None, bool(version))) > 1:
        raise LlmopsError("usage", "give one of --set, --file and --chain", exit_code=ExitCode.USAGE)
    old = before.asked
    text: str | None = old["text"]
    ref = old["chain"]
    if changes:
        text = edited(old["text"], changes)
    elif file is not None:
        text = read_given(file, None, "the chain")
    elif version:
        ref, text = version, None
        ChainStore(session.catalog).get(ref)
    options = RunOptions(old["model"], old["dataset"], old["columns"], old["limit"], fresh)
    with ChainTools(session.catalog) as tools:
        asked, resolved = prepare_run(tools, ref, old["inputs"], options, text=text, before=before, step=step)
        if text == old["text"]:
            asked["version"] = old["version"]
        _start(session, tools, asked, resolved, plan=plan, detach=detach)


def _start(
    session: Session, tools: ChainTools, asked: RunAsked, resolved: Resolved, *, plan: bool, detach: bool
) -> None:
    from llmops_tui.chains.costs import cost_of, cost_text
    from llmops_tui.chains.runs import ENTRY, KIND
    from llmops_tui.jobs.store import JobStore

    cost = cost_of(asked, resolved, tools, JobStore(session.event_log))
    if plan:
        session.emit(cost, lambda: cost_text(cost))
        return
    session.say(cost_text(cost))
    tools.close()
    title = f"chain {asked['chain']}"
    ran = run_job(session, kind=KIND, title=title, entry=ENTRY, arguments={"asked": asked}, detach=detach)
    if ran is None:
        return
    session.emit(ran, lambda: _ran_text(ran))
    if ran["all_failed"]:
        raise LlmopsError(
            "all_failed",
            f"every row of {ran['all_failed']} failed",
            "llmops chain steps last --failed says why, for each.",
        )


def _ran_text(ran: RanRecord) -> str:
    told = f"{counted(ran['requests'], 'request')}, {ran['cached']:,} of them known; {ran['tokens']:,} tokens"
    if ran["failed"]:
        told += f"; {counted(ran['failed'], 'row')} failed (llmops chain steps last --failed)"
    if ran["rows"] > 1 or ran["output"] is None:
        return f"{ran['rows']:,} rows; {told}"
    output = ran["output"]
    return f"{output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2)}\n({told})"


def _newest(session: Session, given: str) -> str:
    from llmops_tui.chains.runs import all_runs
    from llmops_tui.jobs.store import JobStore

    if given != "last":
        return given
    found = all_runs(JobStore(session.event_log))
    if not found:
        raise LlmopsError(
            "chain run_not_found", "no chain was run yet", "llmops chain run NAME runs one.", ExitCode.REFUSED
        )
    return found[0].id


def runs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Of this chain alone.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = LIMIT,
) -> None:
    """List the runs of chains, the newest first."""
    from llmops_tui.chains.runs import all_runs
    from llmops_tui.jobs.store import JobStore

    session = session_of(context)
    found = all_runs(JobStore(session.event_log), name)
    rows = [
        (
            one.id,
            one.ref,
            one.job.state.value,
            one.asked["dataset"] or safe_line(json.dumps(one.asked["inputs"], ensure_ascii=False))[:_SHORT],
            one.job.cause or one.job.message,
        )
        for one in found[:limit]
    ]
    data = {"runs": [one.as_dict() for one in found[:limit]], "total": len(found)}
    session.emit(data, lambda: session.rows(("run", "chain", "state", "of", "note"), rows, len(found)))


def steps(
    context: typer.Context,
    run_id: _RunId,
    path: Annotated[
        str, typer.Argument(help="One step by its place, such as each[3]/label, with all of its input and output.")
    ] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only steps that failed.")] = False,
    limit: Annotated[int, typer.Option(min=1)] = LIMIT,
) -> None:
    """Show the steps of a run: input, output, time, tokens, and why each stopped or failed."""
    from llmops_tui.chains.runs import get_run
    from llmops_tui.jobs.store import JobStore

    session = session_of(context)
    found = get_run(JobStore(session.event_log), _newest(session, run_id))
    spans = [one for one in found.spans() if (not failed or one["state"] == "failed") and path in {"", one["path"]}]
    if path and not spans:
        raise LlmopsError(
            "step_not_found",
            f"{found.id} has no step at {path!r}",
            f"llmops chain steps {found.id} lists them.",
            ExitCode.REFUSED,
        )
    data = {"run": found.as_dict(), "steps": spans[:limit], "total": len(spans)}
    if path:
        session.emit(data, lambda: _span_text(spans[0]))
        return
    rows = [_row(one) for one in spans[:limit]]
    headers = ("step", "kind", "s", "tokens", "stopped", "output")
    session.emit(data, lambda: session.rows(headers, rows, len(spans)))


def _row(span: SpanRecord) -> tuple[Any, ...]:
    tokens = (span["prompt_tokens"] or 0) + (span["completion_tokens"] or 0)
    stopped = "failed" if span["state"] == "failed" else f"{span['stopped']}{' (known)' if span['cached'] else ''}"
    told = span["error"] or ("" if span["output"] is None else _short(span["output"]))
    if span["rows"] is not None:
        what = "round" if span["kind"] == "repeat" else "row"
        told = counted(span["rows"], what) + (f", {span['failed']:,} failed" if span["failed"] else "")
    return span["path"], span["kind"], round(span["seconds"], 3), tokens or None, stopped, told


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"


def _span_text(span: SpanRecord) -> str:
    def told(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)

    lines = [
        f"{name:10} {value}"
        for name, value in span.items()
        if name not in {"input", "output"} and value not in (None, "")
    ]
    return "\n".join([*lines, "── input ──", told(span["input"]), "── output ──", told(span["output"])])
