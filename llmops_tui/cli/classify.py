"""``llmops classify``: labels of texts, with the probability of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.cli.serve import endpoint_of
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.inference.wire import Classified, Reply


def classify(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", help="A registered model that classifies, or that a head was trained on.")
    ],
    text: Annotated[list[str], typer.Option("--text", help="A text to classify; repeatable.")],
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Several labels may be right: each by itself.")
    ] = False,
    head: Annotated[str, typer.Option("--head", help="A head of llmops guard train on this model's embeddings.")] = "",
) -> None:
    """Give texts labels, with the probability of each."""
    session = session_of(context)
    endpoint = endpoint_of(session, model)

    async def ask() -> Reply:
        from llmops_tui.inference.client import ModelClient

        async with ModelClient(endpoint) as client:
            asked = {"input": text, "multi_label": multi_label, "head": head or None}
            return await client.complete("/v1/classify", asked)

    answer = asyncio.run(ask())
    found = cast("list[Classified]", answer["data"])
    labels, threshold = answer["labels"], answer.get("threshold")
    told = {} if threshold is None else {"threshold": threshold}
    data = {"model": model, "labels": labels, "results": found, "usage": answer["usage"], **told}
    session.emit(data, lambda: "\n".join(line_of(one, labels, text[one["index"]], threshold) for one in found))


def line_of(one: Classified, labels: Sequence[str], text: str, threshold: float | None) -> str:
    """What is printed of a text: its label, the likeliest ones, and from where on the first of all labels is meant."""
    best = sorted(zip(labels, one["probs"], strict=True), key=lambda each: -each[1])[:3]
    told = ", ".join(f"{safe_line(label)} {share:.3f}" for label, share in best)
    if threshold is not None:
        told += f"; {safe_line(labels[0])} from {threshold:.3f} on"
    said = one["chosen"] if "chosen" in one else [one["label"]] if one["label"] is not None else []
    chosen = ", ".join(map(safe_line, said)) or "none"
    return f"{chosen}  ({told})  {safe_line(text)}"
