"""``llmops data``: profile, check, overlap, privacy, search and query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.data_meaning import search_by_meaning
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import agree, counted
from llmops_tui.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.datasets.checks.base import CheckOptions
    from llmops_tui.datasets.profile_record import Profile
    from llmops_tui.datasets.reports import CheckReport
    from llmops_tui.datasets.store import DatasetStore

_Ref = Annotated[str, typer.Argument(help="name, name@number or name@tag.")]
_Limit = Annotated[int, typer.Option(help="Maximum number of rows.", min=1)]
_Model = Annotated[str | None, typer.Option(help="Count tokens with this model's tokenizer and chat template.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (profile, check, overlap, privacy, search, query):
        app.command()(command)


def _store(session: Session) -> DatasetStore:
    from llmops_tui.datasets.store import DatasetStore

    return DatasetStore(session.catalog)


def profile(
    context: typer.Context,
    ref: _Ref,
    model: _Model = None,
    sample: Annotated[int | None, typer.Option(help="Profile a random sample of this many rows.", min=1)] = None,
    max_length: Annotated[int, typer.Option(help="The maximum length of a row in training, in tokens.", min=1)] = 2048,
    speed: Annotated[
        float | None, typer.Option(help="Training speed in tokens per second, to estimate the time.")
    ] = None,
) -> None:
    """Profile a dataset: columns, tokens, turns, languages, duplicates, labels."""
    from contextlib import ExitStack

    from llmops_tui.datasets.profile import profile as make
    from llmops_tui.datasets.tokens import ModelText
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    version = _store(session).get(ref)
    show = session.progress(f"profile {version.ref}")
    with ExitStack() as stack:
        text = stack.enter_context(ModelText(ModelRegistry(session.catalog).get(model))) if model else None
        found = make(
            version,
            text,
            sample=sample,
            max_length=max_length,
            tokens_per_second=speed,
            report=lambda share, _: show(share) if show else None,
        )
    session.emit(found, lambda: _profile_text(session, found))


def _profile_text(session: Session, found: Profile) -> str:
    of = (
        f"{found['looked_at']:,} of {counted(found['rows'], 'row')}"
        if found["sampled"]
        else f"all {counted(found['rows'], 'row')}"
    )
    lines = [f"{found['version']}: {found['format']}, {of}", ""]
    rows = []
    for column in found["columns"]:
        facts = column if "p50" in column else column.get("length", {})
        distinct = column["distinct"] if column.get("exact") else f"about {column['distinct']}"
        common = ", ".join(f"{v} {n}" for v, n in column.get("top", [])[:3])
        spread = f"p50 {facts['p50']:g} p95 {facts['p95']:g} max {facts['max']:g}" if "p50" in facts else ""
        rows.append((column["name"], column["type"], column["missing"], distinct, spread, common))
    lines.append(session.rows(("column", "type", "missing", "distinct", "value, or length", "common"), rows))
    if "turns" in found:
        turns = found["turns"]
        said = ", ".join(f"{role} {count:,}" for role, count in turns["roles"].items())
        lines += ["", f"turns     {turns['mean']:.1f} a row; {said}"]
    languages = found["languages"]["shares"]
    if languages:
        lines.append("languages " + ", ".join(f"{k} {v['share']:.1%}" for k, v in languages.items()))
    same = found["duplicates"]
    lines.append(f"the same  {same['rows']:,} of {same['of']:,}{', at least' if same['lower_bound'] else ''}")
    tokens = found.get("tokens")
    if tokens and tokens["total"]:
        plus = f" ± {tokens['total_interval']:,}" if found["sampled"] else ""
        lines += [
            f"tokens    {tokens['total']:,}{plus} with {tokens['model']}; trained {tokens['trained_share']:.0%}",
            f"          p50 {tokens['p50']:g}, p95 {tokens['p95']:g}, p99 {tokens['p99']:g}, max {tokens['max']:,}",
            "cut       " + ", ".join(f"{v['share']:.1%} at {k}" for k, v in tokens["cut"].items()),
            f"packing   {tokens['packing']:.0%} full at {tokens['max_length']:,}; {tokens['padding']:.0%} without packing",
        ]
        lines += [f"problem   {counted(count, 'row')}: {text}" for text, count in tokens["problems"].items()]
    if "training" in found:
        lines.append(f"training  {found['training']['seconds_per_epoch'] / 60:.1f} minutes an epoch")
    return "\n".join(lines)


def check(
    context: typer.Context,
    ref: _Ref,
    only: Annotated[list[str] | None, typer.Option(help="Run only this check; repeatable.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="An evaluation set; its overlap with the dataset is reported.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column of labels.")] = None,
    model: _Model = None,
    max_tokens: Annotated[int | None, typer.Option(help="With a model: report rows with more tokens.", min=1)] = None,
) -> None:
    """Run quality checks: each problem with its reason, its rows and its fix."""
    from contextlib import ExitStack

    from llmops_tui.datasets.checks.registry import find_check
    from llmops_tui.datasets.checks.runner import as_report, overlaps_with, run_checks
    from llmops_tui.datasets.tokens import ModelText
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    store = _store(session)
    version = store.get(ref)
    names = tuple(find_check(name).id for name in only or ())
    show = session.progress(f"check {version.ref}")
    parameters: CheckOptions = {"label": label, "max_tokens": max_tokens}
    with ExitStack() as stack:
        if model:
            parameters["model_text"] = stack.enter_context(ModelText(ModelRegistry(session.catalog).get(model)))
        findings = run_checks(version, parameters, only=names, report=lambda share, _: show(share) if show else None)
    report = as_report(version, findings)
    if not names:
        store.keep_report(version.sha256, "checks", report)
    report["overlaps"] = [o.as_dict() for o in overlaps_with(store, version, against or [])]
    session.emit(report, lambda: _check_text(version.ref, report))


def _check_text(ref: str, report: CheckReport) -> str:
    lines = [f"{ref}: {counted(report['of'], 'row')}"]
    for problem in report["problems"]:
        count = counted(problem["rows"], "row") if problem["rows"] else problem["note"]
        lines += ["", f"{problem['kind']}: {problem['title']}: {count}", f"  {problem['why']}"]
        if problem["rows"] and problem["note"]:
            lines.append(f"  {problem['note']}")
        lines += [f"  row {e['row']:,}: {e['reason']}" for e in problem["examples"][:3]]
        if problem["fix"]:
            lines.append(f"  llmops data fix {ref} {problem['kind']}    {problem['fix']}")
    for found in report["overlaps"]:
        lines += [
            "",
            (
                f"overlap with {found['right']}: {counted(found['rows'], 'row')} "
                f"(exact {found['exact']:,}, 13 words {found['ngram']:,}, near {found['near']:,})"
            ),
        ]
        if found["rows"]:
            lines.append(f"  llmops data dedup {ref} --against {found['right']}    removes these rows")
    lines += ["", f"found nothing: {', '.join(report['clean']) or 'none'}"]
    return "\n".join(lines)


def overlap(context: typer.Context, first: _Ref, second: _Ref) -> None:
    """Measure the overlap of two datasets: exact, 13-gram and near-duplicate matches."""
    from llmops_tui.datasets.overlap import find_overlap

    session = session_of(context)
    store = _store(session)
    found = find_overlap(store.get(first), store.get(second)).as_dict()
    session.emit(
        found,
        lambda: (
            f"{found['rows']:,} of {counted(found['left_rows'], 'row')} of {found['left']} "
            f"{agree(found['rows'], 'is', 'are')} also in {found['right']}: "
            f"exact {found['exact']:,}, 13 words in a row {found['ngram']:,}, near {found['near']:,}; "
            f"{found['clean_right_rows']:,} of {counted(found['right_rows'], 'row')} there "
            f"{agree(found['clean_right_rows'], 'is', 'are')} clean"
        ),
    )


def privacy(context: typer.Context, ref: _Ref) -> None:
    """Find personal data and secrets, by kind; lists what was not searched."""
    from llmops_tui.datasets.privacy.report import find_in_version

    session = session_of(context)
    version = _store(session).get(ref)
    show = session.progress(f"privacy {version.ref}")
    found = find_in_version(version, report=lambda share, _: show(share) if show else None)

    def human() -> str:
        rows = [
            (kind, count, found["rows_by_kind"][kind], "  ".join(e["text"] for e in found["examples"][kind][:3]))
            for kind, count in sorted(found["spans"].items(), key=lambda i: -i[1])
        ]
        head = (
            f"{version.ref}: {found['rows_with_any']:,} of {counted(found['rows'], 'row')} "
            f"{agree(found['rows_with_any'], 'holds', 'hold')} personal data or secrets"
        )
        return "\n".join(
            [head, "", session.rows(("kind", "found", "rows", "such as"), rows), "", *found["not_searched"]]
        )

    session.emit(found, human)


def search(
    context: typer.Context,
    ref: _Ref,
    words: Annotated[
        str, typer.Argument(help='Words, "a phrase", OR, NOT, word*; with --meaning and --both: any text.')
    ] = "",
    limit: _Limit = LIMIT,
    meaning: Annotated[
        bool, typer.Option("--meaning", help="Rank the rows by what they mean; the version is embedded.")
    ] = False,
    both: Annotated[bool, typer.Option("--both", help="Rank by meaning and by words, and fuse the two.")] = False,
    like: Annotated[int | None, typer.Option(min=0, help="The rows that are like the row with this number.")] = None,
    model: Annotated[str, typer.Option("--model", help="By the embeddings of this model; default: the latest.")] = "",
) -> None:
    """Search the rows by words or by meaning. The first search by words builds the index."""
    from llmops_tui.datasets.records import whole_text
    from llmops_tui.datasets.search import SearchIndex

    if (like is None) == (not words) or meaning + both + (like is not None) > 1:
        told = "give words, or --like ROW; --meaning, --both and --like exclude each other"
        raise LlmopsError("usage", told, exit_code=ExitCode.USAGE)
    if model and not (meaning or both or like is not None):
        raise LlmopsError("usage", "--model goes with --meaning, --both or --like", exit_code=ExitCode.USAGE)
    session = session_of(context)
    version = _store(session).get(ref)
    if meaning or both or like is not None:
        search_by_meaning(session, version, words, like, limit, model, both=both)
        return
    show = session.progress(f"indexing {version.ref}")
    index = SearchIndex(version).make(lambda share, _: show(share) if show else None)
    numbers = index.find(words)
    first = numbers[:limit].tolist()
    shown = version.rows_at(first)
    rows = [(n, whole_text(version.kind, row)[:200]) for n, row in zip(first, shown, strict=False)]
    data = {"version": version.ref, "rows": first, "total": len(numbers)}
    session.emit(data, lambda: session.rows(("row", "text"), rows, len(numbers)))


def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help="One SELECT over datasets by name.")],
    limit: Annotated[int, typer.Option(help="Maximum number of rows.", min=1)] = 1000,
    save: Annotated[str | None, typer.Option(help="Save the complete result as a dataset with this name.")] = None,
) -> None:
    """Run one SELECT over the datasets and the workspace."""
    from llmops_tui.datasets.sql_console import run_query, save_query
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    store = _store(session)
    if save is not None:
        version = save_query(store, sql, save)
        UndoHistory(session.catalog, session.event_log).note_rows(version)
        session.emit(version.as_dict(), lambda: f"{version.ref}: {counted(version.rows, 'row')}")
        return
    answer = run_query(store, sql, limit)
    if answer.more:
        session.say(f"rows after the first {limit:,} are not shown; --limit shows more")
    data = {"columns": answer.columns, "rows": answer.rows, "truncated": answer.more}
    session.emit(data, lambda: session.rows(answer.columns, answer.rows))
