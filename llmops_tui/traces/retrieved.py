"""What was retrieved for a request, as its trace has it: which search, how long it took, and which passages came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.events import TracedRetrieval

if TYPE_CHECKING:
    from llmops_tui.retrieval.store import IndexStore


def retrieved_of(client: Mapping[str, object] | None) -> list[TracedRetrieval]:
    """The searches that a trace's record of its sender has, one after the other; none of a record that is not whole."""
    found = (client or {}).get("retrieved")
    if not isinstance(found, list):
        return []
    whole = [one for one in found if isinstance(one, dict) and not TracedRetrieval.__required_keys__ - set(one)]
    return cast("list[TracedRetrieval]", whole)


def passages_of(
    store: IndexStore, searches: Iterable[TracedRetrieval]
) -> Callable[[TracedRetrieval], list[str] | None]:
    """The texts of what searches found, each index opened once; none of a search of which an index has a passage no more."""
    from llmops_tui.retrieval.chunk_file import ChunkFile

    wanted: dict[str, dict[str, int]] = {}
    for one in searches:
        wanted.setdefault(one["index"], {}).update((passage["sha256"], passage["chunk"]) for passage in one["passages"])
    known: dict[tuple[str, str], str] = {}
    for ref, hashes in wanted.items():
        try:
            with ChunkFile.opened(store.get(ref).folder) as file:
                found = file.passages(sorted(hashes.values()))
                # Their numbers are others where a document was taken out; all chunks are looked through for those alone.
                if moved := hashes.keys() - {passage["sha256"] for passage in found.values()}:
                    found |= file.passages(file.with_hashes(moved))
        except LlmopsError:
            continue
        known |= {
            (ref, passage["sha256"]): "\n".join(filter(None, (passage["heading"], passage["text"])))
            for passage in found.values()
        }

    def texts(search: TracedRetrieval) -> list[str] | None:
        found = [known.get((search["index"], passage["sha256"])) for passage in search["passages"]]
        there = [text for text in found if text is not None]
        return there if len(there) == len(found) else None

    return texts


def retrieval_words(found: TracedRetrieval) -> str:
    """One search in a line, each passage by its document, its characters and its score."""
    places = ", ".join(
        f"[{number}] {one['document'] or 'chunk ' + str(one['chunk'])} {one['start']}:{one['end']}"
        + (f" ({one['score']:.3g})" if one["score"] is not None else "")
        + (f" (left out: {one['left_out']!r} tries to command the model)" if "left_out" in one else "")
        for number, one in enumerate(found["passages"], 1)
    )
    count = counted(len(found["passages"]), "passage")
    asked = f" for {found['query']!r}" if found["query"] else ""
    return f"{count} of {found['index']} by {found['by']}{asked}, {1000 * found['seconds']:.0f} ms: {places or 'none'}"
