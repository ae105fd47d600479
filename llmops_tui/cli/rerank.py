"""``llmops rerank``: texts in the order of how well they answer a query."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.cli.serve import endpoint_of
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.inference.wire import Reply


def rerank(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", help="A registered model that ranks texts.")],
    query: Annotated[str, typer.Option("--query", help="What the texts are ranked for.")],
    text: Annotated[list[str], typer.Option("--text", help="A text to rank; repeatable.")],
    top: Annotated[int | None, typer.Option("--top", min=1, help="Only so many of the best.")] = None,
) -> None:
    """Rank texts by how well they answer a query, the best first."""
    session = session_of(context)
    endpoint = endpoint_of(session, model)

    async def ask() -> Reply:
        from llmops_tui.inference.client import ModelClient

        async with ModelClient(endpoint) as client:
            return await client.complete("/v1/rerank", {"query": query, "documents": text, "top_n": top})

    answer = asyncio.run(ask())
    ranked = [{"index": r["index"], "score": r["relevance_score"], "text": text[r["index"]]} for r in answer["results"]]
    data = {"model": model, "query": query, "results": ranked, "usage": answer["usage"]}
    session.emit(data, lambda: "\n".join(f"{r['score']:10.4f}  {safe_line(str(r['text']))}" for r in ranked))
