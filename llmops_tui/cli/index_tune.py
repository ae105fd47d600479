"""``llmops index tune``: the weight of meaning against words, learnt on queries whose answers are known."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from llmops_tui.cli.index import store_of
from llmops_tui.cli.index_measure import queries_of
from llmops_tui.cli.output import refuse_idle, session_of


def tune(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="INDEX", help="An index, for its newest version.")],
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            help="JSON Lines: query, and documents or spans that should come; default: those you confirmed.",
        ),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="recall, hit, mrr or ndcg at a rank.")] = "mrr@10",
    preview: Annotated[bool, typer.Option("--preview", help="Say what was learnt, and keep nothing.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Weigh both alike again.")] = False,
) -> None:
    """Learn how hybrid search weighs meaning against words, and keep it as another version; nothing is embedded again."""
    from llmops_tui.evaluation.retrieval.weight_learning import learn_weight
    from llmops_tui.retrieval.told import fusion_text
    from llmops_tui.retrieval.weighting import keep_fusion

    if forget:
        refuse_idle(context, "goes with learning; give --forget alone", "queries", "metric", "preview")
    session = session_of(context)
    store = store_of(session)
    index = store.get(ref)
    if forget:
        kept = keep_fusion(store, index, None)
        session.emit({"index": kept.ref, "kept": True, "fusion": None}, lambda: f"{kept.ref} weighs both alike")
        return
    show = session.progress(f"tune {ref}")
    tell = lambda share, _what: show(share) if show else None  # noqa: E731
    with ExitStack() as stack:
        found = learn_weight(store, index, queries_of(session, stack, index, queries), tell, metric=metric)
    made = index if preview else keep_fusion(store, index, found)
    data = {"index": made.ref, "kept": not preview, "fusion": found}
    session.emit(data, lambda: f"{fusion_text(found)}\n{made.ref} {'is as it was' if preview else 'has it'}")
