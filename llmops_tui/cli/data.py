"""``llmops data``: import, list, show, compare and export datasets."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli import data_change, data_inspect, data_meaning, data_synthesis
from llmops_tui.cli.archive import AlsoArchived, left
from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.datasets.import_preview import Preview
    from llmops_tui.datasets.records import Row
    from llmops_tui.datasets.reports import ImportedRecord
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.datasets.version import DatasetVersion

app = typer.Typer(help="Datasets and their versions.", no_args_is_help=True, rich_markup_mode=None)
for more in (data_inspect, data_change, data_meaning, data_synthesis):
    more.add_to(app)

_Name = Annotated[str, typer.Argument(help="The dataset's name.")]
_Ref = Annotated[str, typer.Argument(help="name, name@number or name@tag.")]
_Limit = Annotated[int, typer.Option(help="Maximum number of rows.", min=1)]


def store_of(session: Session) -> DatasetStore:
    """The workspace's datasets."""
    from llmops_tui.datasets.store import DatasetStore

    return DatasetStore(session.catalog)


@app.command("import")
def import_(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(help="Files, folders, archives, or patterns such as 'parts/*.jsonl'; - is standard input."),
    ],
    name: Annotated[str | None, typer.Option(help="The dataset's name; default: the name of the first file.")] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="auto, or a format such as messages, alpaca, preference or tabular; a wrong name lists all.",
        ),
    ] = "auto",
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="For tables: ROLE=COLUMN, such as user=question; repeatable.")
    ] = None,
    table: Annotated[
        str, typer.Option(help="The table of a SQLite file, the sheet of a workbook, or the file in an archive.")
    ] = "",
    unit: Annotated[str, typer.Option(help="For text files: one row per line, paragraph or file.")] = "line",
    encoding: Annotated[
        str, typer.Option(help="For text in another encoding than UTF-8: its name, such as latin-1 or utf-16-le.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the detected format and exit.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Import files into a new version of a dataset. The detected format is printed first, with the evidence."""
    from llmops_tui.datasets.formats.readers import mapped_kind
    from llmops_tui.datasets.import_job import ENTRY, start_arguments, suggested_name
    from llmops_tui.datasets.import_preview import preview
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    store = store_of(session)
    if Path("-") in paths:
        if detach:
            told = "standard input cannot be read by a job in the background"
            raise LlmopsError("usage", told, "Write it to a file, and import that.", exit_code=ExitCode.USAGE)
        paths = [_from_stdin(context) if path == Path("-") else path for path in paths]
    if unit not in {"line", "paragraph", "file"}:
        raise LlmopsError("usage", f"--unit {unit}: line, paragraph or file", exit_code=ExitCode.USAGE)
    roles = _roles(mapping or [])
    seen = preview(store, paths, table=table, unit=unit, encoding=encoding)
    chosen = ("tabular" if roles else seen.proposal.format) if form == "auto" else form
    arguments = start_arguments(
        paths, name or suggested_name(paths[0]), chosen, roles, table=table, unit=unit, encoding=encoding
    )
    for line in _evidence(seen, chosen, asked=form != "auto" or bool(roles)):
        session.say(line)
    if dry_run:
        session.emit({"format": chosen, **seen.proposal.as_dict(), "mapping_kept": seen.kept_mapping}, lambda: chosen)
        return
    if chosen == "tabular" and roles:
        session.say(f"mapping: {', '.join(f'{r} = {c}' for r, c in roles.items())} gives {mapped_kind(roles)}")
    if not yes and sys.stdin.isatty() and not typer.confirm(f"Import as {chosen}?", default=True, err=True):
        raise InputRefusedError("not_confirmed", "nothing was imported", "Choose with --format, or map with --map.")
    title = f"import {arguments['name']}"
    made = run_job(session, kind="import", title=title, entry=ENTRY, arguments=arguments, detach=detach)
    if made is not None:
        UndoHistory(session.catalog, session.event_log).note_rows(store.get(f"{made['dataset']}@{made['version']}"))
        session.emit(made, lambda: _imported(made))


def _from_stdin(context: typer.Context) -> Path:
    """Standard input as a file, which goes when the command ends."""
    folder = Path(tempfile.mkdtemp(prefix="llmops-"))
    context.call_on_close(lambda: shutil.rmtree(folder, ignore_errors=True))
    path = folder / "stdin"
    with path.open("xb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _roles(given: list[str]) -> dict[str, str]:
    from llmops_tui.datasets.formats.readers import MAPPING_ROLES

    roles = {}
    for item in given:
        role, mark, column = item.partition("=")
        if not mark or role not in MAPPING_ROLES:
            raise LlmopsError(
                "usage", f"--map {item}: ROLE=COLUMN with one of {', '.join(MAPPING_ROLES)}", exit_code=ExitCode.USAGE
            )
        roles[role] = column
    return roles


def _evidence(seen: Preview, chosen: str, *, asked: bool) -> list[str]:
    proposal = seen.proposal
    files = ", ".join(f"{s.path.name} ({s.type})" for s in seen.sources[:5]) + (" …" if len(seen.sources) > 5 else "")
    lines = [f"{files}: {chosen}{'' if asked else f', in {proposal.share:.0%} of the inspected rows'}"]
    lines += [f"  {line}" for line in proposal.evidence]
    lines += [f"  also: {name} in {share:.0%}" for name, share in proposal.others.items()]
    if proposal.mapping and not asked:
        suggestion = " ".join(
            f"--map {role}={column}" for role, column in (seen.kept_mapping or proposal.mapping).items()
        )
        lines.append(f"  to import it as conversations: {suggestion}")
    if seen.rejects:
        first = seen.rejects[0]
        lines.append(f"  {len(seen.rejects)} of the first records cannot be read: line {first.line}: {first.reason}")
    return lines


def _imported(made: ImportedRecord) -> str:
    rejected = f", {made['rejected']:,} rejected (llmops data rejects {made['dataset']})" if made["rejected"] else ""
    unkept = f"; no row has a value of: {', '.join(made['without_values'])}" if made["without_values"] else ""
    rows = counted(made["rows"], "row")
    return f"{made['dataset']}@{made['version']}: {rows}{rejected}, sha256 {made['sha256'][:16]}…{unkept}"


@app.command("list")
def list_(context: typer.Context, limit: _Limit = LIMIT, archived: AlsoArchived = False) -> None:
    """List the datasets."""
    session = session_of(context)
    found = left(session, "dataset", store_of(session).all(), lambda v: v.dataset, also=archived)
    rows = [(v.ref, v.kind, v.rows, len(v.columns), v.note, " ".join(v.tags)) for v in found[:limit]]
    data = {"datasets": [v.as_dict() for v in found[:limit]], "total": len(found)}
    heads = ("dataset", "format", "rows", "columns", "last change", "tags")
    session.emit(data, lambda: session.rows(heads, rows, len(found)))


@app.command()
def show(context: typer.Context, ref: _Ref) -> None:
    """Show one version: its columns and the recipe that made it."""
    session = session_of(context)
    version = store_of(session).get(ref)

    def human() -> str:
        facts = [
            ("version", version.ref),
            ("format", version.kind),
            ("rows", f"{version.rows:,}"),
            ("sha256", version.sha256),
        ]
        facts += [("rejected", f"{version.rejected:,}")] if version.rejected else []
        facts += [("made by", version.recipe.operation), ("from", ", ".join(ref for ref, _ in version.recipe.inputs))]
        facts += [("note", version.note)] if version.note else []
        lines = [f"{key:10} {value}" for key, value in facts]
        return "\n".join([*lines, "", session.rows(("column", "type"), [(c.name, c.type) for c in version.columns])])

    session.emit(version.as_dict(), human)


@app.command()
def log(context: typer.Context, name: _Name, limit: _Limit = LIMIT) -> None:
    """List the versions of a dataset, newest first."""
    session = session_of(context)
    found = store_of(session).log(name)
    rows = [
        (f"@{v.number}", v.recipe.operation, v.rows, _delta(v, found), v.note, " ".join(v.tags)) for v in found[:limit]
    ]
    data = {"dataset": name, "versions": [v.as_dict() for v in found[:limit]], "total": len(found)}
    session.emit(data, lambda: session.rows(("version", "made by", "rows", "change", "note", "tags"), rows, len(found)))


def _delta(version: DatasetVersion, log_: list[DatasetVersion]) -> str:
    parent = next((v for v in log_ if v.number == version.parent), None)
    return f"{version.rows - parent.rows:+,}" if parent is not None else ""


@app.command()
def head(
    context: typer.Context,
    ref: _Ref,
    count: Annotated[int, typer.Option("-n", help="Number of rows.", min=1)] = 5,
) -> None:
    """Print the first rows as JSON Lines."""
    from llmops_tui.datasets.json_text import odd_as_texts
    from llmops_tui.datasets.records import dump_json

    session = session_of(context)
    odd: dict[str, str] = {}
    for _, row in (one for batch in store_of(session).get(ref).read(limit=count) for one in batch):
        odd |= (texts := odd_as_texts(row))
        session.stream(dump_json(row | texts) + "\n")
    if odd:
        session.say(f"nan and inf, which JSON does not have, are shown as texts: {', '.join(odd)}")


@app.command()
def rejects(context: typer.Context, ref: _Ref, limit: _Limit = LIMIT) -> None:
    """List the records that an import rejected, or the rows that fell when a model wrote some, with the reasons."""
    from llmops_tui.datasets.raw import show_bytes
    from llmops_tui.datasets.rejects import HAVE_REJECTS, read_rejects

    session = session_of(context)
    store = store_of(session)
    version = store.get(ref)
    while version.recipe.operation not in HAVE_REJECTS and version.parent is not None:
        version = store.get(f"{version.dataset}@{version.parent}")
    found = read_rejects(session.workspace, version, limit)
    data = [
        {
            "source": r.source,
            "line": r.line,
            "offset": r.offset,
            "length": r.length,
            "reason": r.reason,
            "raw": show_bytes(r.raw)[0],
        }
        for r in found
    ]
    rows = [(r.line, r.reason, show_bytes(r.raw[:80])[0]) for r in found]
    session.emit(
        {"version": version.ref, "rejected": data, "total": version.rejected},
        lambda: session.rows(("line", "reason", "begins with"), rows, version.rejected),
    )


@app.command()
def raw(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A text file.")],
    line: Annotated[int, typer.Option(help="The first line to print, counted from 1.", min=1)] = 1,
    at: Annotated[
        float | None, typer.Option(help="The position to start from, in percent of the file.", min=0, max=100)
    ] = None,
    count: Annotated[int, typer.Option("-n", help="Number of lines.", min=1)] = 20,
) -> None:
    """Print lines of a file of any size unchanged, and report the problems in them."""
    from llmops_tui.datasets.raw import RawFile

    session = session_of(context)
    with RawFile(path) as file:
        found = file.lines(line - 1, count) if at is None else file.lines_at(int(file.size * at / 100), count)
        counted = file.lines_known
    data = [
        {k: v for k, v in item.__dict__.items() if k != "bad_bytes"} | {"bad_bytes": list(item.bad_bytes)}
        for item in found
    ]
    rows = [(item.number if item.exact else f"≈{item.number}", item.problem, item.text[:200]) for item in found]
    session.emit(
        {"path": str(path), "bytes": file.size, "lines_counted": counted, "lines": data},
        lambda: session.rows(("line", "problem", "text"), rows),
    )


@app.command()
def export(
    context: typer.Context,
    ref: _Ref,
    to: Annotated[Path, typer.Option("--to", help="The file to write; for hf and markdown, a folder.")],
    form: Annotated[
        str | None, typer.Option("--format", help="The row format; default: the format of the dataset.")
    ] = None,
    file_type: Annotated[str | None, typer.Option("--as", help="The file type; default: from the suffix.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a version to a file, then read the file back and verify the rows."""
    from llmops_tui.datasets.export_job import export as write

    session = session_of(context)
    store = store_of(session)
    show_ = session.progress(f"exporting {ref}")
    made = write(
        store.get(ref),
        to,
        form=form,
        file_type=file_type,
        overwrite=force,
        report=lambda share, _: show_(share) if show_ else None,
    )
    if not made["reads_back"]:
        session.say(f"importing this file gives different rows: {made['differs']}")
    same = "; reading it again gives the same rows" if made["reads_back"] else ""
    session.emit(
        made, lambda: f"{made['path']}: {counted(made['rows'], 'row')} as {made['format']} in {made['type']}{same}"
    )


@app.command()
def diff(context: typer.Context, first: _Ref, second: _Ref, limit: _Limit = 20) -> None:
    """Compare two versions row by row."""
    from llmops_tui.datasets.diff import diff_versions
    from llmops_tui.datasets.records import dump_json, whole_text
    from llmops_tui.text_diff import diff_words, marked_text

    session = session_of(context)
    store = store_of(session)
    left, right = store.get(first), store.get(second)
    found = diff_versions(left, right)

    def human() -> str:
        how = f"by {found.key}" if found.key else "by content and order"
        counts = f"+{len(found.added):,} −{len(found.removed):,} ~{len(found.changed):,}"
        lines = [f"{counts}, {found.same:,} unchanged ({how})"]
        for a, b in found.changed[:limit]:
            before, after = left.rows_at([a])[0], right.rows_at([b])[0]
            parts = diff_words(whole_text(left.kind, before), whole_text(right.kind, after))
            if all(p.change == "same" for p in parts):
                parts = diff_words(dump_json(before), dump_json(after))
            lines.append(f"~ {a} → {b}: {marked_text(parts)}")
        lines += [f"- {n}: {dump_json(row)[:300]}" for n, row in _some(left, found.removed, limit)]
        lines += [f"+ {n}: {dump_json(row)[:300]}" for n, row in _some(right, found.added, limit)]
        more = max(len(found.changed), len(found.removed), len(found.added))
        if more > limit:
            session.say(f"rows after the first {limit:,} of each kind are not shown; --limit shows more")
        return "\n".join(lines)

    session.emit(found.as_dict(), human)


def _some(version: DatasetVersion, numbers: list[int], limit: int) -> list[tuple[int, Row]]:
    return list(zip(numbers[:limit], version.rows_at(numbers[:limit]), strict=True))


@app.command()
def tag(
    context: typer.Context,
    ref: _Ref,
    tag_: Annotated[str, typer.Argument(metavar="TAG")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the tag.")] = False,
) -> None:
    """Point a tag at a version."""
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    store, history = store_of(session), UndoHistory(session.catalog, session.event_log)
    version = store.get(ref)
    if remove:
        history.remove_tag(version.dataset, tag_)
        session.emit(store.get(version.ref).as_dict(), lambda: f"{version.dataset} has no tag {tag_}")
        return
    version = history.move_tag(ref, tag_)
    session.emit(version.as_dict(), lambda: f"{tag_} is {version.ref}")


@app.command()
def restore(context: typer.Context, ref: _Ref) -> None:
    """Make a new version with the rows of an older version."""
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    version = store_of(session).restore(ref)
    UndoHistory(session.catalog, session.event_log).note_rows(version)
    session.emit(version.as_dict(), lambda: f"{version.ref} has the rows of {ref}")


@app.command()
@app.command("remake", hidden=True)
def rebuild(context: typer.Context, ref: _Ref) -> None:
    """Apply a version's recipe again to its source and compare the rows. Exit 1 if they differ."""
    from llmops_tui.datasets.operations.base import remake as again

    session = session_of(context)
    version, digest = again(store_of(session), ref)
    same = digest == version.sha256
    data = {"version": version.ref, "sha256": version.sha256, "remade": digest, "same": same}
    told = "are the same" if same else f"differ, since {version.recipe.operation} works differently now"
    session.emit(data, lambda: f"{version.ref}: the rows {told}")
    if not same:
        raise typer.Exit(int(ExitCode.FAILED))
