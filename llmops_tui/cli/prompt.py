"""``llmops prompt``: save, list, compare, label and run prompts."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.archive import AlsoArchived, left
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.cli.tool_calls import ApproveTools, MockTools, Servers, ToolChoice, offering
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError
from llmops_tui.foreign_text import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from llmops_tui.cli.tool_calls import Offer
    from llmops_tui.inference.asked_prompt import Askable
    from llmops_tui.inference.template_renderer import TemplateRenderer
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.records import Answered, CallRecord
    from llmops_tui.prompts.runs import PromptRunner, RunRequest

app = typer.Typer(help="Prompts and their versions.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(help="The prompt's name.")]
_Ref = Annotated[str, typer.Argument(help="name, name@number or name@label.")]
_Limit = Annotated[int, typer.Option(help="Maximum number of rows.", min=1)]


def read_given(file: Path | None, text: str | None, what: str) -> str:
    """What is given as a file, - for standard input, or as a text; one of both."""
    if (file is None) == (text is None):
        raise LlmopsError("usage", f"give {what} with either --file or --text", exit_code=ExitCode.USAGE)
    if text is not None:
        return text
    assert file is not None
    # Editors of Windows put a mark of the byte order first, which is no text.
    if str(file) == "-":
        return sys.stdin.read().removeprefix("\ufeff")
    try:
        return text_of(file).removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("file_unreadable", f"cannot read {file}: {error}") from error


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


@app.command("list")
def list_(context: typer.Context, limit: _Limit = LIMIT, archived: AlsoArchived = False) -> None:
    """List the prompts."""
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    found = left(session, "prompt", PromptStore(session.catalog).summaries(), lambda p: p.name, also=archived)
    rows = [
        (p.name, p.latest, " ".join(f"{k}@{v}" for k, v in p.labels.items()), _when(p.changed_at))
        for p in found[:limit]
    ]
    data = {"prompts": [p.as_dict() for p in found[:limit]], "total": len(found)}
    session.emit(data, lambda: session.rows(("prompt", "latest", "labels", "changed"), rows, len(found)))


@app.command()
def show(context: typer.Context, ref: _Ref) -> None:
    """Show one version."""
    from llmops_tui.prompts.partial_versions import held_partials
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    store = PromptStore(session.catalog)
    version = store.get(ref)
    held = held_partials(store, version.system, version.template)
    head = f"{version.ref}  {' '.join(version.labels)}  {version.note}".rstrip()
    shown = f"{head}\n── system ──\n{version.system}\n── user ──\n{version.template}"
    if version.unreadable:
        shown += f"\n── settings ──\n{version.unreadable}"
    elif version.settings is not None:
        shown += f"\n── settings ──\n{version.settings.as_yaml()}"
    if held:
        shown += "\n── partials ──\n" + "\n".join(one.told for one in held)
    told = {"partials": [one.as_dict() for one in held]} if held else {}
    session.emit({**version.as_dict(), **told}, lambda: shown)


@app.command()
def log(context: typer.Context, name: _Name, limit: _Limit = LIMIT) -> None:
    """List the versions of a prompt, newest first."""
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    found = PromptStore(session.catalog).versions(name)
    rows: list[tuple[str, ...]] = [
        (f"@{v.number}", f"@{v.parent}" if v.parent else "", " ".join(v.labels), v.note, _when(v.created_at))
        for v in found[:limit]
    ]
    head: tuple[str, ...] = ("version", "parent", "labels", "note", "saved")
    if any(v.settings_text for v in found[:limit]):
        head = (*head, "holds")
        rows = [(*row, v.holds) for row, v in zip(rows, found, strict=False)]
    data = {"versions": [v.as_dict() for v in found[:limit]], "total": len(found)}
    session.emit(data, lambda: session.rows(head, rows, len(found)))


@app.command()
def search(context: typer.Context, text: Annotated[str, typer.Argument()], limit: _Limit = LIMIT) -> None:
    """Search versions by name, note and text."""
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    found = PromptStore(session.catalog).search(text)
    rows = [(v.ref, " ".join(v.labels), v.note, v.template) for v in found[:limit]]
    data = {"versions": [v.as_dict() for v in found[:limit]], "total": len(found)}
    session.emit(data, lambda: session.rows(("version", "labels", "note", "template"), rows, len(found)))


@app.command()
def diff(context: typer.Context, before: _Ref, after: _Ref) -> None:
    """Compare two versions word by word: [-removed-] {+added+}."""
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.text_diff import diff_words, marked_text

    session = session_of(context)
    store = PromptStore(session.catalog)
    a, b = store.get(before), store.get(after)
    parts = {"system": diff_words(a.system, b.system), "template": diff_words(a.template, b.template)}
    if a.settings_text or b.settings_text:
        held = [one.settings.as_yaml() if one.settings is not None else "" for one in (a, b)]
        parts["settings"] = diff_words(*held)

    def human() -> str:
        blocks = [f"── {name} ──\n{marked_text(changes)}" for name, changes in parts.items()]
        return "\n".join([f"{a.ref} → {b.ref}", *blocks])

    data: dict[str, Any] = {"before": a.ref, "after": b.ref}
    data |= {name: [{"change": p.change, "text": p.text} for p in changes] for name, changes in parts.items()}
    session.emit(data, human)


@app.command()
def tag(
    context: typer.Context,
    ref: _Ref,
    label: Annotated[str, typer.Argument(help="The label, such as production.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the label.")] = False,
    suite: Annotated[
        str | None, typer.Option("--gate", metavar="SUITE", help="Only if the gate of this suite passes.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="With --gate: the model whose runs count; repeatable. Default: those of the suite."
        ),
    ] = None,
) -> None:
    """Point a label at a version, to deploy it or roll back. Exit 1 if a gate fails."""
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.prompts.store import ANY, PromptStore

    session = session_of(context)
    store, history = PromptStore(session.catalog), UndoHistory(session.catalog, session.event_log)
    version = store.get(ref)
    if models and suite is None:
        raise InputRefusedError("bad_option", "--model says whose runs count for a gate", "Add --gate SUITE.")
    if remove and suite is not None:
        raise InputRefusedError("bad_option", "--gate is for setting a label, and --remove takes it away")
    if remove:
        history.remove_label(version.prompt, label, expected=version.number if "@" in ref else ANY)
        version = store.get(version.ref)
    else:
        if suite is not None:
            pass_gate(session, ref, label, suite, models or [])
        version = history.move_label(ref, label)
    session.emit(version.as_dict(), lambda: f"{version.ref}: {' '.join(version.labels) or 'no labels'}")


def pass_gate(session: Session, ref: str, label: str, suite: str, models: list[str]) -> None:
    """Stop where the rules of a suite say no to moving a label to a version of a prompt, or of ``chain/NAME``.

    Raises:
        LlmopsError: ``gate_closed``.
    """
    from llmops_tui.evaluation.gates import passes
    from llmops_tui.evaluation.promotion import promotion
    from llmops_tui.evaluation.store import EvaluationStore

    rulings = promotion(EvaluationStore(session.workspace), ref, label, suite, models)
    for ruling in rulings:
        session.say(f"{ruling.outcome:7}{ruling.rule}: {ruling.why}")
    if not passes(rulings):
        failed = "; ".join(r.why for r in rulings if r.outcome == "fail")
        raise LlmopsError(
            "gate_closed", f"{label} stays where it is: {failed}", f"llmops eval show has the details of {suite}."
        )


@app.command()
def runs(context: typer.Context, ref: _Ref, limit: _Limit = LIMIT) -> None:
    """List the runs of a prompt or of one version."""
    from llmops_tui.prompts.run_history import RunHistory
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    version = PromptStore(session.catalog).get(ref)
    number = version.number if "@" in ref else None
    found = RunHistory(session.catalog, session.event_log).of(version.prompt, number, limit)
    rows = [(r.id, f"@{r.version}", r.model, r.finish_reason, r.completion_tokens, r.output) for r in found]
    session.emit(
        {"runs": [r.as_dict() for r in found]},
        lambda: session.rows(("run", "version", "model", "finish", "tokens", "output"), rows),
    )


@app.command()
def run(
    context: typer.Context,
    ref: _Ref,
    model: Annotated[str | None, typer.Option("--model", help="A registered model; default: the version's.")] = None,
    var: Annotated[list[str] | None, typer.Option("--var", help="A variable, as name=value.")] = None,
    temperature: Annotated[float | None, typer.Option()] = None,
    top_p: Annotated[float | None, typer.Option()] = None,
    top_k: Annotated[int | None, typer.Option()] = None,
    min_p: Annotated[float | None, typer.Option()] = None,
    repeat_penalty: Annotated[float | None, typer.Option()] = None,
    max_tokens: Annotated[int | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text; repeatable.")] = None,
    thinking: Annotated[
        bool | None, typer.Option("--thinking/--no-thinking", help="Think first or not; default: as the template does.")
    ] = None,
    thinking_budget: Annotated[int | None, typer.Option(help="End the thinking after this many tokens.")] = None,
    mcp: Servers = None,
    tools: MockTools = None,
    approve_tools: ApproveTools = False,
    tool_choice: ToolChoice = "",
) -> None:
    """Run a version on a model; the answer streams to stdout. What is given here counts before what the version holds."""
    import asyncio

    from llmops_tui.cli.generate import parameters_from
    from llmops_tui.cli.serve import opener
    from llmops_tui.inference.asked_prompt import model_of
    from llmops_tui.inference.template_renderer import TemplateRenderer
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.prompts.runs import PromptRunner, RunRequest
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.retrieval.in_prompts import PromptRetrieval

    session = session_of(context)
    parameters = parameters_from(
        {
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "min_p": min_p,
            "seed": seed,
            "repeat_penalty": repeat_penalty,
            "max_tokens": max_tokens,
            "stop": tuple(stop) if stop else None,
            "enable_thinking": thinking,
            "thinking_budget": thinking_budget,
        }
    )
    catalog, event_log = session.catalog, session.event_log
    version = PromptStore(catalog).get(ref)
    request = RunRequest(
        version.prompt,
        version.system,
        version.template,
        read_variables(var or []),
        parameters,
        settings=version.settings,
    )
    chosen = ModelRegistry(catalog).writing(model_of(version.settings, model, version.ref))
    renderer = TemplateRenderer(retrieve=PromptRetrieval(catalog))
    try:
        refuse_unknown(request.variables, [request], version.ref, renderer)
        runner = PromptRunner(catalog, event_log, renderer, opener(session))
        offer = offering(session, mcp or [], approve=approve_tools, first=tool_choice, mock=tools)
        data = asyncio.run(_run(session, runner, request, chosen, offer))
    finally:
        renderer.close()
    if session.options.json:
        session.emit_line(data)
    else:
        session.stream("\n")
    session.say(f"{version.ref} on {chosen.name}: {figures_told(data)}")


def figures_told(data: Answered) -> str:
    """The figures of an answer in one line; those that it has not, such as the first token of none, are left out."""
    made, timing = data["usage"]["completion_tokens"], data["timing"]
    parts = ["no token count" if made is None else counted(made, "token")]
    parts += [f"first after {timing['ttft_ms']:.0f} ms"] if timing["ttft_ms"] is not None else []
    parts += [f"{timing['tokens_per_s']:.0f} tokens/s"] if timing["tokens_per_s"] else []
    return ", ".join([*parts, data["finish_reason"]])


async def _run(session: Session, runner: PromptRunner, request: RunRequest, model: Model, offer: Offer) -> Answered:
    from llmops_tui.cli.generate import figures_of, warnings_said
    from llmops_tui.cli.tool_calls import called, uncalled

    text: list[str] = []
    thoughts: list[str] = []
    calls: list[CallRecord] = []
    run_id, end = "", None
    async with offer as tools:
        async for step in runner.run(request, model, tools):
            run_id = step.run_id
            if step.stage == "text":
                text.append(step.text)
                if not session.options.json:
                    session.stream(step.text)
            elif step.stage == "thinking":
                thoughts.append(step.text)
            elif step.call is not None:
                calls += called(session, step.call)
            elif step.stage == "finished":
                end = step.end
    assert end is not None
    tokens, times = figures_of(end.timings)
    answered: Answered = {
        "run": run_id,
        "text": "".join(text),
        "thinking": "".join(thoughts),
        "finish_reason": end.finish_reason,
        "usage": tokens,
        "timing": times,
        **warnings_said(session, end),
    }
    if tools is None and end.calls:
        # Of a tool that the version holds, and nobody here can call.
        calls += uncalled(session, end.calls)
    return answered if tools is None and not calls else {**answered, "calls": calls}


def read_variables(given: list[str]) -> dict[str, str]:
    """Variables from ``name=value``.

    Raises:
        LlmopsError: ``usage``.
    """
    pairs = [item.partition("=") for item in given]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise LlmopsError("usage", f"--var {name!r} is not of the form name=value", exit_code=ExitCode.USAGE)
    return {name: value for name, _, value in pairs}


def refuse_unknown(given: Collection[str], prompts: Iterable[Askable], what: str, renderer: TemplateRenderer) -> None:
    """Refuse a variable that is in no text of any of the prompts; ``what`` names them.

    Raises:
        InputRefusedError: ``variable_unknown``. ``template_failed``.
    """
    if not given:
        return
    texts = (text for one in prompts for text in (one.system, one.template) if text.strip())
    known = list(dict.fromkeys(name for text in texts for name in renderer.variables(text)))
    if unknown := next((name for name in given if name not in known), ""):
        told = f"--var {unknown}: {what} has no variable of this name"
        raise InputRefusedError("variable_unknown", told, f"It has: {', '.join(known)}." if known else "It has none.")
