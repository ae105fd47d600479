"""What was retrieved for a request, as its trace has it: which search, how long it took, and which passages came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from llmops_tui.counts import counted
from llmops_tui.workspace.events import TracedRetrieval


def retrieved_of(client: Mapping[str, object] | None) -> list[TracedRetrieval]:
    """The searches that a trace's record of its sender has, one after the other; none of a record that is not whole."""
    found = (client or {}).get("retrieved")
    if not isinstance(found, list):
        return []
    whole = [one for one in found if isinstance(one, dict) and not TracedRetrieval.__required_keys__ - set(one)]
    return cast("list[TracedRetrieval]", whole)


def retrieval_words(found: TracedRetrieval) -> str:
    """One search in a line, each passage by its document, its characters and its score."""
    places = ", ".join(
        f"[{number}] {one['document'] or 'chunk ' + str(one['chunk'])} {one['start']}:{one['end']}"
        + (f" ({one['score']:.3g})" if one["score"] is not None else "")
        for number, one in enumerate(found["passages"], 1)
    )
    count = counted(len(found["passages"]), "passage")
    asked = f" for {found['query']!r}" if found["query"] else ""
    return f"{count} of {found['index']} by {found['by']}{asked}, {1000 * found['seconds']:.0f} ms: {places or 'none'}"
