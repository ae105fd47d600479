"""``llmops data``: the operations; each makes a new version and changes none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from llmops_tui.cli.data_meaning import propose_labels
from llmops_tui.cli.output import Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError
from llmops_tui.user_files import with_home

_Ref = Annotated[str, typer.Argument(help="name, name@number or name@tag.")]
_To = Annotated[
    str | None, typer.Option("--name", help="Write the new version to this dataset; default: the input's dataset.")
]
_Seed = Annotated[int, typer.Option(help="The same seed gives the same rows.")]
_Key = Annotated[Path, typer.Option(help="The key file; keep it separate from the data.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (dedup, redact, sample, split, sort, select, concat, mix, fix, pseudonymise, reveal, label):
        app.command()(command)
    app.command("filter")(filter_)
    app.command("map")(map_)
    app.command("edit")(edit)


def _make(session: Session, operation: str, refs: list[str], parameters: dict[str, Any], name: str | None) -> None:
    from llmops_tui.datasets.operations.base import apply
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.maintenance.undo import UndoHistory

    version = apply(
        DatasetStore(session.catalog),
        operation,
        refs,
        {k: v for k, v in parameters.items() if v is not None},
        name=name,
        report=_report(session, f"{operation} {refs[0]}"),
    )
    UndoHistory(session.catalog, session.event_log).note_rows(version)
    session.emit(version.as_dict(), lambda: f"{version.ref}: {counted(version.rows, 'row')}, {version.note}")


def _report(session: Session, what: str) -> Callable[[float, str], None]:
    show = session.progress(what)
    return lambda share, _: show(share) if show else None


def dedup(
    context: typer.Context,
    ref: _Ref,
    same: Annotated[
        str | None,
        typer.Option(
            help="What makes two rows duplicates: content (all but ids; default), row (all columns), or text (without case)."
        ),
    ] = None,
    near: Annotated[bool, typer.Option("--near", help="Also remove near-duplicates.")] = False,
    meaning: Annotated[
        bool, typer.Option("--meaning", help="Remove rows that say the same in other words; the version is embedded.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1.0,
            help="With --near: the Jaccard similarity of their five-word sequences, 0.8; with --meaning: the cosine, 0.95.",
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="With --meaning: of each group, the first row (default) or the longest.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="Remove the rows that are also in this dataset.")] = None,
    name: _To = None,
) -> None:
    """Remove duplicates and keep the first of each."""
    if meaning and (near or against):
        raise LlmopsError("usage", "--meaning goes without --near and --against", exit_code=ExitCode.USAGE)
    idle = {
        "--same goes without --meaning and --against": same is not None and (meaning or bool(against)),
        "--keep goes with --meaning": keep is not None and not meaning,
        "--threshold goes with --near, --meaning or --against": threshold is not None
        and not (near or meaning or against),
    }
    for told in (told for told, given in idle.items() if given):
        raise LlmopsError("usage", told, exit_code=ExitCode.USAGE)
    refs = [ref, against] if against else [ref]
    parameters: dict[str, object] = {"threshold": threshold or 0.8}
    if meaning:
        parameters = {"method": "meaning", "threshold": threshold, "keep": keep or "first"}
    elif not against:
        parameters |= {"method": "near" if near else "exact", "same": same or "content"}
    _make(session_of(context), "dedup", refs, parameters, name)


def redact(
    context: typer.Context,
    ref: _Ref,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind, such as email; repeatable.")] = None,
    name: _To = None,
) -> None:
    """Replace personal data by placeholders such as [EMAIL]."""
    _make(session_of(context), "redact", [ref], {"kinds": kind}, name)


def pseudonymise(
    context: typer.Context,
    ref: _Ref,
    key: _Key,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; repeatable.")] = None,
    name: _To = None,
) -> None:
    """Replace personal data by pseudonyms: the same value gets the same one, and the key reverses them."""
    session = session_of(context)
    _check_key(session, key)
    if not with_home(key).exists():
        session.say(f"a new key is written to {key}; without it, the pseudonyms cannot be reversed")
    _make(session, "pseudonymise", [ref], {"key": str(with_home(key).resolve()), "kinds": kind}, name)


def reveal(context: typer.Context, ref: _Ref, key: _Key, name: _To = None) -> None:
    """Reverse pseudonyms with the key that made them."""
    _make(session_of(context), "reveal", [ref], {"key": str(with_home(key).resolve())}, name)


def _check_key(session: Session, key: Path) -> None:
    if session.workspace.root in with_home(key).resolve().parents:
        raise InputRefusedError(
            "key_in_workspace", f"{key} is inside the workspace", "Keep the key separate from the data."
        )


def filter_(
    context: typer.Context, ref: _Ref, where: Annotated[str, typer.Option(help="An SQL expression.")], name: _To = None
) -> None:
    """Keep the rows for which an SQL expression holds."""
    _make(session_of(context), "filter", [ref], {"where": where}, name)


def sample(
    context: typer.Context,
    ref: _Ref,
    rows: Annotated[int | None, typer.Option("--rows", "-n", min=1, help="Number of rows.")] = None,
    share: Annotated[float | None, typer.Option(min=0, max=1, help="Share of the rows, between 0 and 1.")] = None,
    seed: _Seed = 0,
    name: _To = None,
) -> None:
    """Sample rows at random, by seed."""
    if (rows is None) == (share is None):
        raise LlmopsError("usage", "give either --rows or --share", exit_code=ExitCode.USAGE)
    _make(session_of(context), "sample", [ref], {"rows": rows, "share": share, "seed": seed}, name)


def sort(
    context: typer.Context,
    ref: _Ref,
    by: Annotated[str, typer.Option(help="An SQL expression.")],
    descending: Annotated[bool, typer.Option("--descending")] = False,
    name: _To = None,
) -> None:
    """Sort the rows."""
    _make(session_of(context), "sort", [ref], {"by": by, "descending": descending}, name)


def select(
    context: typer.Context,
    ref: _Ref,
    column: Annotated[list[str], typer.Option(help="A column to keep, or OLD=NEW to rename it; repeatable.")],
    name: _To = None,
) -> None:
    """Select and rename columns."""
    pairs = [c.partition("=") for c in column]
    parameters = {"columns": [old for old, _, _ in pairs], "names": {old: new for old, _, new in pairs if new}}
    _make(session_of(context), "select", [ref], parameters, name)


def map_(
    context: typer.Context,
    ref: _Ref,
    column: Annotated[str, typer.Option(help="The column to set, new or old.")],
    to: Annotated[str, typer.Option(help="An SQL expression over the row.")],
    name: _To = None,
) -> None:
    """Set a column to the value of an SQL expression."""
    _make(session_of(context), "map", [ref], {"column": column, "expression": to}, name)


def concat(context: typer.Context, refs: Annotated[list[str], typer.Argument()], name: _To = None) -> None:
    """Concatenate datasets."""
    _make(session_of(context), "concat", refs, {}, name)


def mix(
    context: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="NAME=WEIGHT, such as chat=3 code=1.")],
    rows: Annotated[
        int | None, typer.Option(min=1, help="Number of rows; default: as many as possible without repeating a row.")
    ] = None,
    seed: _Seed = 0,
    name: _To = None,
) -> None:
    """Mix datasets by weight."""
    pairs = [r.partition("=") for r in refs]
    weights = [_weight(ref, given) for ref, _, given in pairs]
    _make(session_of(context), "mix", [r for r, _, _ in pairs], {"weights": weights, "rows": rows, "seed": seed}, name)


def _weight(ref: str, given: str) -> float:
    try:
        return float(given or 1)
    except ValueError:
        told = f"the weight of {ref} is not a number: {given!r}"
        raise LlmopsError("usage", told, f"Write it so: {ref}=2.", exit_code=ExitCode.USAGE) from None


def fix(
    context: typer.Context,
    ref: _Ref,
    check: Annotated[
        str, typer.Argument(help="The id of the problem, as llmops data check prints it, such as duplicate.")
    ],
    label_column: Annotated[str | None, typer.Option("--label", help="The column of labels.")] = None,
    name: _To = None,
) -> None:
    """Fix all rows that a check finds."""
    _make(session_of(context), "fix", [ref], {"check": check, "label": label_column}, name)


def edit(
    context: typer.Context,
    ref: _Ref,
    row: Annotated[int, typer.Option(min=0, help="The row number.")],
    to: Annotated[str | None, typer.Option(help="The row as JSON; without it the row is deleted.")] = None,
    name: _To = None,
) -> None:
    """Edit or delete one row."""
    try:
        value = None if to is None else json.loads(to)
    except ValueError as error:
        raise LlmopsError("usage", f"--to is not valid JSON: {error}", exit_code=ExitCode.USAGE) from error
    if value is not None and not isinstance(value, dict):
        raise LlmopsError("usage", "--to is not a JSON object", exit_code=ExitCode.USAGE)
    _make(session_of(context), "edit", [ref], {"edits": {str(row): value}}, name)


def split(
    context: typer.Context,
    ref: _Ref,
    into: Annotated[list[str], typer.Option(help="PART=SHARE, such as train=0.9; one for each part.")],
    stratify: Annotated[
        str | None, typer.Option(help="A column whose values have the same proportions in every part.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="A column; rows with the same value stay in one part.")] = None,
    near: Annotated[bool, typer.Option("--near", help="Keep near-duplicates in one part, too.")] = False,
    synthetic: Annotated[
        str | None,
        typer.Option(
            help="The part for rows that a model or a rule made, and what they were made of; spread: any part."
        ),
    ] = None,
    seed: _Seed = 0,
) -> None:
    """Split into datasets named NAME-PART. Rows with the same question stay in one part."""
    from llmops_tui.datasets.operations.splits import split_into
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    try:
        parts = {part: float(share) for part, _, share in (item.partition("=") for item in into)}
    except ValueError as error:
        raise LlmopsError("usage", f"a share is not a number: {error}", exit_code=ExitCode.USAGE) from error
    if len(parts) < len(into):
        raise LlmopsError("usage", "a part is given twice", exit_code=ExitCode.USAGE)
    made = split_into(
        DatasetStore(session.catalog),
        ref,
        parts,
        _report(session, f"split {ref}"),
        stratify=stratify,
        group=group,
        near=near or None,
        synthetic=synthetic,
        seed=seed,
    )
    UndoHistory(session.catalog, session.event_log).note_rows(*made)
    session.emit(
        {"parts": [v.as_dict() for v in made]}, lambda: "\n".join(f"{v.ref}: {counted(v.rows, 'row')}" for v in made)
    )


def label(
    context: typer.Context,
    ref: _Ref,
    task: Annotated[str, typer.Option(help="The task; it becomes the name of the column with the labels.")] = "label",
    kind: Annotated[str, typer.Option(help="classify, review or prefer.")] = "classify",
    labels: Annotated[str, typer.Option(help="For classify: the labels, separated by commas.")] = "",
    annotator: Annotated[str, typer.Option(help="The name of the annotator.")] = "",
    row: Annotated[int | None, typer.Option(min=0, help="The row to label.")] = None,
    value: Annotated[str | None, typer.Option(help="The label or verdict.")] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Make a new version from the annotations.")] = False,
    propose: Annotated[
        int,
        typer.Option(
            min=0, max=20, help="Print so many rows to label next, each with a proposal; the version is embedded."
        ),
    ] = 0,
) -> None:
    """Label a row, make a version of the labels, or print annotator agreement. The app labels with one key per row."""
    import getpass

    from llmops_tui.datasets.labelling import Labelling, Task
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    if kind not in {"classify", "review", "prefer"}:
        raise LlmopsError("usage", f"--kind {kind}: classify, review or prefer", exit_code=ExitCode.USAGE)
    store = DatasetStore(session.catalog)
    asked = Task.make(task, kind, tuple(labels.split(",")))  # type: ignore[arg-type]  # looked at above
    work = Labelling(store, store.get(ref), asked, annotator or getpass.getuser())
    if finish:
        version = work.finish()
        UndoHistory(session.catalog, session.event_log).note_rows(version)
        session.emit(version.as_dict(), lambda: f"{version.ref}: {counted(version.rows, 'row')}, {version.note}")
        return
    if row is not None and value is not None:
        work.say(row, value)
    if propose:
        propose_labels(session, work, propose)
        return
    done, total = work.progress
    facts = {"done": done, "of": total, "agreement": work.agreement()}
    alpha = facts["agreement"]["krippendorff_alpha"]  # type: ignore[index]
    shown = f"{alpha:.2f}" if alpha is not None else "not available: no row was labelled by two annotators"
    session.emit(
        facts, lambda: f"{done:,} of {counted(total, 'row')} by {work.annotator}; Krippendorff's alpha {shown}"
    )
