"""``llmops chain``: chains of steps, their versions, labels and files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.archive import AlsoArchived, left
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.cli.prompt import pass_gate, read_given
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.names import as_name

if TYPE_CHECKING:
    from llmops_tui.chains.definition import Problem
    from llmops_tui.chains.store import ChainStore

app = typer.Typer(help="Chains of steps.", no_args_is_help=True, rich_markup_mode=None)

Ref = Annotated[str, typer.Argument(metavar="CHAIN", help="name, name@number or name@label.")]
_Name = Annotated[str, typer.Argument(help="The chain's name.")]
_Limit = Annotated[int, typer.Option(help="Maximum number of rows.", min=1)]
_File = Annotated[Path | None, typer.Option("--file", help="The chain as YAML; - reads stdin.")]
Model = Annotated[str, typer.Option("--model", help="The model for steps that name none, where the chain names none.")]


def store_of(session: Session) -> ChainStore:
    """The chains of a session's workspace."""
    from llmops_tui.chains.store import ChainStore

    return ChainStore(session.catalog)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


@app.command()
def save(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The chain's name; default: that of the file.")] = "",
    file: _File = None,
    message: Annotated[str, typer.Option("--message", "-m", help="A note on the version.")] = "",
) -> None:
    """Save a chain from a file as a new version. What is not a chain is refused, with the line."""
    session = session_of(context)
    text = read_given(file, None, "the chain")
    if not name and (file is None or str(file) == "-"):
        raise LlmopsError("usage", "standard input does not name a chain: give its name", exit_code=ExitCode.USAGE)
    assert file is not None
    version, created = store_of(session).save(name or as_name(file.stem), text, message)
    facts = {"chain": version.name, "version": version.number, "sha256": version.sha256, "created": created}
    session.emit(facts, lambda: f"{version.ref}{'' if created else ' (unchanged)'}  sha256 {version.sha256[:16]}…")


@app.command()
def check(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="CHAIN", help="name, name@number or name@label; or give --file.")] = "",
    file: _File = None,
    model: Model = "",
) -> None:
    """Look for all that is wrong with a chain before it runs, each with its line. Exit 3 if there is anything."""
    from llmops_tui.chains.definition import ChainRefusedError
    from llmops_tui.chains.reading import parse_chain
    from llmops_tui.chains.resolution import problems_in, refuse_unasked
    from llmops_tui.chains.tools import ChainTools

    session = session_of(context)
    if bool(ref) == (file is not None):
        raise LlmopsError("usage", "give a chain, or --file: one of both", exit_code=ExitCode.USAGE)
    try:
        text = store_of(session).get(ref).text if ref else read_given(file, None, "the chain")
    except NotFoundError as error:
        if not Path(ref).is_file():
            raise
        hint = f"It is a file: llmops chain check --file {ref}"
        raise LlmopsError(error.code, error.message, hint, exit_code=error.exit_code) from error
    order: list[list[str]] = []
    problems: list[Problem] = []
    try:
        chain = parse_chain(text)
    except ChainRefusedError as error:
        problems = error.problems
    else:
        with ChainTools(session.catalog) as tools:
            resolved, problems = problems_in(chain, tools, model=model)
        if resolved is not None:
            refuse_unasked(resolved, model)
            order = resolved.orders[chain.body.place]
    data = {
        "chain": ref or str(file),
        "steps": order,
        "problems": [
            {"line": one.line, "place": one.place, "message": one.message, "hint": one.hint} for one in problems
        ],
    }
    lines = [f"{one.told}{f' ({one.hint})' if one.hint else ''}" for one in problems]
    session.emit(
        data, lambda: "\n".join(lines) or f"nothing is wrong; steps: {' → '.join(', '.join(s) for s in order)}"
    )
    if problems:
        raise typer.Exit(ExitCode.REFUSED)


@app.command("list")
def list_(context: typer.Context, limit: _Limit = LIMIT, archived: AlsoArchived = False) -> None:
    """List the chains."""
    session = session_of(context)
    found = left(session, "chain", store_of(session).summaries(), lambda one: one["chain"], also=archived)
    rows = [
        (one["chain"], one["latest"], " ".join(f"{k}@{v}" for k, v in one["labels"].items()), _when(one["changed_at"]))
        for one in found[:limit]
    ]
    data = {"chains": found[:limit], "total": len(found)}
    session.emit(data, lambda: session.rows(("chain", "versions", "labels", "changed"), rows, len(found)))


@app.command()
def log(context: typer.Context, name: _Name, limit: _Limit = LIMIT) -> None:
    """List the versions of a chain, newest first."""
    session = session_of(context)
    found = store_of(session).versions(name)
    rows = [
        (f"@{v.number}", f"@{v.parent}" if v.parent else "", " ".join(v.labels), v.note, _when(v.created_at))
        for v in found[:limit]
    ]
    data = {"versions": [v.as_dict() for v in found[:limit]], "total": len(found)}
    session.emit(data, lambda: session.rows(("version", "parent", "labels", "note", "saved"), rows, len(found)))


@app.command()
def show(
    context: typer.Context,
    ref: Ref,
    graph: Annotated[bool, typer.Option("--graph", help="Draw its steps, and what each needs.")] = False,
) -> None:
    """Show the text of a version, or its steps as a drawing."""
    from llmops_tui.chains.drawing import draw_chain
    from llmops_tui.chains.resolution import resolve
    from llmops_tui.chains.tools import ChainTools

    session = session_of(context)
    version = store_of(session).get(ref)
    data: dict[str, Any] = dict(version.as_dict())
    told = version.text
    if graph:
        with ChainTools(session.catalog) as tools:
            told = "\n".join(line.text for line in draw_chain(resolve(version.chain, tools)))
        data["graph"] = told
    session.emit(data, lambda: told)


@app.command()
def diff(context: typer.Context, before: Ref, after: Ref) -> None:
    """Compare two versions word by word: [-removed-] {+added+}."""
    from llmops_tui.text_diff import diff_words, marked_text

    session = session_of(context)
    store = store_of(session)
    a, b = store.get(before), store.get(after)
    changes = diff_words(a.text, b.text)
    data = {"before": a.ref, "after": b.ref, "text": [{"change": p.change, "text": p.text} for p in changes]}
    session.emit(data, lambda: f"{a.ref} → {b.ref}\n{marked_text(changes)}")


@app.command()
def tag(
    context: typer.Context,
    ref: Ref,
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
    """Point a label at a version: what is served and run by that name is that version from then on. Exit 1 if a gate fails."""
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.prompts.store import ANY

    session = session_of(context)
    store, history = store_of(session), UndoHistory(session.catalog, session.event_log)
    version = store.get(ref)
    if models and suite is None:
        raise InputRefusedError("bad_option", "--model says whose runs count for a gate", "Add --gate SUITE.")
    if remove and suite is not None:
        raise InputRefusedError("bad_option", "--gate is for setting a label, and --remove takes it away")
    if remove:
        store.check_label(version.name, label)
        history.remove_label(version.served_name, label, expected=version.number if "@" in ref else ANY)
        session.emit({"chain": version.name, "removed": label}, lambda: f"{version.name} has no label {label} now")
        return
    if suite is not None:
        pass_gate(session, version.served, label, suite, models or [])
    history.move_label(version.served, label)
    version = store.get(version.ref)
    session.emit(version.as_dict(), lambda: f"{label} → {version.ref}")


@app.command()
def export(
    context: typer.Context,
    ref: Ref,
    to: Annotated[Path | None, typer.Option(help="The file to write; default: stdout.")] = None,
) -> None:
    """Write a version as a file, which llmops chain save reads."""
    from llmops_tui.workspace.files import write_atomic

    session = session_of(context)
    version = store_of(session).get(ref)
    if to is None:
        session.emit(version.as_dict(), lambda: version.text)
        return
    write_atomic(to.resolve(), version.text, mode=0o644)
    session.emit({"file": str(to), "chain": version.ref}, lambda: f"{version.ref} written to {to}")


@app.command()
def copy(
    context: typer.Context,
    ref: Ref,
    name: Annotated[str, typer.Argument(help="The name of the new chain.")],
) -> None:
    """Make a new chain that begins with a version of another one."""
    session = session_of(context)
    store = store_of(session)
    version = store.get(ref)
    if any(one["chain"] == name for one in store.summaries()):
        raise LlmopsError("name_taken", f"there is a chain {name!r} already", "Choose another name.", ExitCode.REFUSED)
    made, _ = store.save(name, version.text, f"copied from {version.ref}")
    session.emit(made.as_dict(), lambda: f"{made.ref} is {version.ref}")


@app.command()
def remove(
    context: typer.Context,
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete; without it, only a preview is shown.")] = False,
) -> None:
    """Delete a chain with all its versions and labels. Its runs stay; llmops job remove deletes them."""
    from llmops_tui.maintenance.archiving import Archivable, forget_archived

    session = session_of(context)
    store = store_of(session)
    going = store.remove(name) if yes else store.versions(name)
    if yes:
        forget_archived(session.workspace, Archivable.CHAIN, name)
    labels = [label for one in going for label in one.labels]
    verb = "deleted" if yes else "would be deleted"
    told = [f"{verb}: {one.ref}{f', {one.note}' if one.note else ''}" for one in going]
    told += [f"with its labels {', '.join(labels)}"] if labels else []
    data = {"chain": name, "versions": [one.ref for one in going], "labels": labels, "done": yes}
    session.emit(data, lambda: "\n".join([*told, *([] if yes else ["--yes deletes them"])]))
