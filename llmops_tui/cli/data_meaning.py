"""``llmops data``: embeddings, and what they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted

if TYPE_CHECKING:
    from llmops_tui.datasets.labelling import Labelling
    from llmops_tui.datasets.meaning.coverage import CoverageRecord
    from llmops_tui.datasets.meaning.index import VectorsRecord
    from llmops_tui.datasets.meaning.topics import MapRecord
    from llmops_tui.datasets.records import Row
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.datasets.version import DatasetVersion

_Ref = Annotated[str, typer.Argument(help="name, name@number or name@tag.")]
_Limit = Annotated[int, typer.Option(help="Maximum number of rows.", min=1)]
_Model = Annotated[str, typer.Option("--model", help="By the embeddings of this model; default: the latest.")]
_TEXT = 200


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (embed, duplicates, outliers, coverage):
        app.command()(command)
    app.command("topics")(map_)


def embed(
    context: typer.Context,
    ref: _Ref,
    model: Annotated[
        str, typer.Option("--model", help="A registered model; default: the one that was made to embed.")
    ] = "",
    of: Annotated[
        str, typer.Option("--of", help="What is embedded: question, whole, answer, or columns with commas.")
    ] = "question",
    row_prefix: Annotated[
        str | None, typer.Option(help="Words before each row; default: what the model is known to need.")
    ] = None,
    query_prefix: Annotated[str | None, typer.Option(help="Words before each text that is searched for.")] = None,
    max_tokens: Annotated[int, typer.Option(min=8, help="Longer texts are cut after so many tokens.")] = 512,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Embed the rows of a version, as a job. Texts that were embedded before are not computed again."""
    from llmops_tui.datasets.meaning.embedding_job import ENTRY, KIND
    from llmops_tui.datasets.meaning.index import MeaningIndex
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.embeddings.embedder import embedder_spec
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    version = DatasetStore(session.catalog).get(ref)
    registry = ModelRegistry(session.catalog)
    spec = embedder_spec(registry, model, row_prefix=row_prefix, query_prefix=query_prefix, max_tokens=max_tokens)
    index = MeaningIndex(version, spec, of)
    if index.ready:
        about = index.mean_again()
        session.emit(about, lambda: embedded_text(about))
        return
    session.say(f"{version.ref}: {index.text.told} by {spec.model}")
    arguments = {"ref": version.ref, "embedder": spec.as_dict(), "of": index.text.of}
    made = run_job(session, kind=KIND, title=f"embed {version.ref}", entry=ENTRY, arguments=arguments, detach=detach)
    if made is not None:
        session.emit(made, lambda: embedded_text(made))


def embedded_text(about: VectorsRecord) -> str:
    """What is said of the vectors of a version."""
    model, size = about["embedder"]["model"], about["bytes"] / 1e6
    made = f"{about['computed']:,} computed, {about['reused']:,} reused, {size:,.1f} MB"
    rows = f"{counted(about['rows'], 'row')} in {about['dimensions']} dimensions by {model}"
    lines = [f"{about['version']}: {rows}: {made}", f"embedded: {about['embedded']}"]
    if about["without_text"]:
        lines.append(f"{counted(about['without_text'], 'row')} have no text, and are not found by meaning")
    if about["cut"]:
        lines.append(
            f"{counted(about['cut'], 'text')} were cut after {about['embedder']['max_tokens']:,} tokens or the model's context"
        )
    return "\n".join(lines)


def search_by_meaning(
    session: Session, version: DatasetVersion, text: str, like: int | None, limit: int, model: str, *, both: bool
) -> None:
    """Print the rows that mean what a text says, or that are like a row."""
    from llmops_tui.datasets.meaning.index import require_index
    from llmops_tui.datasets.meaning.search import open_search

    index = require_index(version, model)
    opened = open_search(session.catalog, index)
    found = opened.like(like, limit) if like is not None else opened.find(text, limit, "both" if both else "meaning")
    if found.compared < version.rows - index.about["without_text"] - (like is not None):
        session.say(f"approximate: cosines of {found.compared:,} candidates of {counted(version.rows, 'row')}")
    shown = _texts(index.text.text, version, found.rows)
    rows = [(h["row"], "" if h["cosine"] is None else f"{h['cosine']:.3f}", shown[h["row"]]) for h in found.hits]
    data = {
        "version": version.ref,
        "model": index.spec.model,
        "embedded": index.text.told,
        "compared": found.compared,
        "rows": found.hits,
    }
    session.emit(data, lambda: session.rows(("row", "cosine", "text"), rows))


def _store(session: Session) -> DatasetStore:
    from llmops_tui.datasets.store import DatasetStore

    return DatasetStore(session.catalog)


def _texts(text_of: Callable[[Row], str], version: DatasetVersion, rows: list[int]) -> dict[int, str]:
    wanted = list(dict.fromkeys(rows))
    return {n: " ".join(text_of(row).split())[:_TEXT] for n, row in zip(wanted, version.rows_at(wanted), strict=True)}


def duplicates(
    context: typer.Context,
    ref: _Ref,
    threshold: Annotated[float, typer.Option(min=0.5, max=1.0, help="The least cosine of a pair.")] = 0.95,
    limit: _Limit = LIMIT,
    model: _Model = "",
) -> None:
    """List pairs of rows that say the same in other words, with their cosine. Their texts differ."""
    from llmops_tui.datasets.meaning.duplicates import find_semantic_duplicates
    from llmops_tui.datasets.meaning.index import require_index

    session = session_of(context)
    version = _store(session).get(ref)
    index = require_index(version, model)
    show = session.progress(f"compare {version.ref}")
    found = find_semantic_duplicates(index, threshold, lambda share: show(share) if show else None)
    shown = found.pairs[:limit]
    dropped = found.dropped()
    texts = _texts(index.text.text, version, [n for pair in shown for n in (pair.left, pair.right)])
    data = {
        "version": version.ref,
        "model": index.spec.model,
        "threshold": threshold,
        "pairs": [{"left": p.left, "right": p.right, "cosine": round(p.similarity, 4)} for p in shown],
        "total": len(found.pairs),
        "groups": len(found.groups),
        "dropped": len(dropped),
        "same_text": found.same_text,
        "by_parts": found.by_parts,
    }

    def human() -> str:
        lines = [
            f"{p.similarity:.3f}  {p.left:>8,}  {texts[p.left]}\n       {p.right:>8,}  {texts[p.right]}" for p in shown
        ]
        lines += [
            "",
            (
                f"{counted(len(found.pairs), 'pair')} in {counted(len(found.groups), 'group')}; the texts of each pair differ;"
                f" {counted(found.same_text, 'row')} with the text of an earlier row left aside"
            ),
        ]
        if found.by_parts:
            lines.append("only rows of the same part were compared: pairs across parts are not found")
        if found.groups:
            lines.append(
                f"llmops data dedup {ref} --meaning --threshold {threshold:g}    removes {len(dropped):,}, keeps the first"
            )
        return "\n".join(lines)

    session.emit(data, human)


def outliers(context: typer.Context, ref: _Ref, limit: _Limit = LIMIT, model: _Model = "") -> None:
    """List rows that are like no other: their nearest rows are far away, compared with those of all rows."""
    from llmops_tui.datasets.meaning.duplicates import NEIGHBOURS, find_outliers
    from llmops_tui.datasets.meaning.index import require_index

    session = session_of(context)
    version = _store(session).get(ref)
    index = require_index(version, model)
    show = session.progress(f"compare {version.ref}")
    found = find_outliers(index, lambda share: show(share) if show else None)
    texts = _texts(index.text.text, version, [n for n, _ in found.rows[:limit]])
    data = {
        "version": version.ref,
        "model": index.spec.model,
        "median": round(found.median, 4),
        "limit": round(found.limit, 4),
        "rows": [{"row": n, "mean_cosine": mean} for n, mean in found.rows[:limit]],
        "total": len(found.rows),
        "by_parts": found.by_parts,
    }
    rows = [(n, f"{mean:.3f}", texts[n]) for n, mean in found.rows[:limit]]
    told = f"mean cosine to the {NEIGHBOURS} nearest rows: {found.median:.3f} in the middle, outliers below {found.limit:.3f}"
    told += "; only rows of the same part were compared" if found.by_parts else ""
    session.emit(data, lambda: f"{told}\n\n" + session.rows(("row", "mean cosine", "text"), rows, len(found.rows)))


def map_(
    context: typer.Context,
    ref: _Ref,
    clusters: Annotated[int, typer.Option(min=0, max=500, help="Number of clusters; 0: by the number of rows.")] = 0,
    model: _Model = "",
    again: Annotated[bool, typer.Option("--again", help="Make it anew, where there is one.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Cluster the rows by meaning, name the clusters, and keep the map that the datasets screen shows."""
    from llmops_tui.datasets.meaning.index import require_index
    from llmops_tui.datasets.meaning.topics import ENTRY, KIND, TopicMap

    session = session_of(context)
    version = _store(session).get(ref)
    there = TopicMap(require_index(version, model))
    if there.ready and not clusters and not again:
        session.emit(there.record, lambda: _map_text(session, there.record))
        return
    arguments = {"ref": version.ref, "model": model, "clusters": clusters}
    made = run_job(session, kind=KIND, title=f"map {version.ref}", entry=ENTRY, arguments=arguments, detach=detach)
    if made is not None:
        session.emit(made, lambda: _map_text(session, made))


def _map_text(session: Session, record: MapRecord) -> str:
    rows = []
    for topic in record["topics"]:
        labels = ", ".join(f"{share['label']} {share['rows'] / topic['rows']:.0%}" for share in topic["labels"][:3])
        rows.append((topic["cluster"], topic["rows"], " ".join(topic["words"]), labels))
    head = f"{record['version']}: {counted(len(rows), 'cluster')} by {record['model']} of {record['embedded']}"
    headers = ("cluster", "rows", "words", record["label"] or "labels")
    return f"{head}\n\n" + session.rows(headers, rows)


def coverage(
    context: typer.Context,
    evaluated: Annotated[str, typer.Argument(help="The evaluation set.")],
    by: Annotated[str, typer.Option("--by", help="The training set.")],
    limit: _Limit = 20,
    model: _Model = "",
) -> None:
    """Measure how near each row of an evaluation set is to a training set, and list the farthest."""
    from llmops_tui.datasets.meaning.coverage import measure_coverage
    from llmops_tui.datasets.meaning.index import require_index
    from llmops_tui.datasets.meaning.topics import TopicMap

    session = session_of(context)
    store = _store(session)
    left, right = (require_index(store.get(ref), model) for ref in (evaluated, by))
    topics = TopicMap(right)
    show = session.progress(f"compare {left.version.ref}")
    known = topics if topics.ready else None
    found = measure_coverage(left, right, known, lambda share: show(share) if show else None, farthest=limit)
    texts = _texts(left.text.text, left.version, [one["row"] for one in found["farthest"]])
    session.emit(found, lambda: _coverage_text(session, found, texts))


def _coverage_text(session: Session, found: CoverageRecord, texts: dict[int, str]) -> str:
    total = max(1, found["rows"])
    lines = [
        f"{found['evaluated']} by {found['trained']}, {found['model']}: mean cosine of the nearest {found['mean']:.3f}"
    ]
    lines += [
        f"  cosine ≥ {level['cosine']:.1f}: {counted(level['rows'], 'row')}, {level['rows'] / total:.1%}"
        for level in found["levels"]
    ]
    rows = [(one["row"], one["nearest"], f"{one['cosine']:.3f}", texts[one["row"]]) for one in found["farthest"]]
    lines += ["", session.rows(("row", "nearest", "cosine", "the farthest"), rows)]
    lacking = [
        t for t in found["topics"] if t["evaluated"] and t["evaluated"] / total > 2 * t["trained"] / _trained(found)
    ]
    empty = [t for t in found["topics"] if not t["evaluated"]]
    if found["topics"]:
        lines += ["", f"of {counted(len(found['topics']), 'cluster')}, {len(empty)} have no evaluated row"]
        lines += [f"  evaluated more than trained: {' '.join(t['words'])}" for t in lacking[:5]]
        lines += [f"  not evaluated: {' '.join(t['words'])}" for t in empty[:5]]
    return "\n".join(lines)


def _trained(found: CoverageRecord) -> int:
    return max(1, sum(topic["trained"] for topic in found["topics"]))


def propose_labels(session: Session, work: Labelling, count: int) -> None:
    """Print the rows that are worth labelling next, with what a classifier would say of each, and how it does."""
    from llmops_tui.datasets.assisted_labelling import LabelAssistant
    from llmops_tui.datasets.meaning.index import require_index

    index = require_index(work.version)
    assistant = LabelAssistant(work, index)
    rows = [row for row, _ in assistant.order(work.queue())[:count]]
    proposals = {row: assistant.propose(row) for row in rows}
    helped = assistant.helped(curve=True)
    texts = _texts(index.text.text, work.version, rows)
    data = {
        "version": work.version.ref,
        "next": [
            {"row": row, "proposed": p.label if p else None, "probability": round(p.probability, 4) if p else None}
            for row, p in proposals.items()
        ],
        "labels": helped.labels,
        "kappa": helped.kappa,
        "compared": helped.compared,
        "curve": [{"labels": n, "accuracy": round(share, 4)} for n, share in helped.curve],
        "may_stop": helped.may_stop,
    }
    shown = [
        (row, p.label if p else "", f"{p.probability:.0%}" if p else "", texts[row]) for row, p in proposals.items()
    ]

    def human() -> str:
        lines = [session.rows(("row", "proposed", "probability", "text"), shown)]
        if helped.curve:
            points = "  ".join(f"{n:,}: {share:.0%}" for n, share in helped.curve)
            lines.append(f"right by number of labels, five-fold: {points}")
        if helped.may_stop:
            lines.append("the last 200 labels changed little: more of them may not be worth it")
        return "\n".join(lines)

    session.emit(data, human)
