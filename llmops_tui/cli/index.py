"""``llmops index``: documents as an index that is searched by words and by meaning, explained and measured."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, Session, refuse_idle, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.retrieval.records import BuiltRecord
    from llmops_tui.retrieval.retriever import By
    from llmops_tui.retrieval.store import Index, IndexStore

app = typer.Typer(help="Indexes of documents.", no_args_is_help=True, rich_markup_mode=None)

_Ref = Annotated[str, typer.Argument(metavar="INDEX", help="name, for its newest version, or name@number.")]
_Query = Annotated[str, typer.Argument(help="What is searched for.")]
_By = Annotated[
    str,
    typer.Option(
        "--by",
        help="bm25, vectors, hybrid, reranked or everything; default: as tuned, or hybrid, or bm25 without vectors.",
    ),
]
_K = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many chunks.")]
_Context = Annotated[int, typer.Option("--context", min=1, help="How many tokens 'everything' may have.")]
_CONTEXT = 8192


def store_of(session: Session) -> IndexStore:
    """The indexes of a session's workspace."""
    from llmops_tui.retrieval.store import IndexStore

    return IndexStore(session.catalog)


def way_of(given: str, index: Index) -> By:
    """How to search.

    Raises:
        LlmopsError: ``usage``: there is no such way.
    """
    from llmops_tui.retrieval.retriever import WAYS, usual_way

    if not given:
        return usual_way(index)
    found: By | None = next((way for way in WAYS if way == given), None)
    if found is None:
        raise LlmopsError("usage", f"--by takes {', '.join(WAYS)}, not {given!r}", exit_code=ExitCode.USAGE)
    return found


@app.command()
def build(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the index is called.")],
    source: Annotated[
        str, typer.Option("--from", help="A dataset (name, name@3), or a folder of Markdown, text, HTML and PDF files.")
    ] = "",
    of: Annotated[
        str, typer.Option("--of", help="What of a dataset's rows: question, whole, answer, or columns with commas.")
    ] = "",
    id_column: Annotated[
        str, typer.Option("--id", help="The column of a dataset that names documents; default: by row.")
    ] = "",
    embedder: Annotated[
        str, typer.Option("--embedder", help="A registered model that embeds; none: words alone.")
    ] = "",
    reranker: Annotated[
        str,
        typer.Option("--reranker", help="A model for --by reranked: one that ranks, or that answers; none: no more."),
    ] = "",
    contexts: Annotated[
        str,
        typer.Option(
            "--context-model", help="A local model that writes a context for each chunk, after its cost; none: no more."
        ),
    ] = "",
    tokens: Annotated[
        int, typer.Option("--tokens", min=0, max=8192, help="Tokens of a chunk, about; 0: as before, or 300.")
    ] = 0,
    row_prefix: Annotated[
        str | None, typer.Option(help="Words before each chunk; default: what the model is known to need.")
    ] = None,
    query_prefix: Annotated[str | None, typer.Option(help="Words before each query.")] = None,
    take_back: Annotated[bool, typer.Option("--take-back", help="Take in again the documents taken out.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write contexts without asking.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Build an index, or its next version from its documents as they are now. Only chunks that are new are embedded."""
    from llmops_tui.retrieval.build import ENTRY, KIND
    from llmops_tui.retrieval.request import build_request, with_context, with_reranker
    from llmops_tui.retrieval.sources import told_source

    session = session_of(context)
    asked = build_request(
        store_of(session),
        name,
        source=source,
        of=of,
        id_column=id_column,
        embedder=embedder,
        row_prefix=row_prefix,
        query_prefix=query_prefix,
        tokens=tokens,
        take_back=take_back,
    )
    asked = with_reranker(store_of(session), name, asked, reranker)
    asked = with_context(store_of(session), name, asked, contexts)
    by = asked["embedder"]["model"] if asked["embedder"] else "words alone"
    session.say(f"{name}: {told_source(asked['source'])}, chunks of about {asked['tokens']} tokens, by {by}")
    arguments = {"name": name, "asked": asked}
    if asked.get("context") is not None:
        _confirm_contexts(session, name, arguments, yes=yes)
    built = run_job(session, kind=KIND, title=f"index {name}", entry=ENTRY, arguments=arguments, detach=detach)
    if built is not None:
        session.emit(built, lambda: _built_text(built))


def _confirm_contexts(session: Session, name: str, arguments: Mapping[str, object], *, yes: bool) -> None:
    """Say what contexts take, and ask where any has to be written."""
    from llmops_tui.retrieval.context_cost import COST_ENTRY, cost_text

    cost = run_job(session, kind="budget", title=f"contexts of {name}", entry=COST_ENTRY, arguments=arguments)
    for sample in cost["samples"]:
        session.say(f"  {sample}")
    session.say(cost_text(cost))
    asked = cost["chunks"] - cost["known"]
    if yes or not asked:
        return
    if not sys.stdin.isatty():
        told = "without a terminal what contexts take cannot be confirmed"
        raise LlmopsError("nobody_to_ask", told, "Give --yes.", ExitCode.USAGE)
    if not typer.confirm(f"Write {counted(asked, 'context')}?", default=False, err=True):
        raise InputRefusedError("not_confirmed", "nothing more was written", "The first contexts are remembered.")


def _built_text(built: BuiltRecord) -> str:
    from llmops_tui.retrieval.told import index_text, not_taken

    record = built["index"]
    if built["unchanged"]:
        return "\n".join([f"{record['name']}@{record['number']} is as it would be made now", *not_taken(record)])
    return index_text(record, [])


@app.command("list")
def list_(context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT) -> None:
    """List indexes, and what of each is stale."""
    from llmops_tui.retrieval.sources import told_source
    from llmops_tui.retrieval.staleness import stale_because

    session = session_of(context)
    store = store_of(session)
    found = store.all()
    for error in store.damaged():
        session.say(f"{error.message} ({error.hint})")
    stale = {index.ref: stale_because(store, index) for index in found[:limit]}
    rows = [
        (
            index.ref,
            index.record["documents"],
            index.record["chunks"],
            (index.record["embedder"] or {"model": "words alone"})["model"],
            told_source(index.record["source"]),
            "; ".join(stale[index.ref]) or "",
        )
        for index in found[:limit]
    ]
    data = {
        "indexes": [{**index.record, "stale": stale[index.ref]} for index in found[:limit]],
        "total": len(found),
    }
    headers = ("index", "documents", "chunks", "embedder", "from", "stale")
    session.emit(data, lambda: session.rows(headers, rows, len(found)))


@app.command()
def show(
    context: typer.Context,
    ref: _Ref,
    documents: Annotated[bool, typer.Option("--documents", help="List its documents.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of documents.")] = LIMIT,
) -> None:
    """Show a version: what it is of, by what it is embedded, what was not taken, what is stale."""
    from llmops_tui.retrieval.chunk_file import ChunkFile
    from llmops_tui.retrieval.staleness import stale_because
    from llmops_tui.retrieval.told import index_text

    if not documents:
        refuse_idle(context, "goes with --documents, which lists them", "limit")
    session = session_of(context)
    store = store_of(session)
    index = store.get(ref)
    stale = stale_because(store, index)
    versions = [one.ref for one in store.log(index.record["name"])]
    data = {**index.record, "stale": stale, "versions": versions}
    if not documents:
        session.emit(data, lambda: f"{index_text(index.record, stale)}\nversions: {', '.join(versions)}")
        return
    with ChunkFile.opened(index.folder) as file:
        counts = list(file.chunk_counts().items())
    rows = [{"document": name, "chunks": count} for name, count in counts[:limit]]
    session.emit(
        {**data, "listed": rows, "total": len(counts)},
        lambda: session.rows(("document", "chunks"), counts[:limit], len(counts)),
    )


@app.command()
def search(
    context: typer.Context, ref: _Ref, query: _Query, by: _By = "", k: _K = 10, tokens: _Context = _CONTEXT
) -> None:
    """Search an index: chunks with their rank in each ranker, the words that they have, and their cosine."""
    from llmops_tui.retrieval.retriever import opened_retriever
    from llmops_tui.retrieval.staleness import stale_because
    from llmops_tui.retrieval.told import hit_text

    session = session_of(context)
    store = store_of(session)
    index = store.get(ref)
    way = way_of(by, index)
    if way == "everything":
        refuse_idle(context, "does not go with --by everything, which takes all chunks", "k")
    else:
        refuse_idle(context, f"goes with --by everything; {way} takes so many chunks as -k says", "tokens")
    with opened_retriever(store, index) as retriever:
        hits, compared = retriever.search(query, way, k, context=tokens)
    stale = stale_because(store, index)
    for why in stale:
        session.say(f"stale: {why} (llmops index build {index.record['name']})")
    if compared and compared < index.record["chunks"]:
        session.say(f"approximate: cosines of {compared:,} candidates of {counted(index.record['chunks'], 'chunk')}")
    data = {"index": index.ref, "query": query, "by": way, "hits": hits, "compared": compared, "stale": stale}
    session.emit(data, lambda: "\n\n".join(map(hit_text, hits)) or "(none)")


@app.command()
def why(
    context: typer.Context,
    ref: _Ref,
    query: _Query,
    chunk: Annotated[int | None, typer.Option("--chunk", min=1, help="The chunk that should have come.")] = None,
    text: Annotated[str, typer.Option("--text", help="Words of the passage that should have come.")] = "",
    by: _By = "",
    k: _K = 10,
) -> None:
    """Explain why a passage did not come: its rank in each ranker, its words, its cosine, what came instead, where it is cut."""
    from llmops_tui.retrieval.retriever import opened_retriever
    from llmops_tui.retrieval.told import why_text
    from llmops_tui.retrieval.why_not import explain, find_places, place_of_chunk

    session = session_of(context)
    if (chunk is None) == (not text):
        raise LlmopsError("usage", "give --chunk or --text", exit_code=ExitCode.USAGE)
    store = store_of(session)
    index = store.get(ref)
    with opened_retriever(store, index) as retriever:
        places = find_places(retriever, text) if chunk is None else [place_of_chunk(retriever, chunk)]
        found = explain(retriever, query, places, way_of(by, index), k)
    session.emit(found, lambda: why_text(found))


@app.command()
def remove(
    context: typer.Context,
    ref: Annotated[
        str, typer.Argument(metavar="INDEX", help="An index with all its versions, or one, such as name@3.")
    ],
    document: Annotated[
        list[str] | None, typer.Option("--document", help="Only this document, out of all versions; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete; without it, only a preview is shown.")] = False,
) -> None:
    """Delete an index, a version of it, or documents out of all its versions, with their words and vectors."""
    session = session_of(context)
    store = store_of(session)
    name, _, number = ref.partition("@")
    if document:
        if number:
            raise LlmopsError(
                "usage",
                f"--document goes with an index, such as {name}: it goes out of every version",
                exit_code=ExitCode.USAGE,
            )
        _remove_documents(session, store, name, document, yes=yes)
        return
    going = [store.get(ref)] if number else store.versions(name)
    if yes:
        going = store.remove(name, [index.record["number"] for index in going] if number else None)
    verb = "deleted" if yes else "would be deleted"
    data = {"removed": [index.ref for index in going], "done": yes}
    lines = [f"{verb}: {index.ref}, {index.record['bytes'] / 1e6:,.1f} MB" for index in going]
    lines = lines or [f"{verb}: {name}, no version of which can be read"]
    session.emit(data, lambda: "\n".join([*lines, *([] if yes else ["--yes deletes them"])]))


def _remove_documents(session: Session, store: IndexStore, name: str, names: list[str], *, yes: bool) -> None:
    from llmops_tui.retrieval.removal import documents_in, remove_documents

    there = [index for index in store.log(name) if documents_in(index, names)]
    changed = remove_documents(store, name, names) if yes else there
    data = {"index": name, "documents": names, "versions": [index.ref for index in changed], "done": yes}
    verb = "taken out of" if yes else "would be taken out of"
    told = f"{', '.join(names)}: {verb} {', '.join(index.ref for index in changed) or 'no version'}"
    session.emit(data, lambda: "\n".join([told, *([] if yes else ["--yes takes them out"])]))
