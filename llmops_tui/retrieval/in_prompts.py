"""What prompts retrieve: ``{{ retrieve(question, 5) }}`` in a template gives passages of an index, numbered, with their source.

Passages are data. They are values of the template, so no template in them is rendered; in messages no text is a control token;
and one that tries to command the model is left out and said to be, unless the prompt asks for it as it is. What it says is told
in the trace alone: a guard would refuse it in the prompt, and with it the question of whoever finds that document.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.retrieval_asked import note_retrieval

if TYPE_CHECKING:
    from llmops_tui.inference.retrieval_asked import GivenPassage, RetrievalAsked
    from llmops_tui.retrieval.records import HitRecord
    from llmops_tui.retrieval.retriever import By, Embed
    from llmops_tui.retrieval.store import Index, IndexStore
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.events import TracedPassage, TracedRetrieval

MOST = 100
LEFT_OUT = "(left out: it tries to command the model)"


class HeldVersion(TypedDict):
    """A version of an index that is searched, and its hash."""

    ref: str
    sha256: str


HeldVersions = dict[str, HeldVersion]
"""The versions that are searched, by the names that prompts have for them; the empty name is the only index there is."""


class PromptRetrieval:
    """Answers what templates ask for, from the indexes of a workspace.

    Few prompts ask for anything, and what searches is loaded for them alone.
    """

    def __init__(self, catalog: Catalog, embed: Embed | None = None) -> None:
        self._catalog = catalog
        self._embed = embed
        self._used: dict[str, str] = {}
        self._held: HeldVersions = {}
        self._note: Callable[[HeldVersions], None] | None = None
        self._holding = threading.Lock()

    def hold(self, began: Mapping[str, HeldVersion], note: Callable[[HeldVersions], None]) -> None:
        """From now on a name means the version that it meant when it was asked for first, however many are built.

        ``began`` are those of before, which count as used; each further one is given to ``note`` before it is searched.
        """
        self._held, self._note = dict(began), note
        self._used = {one["ref"]: one["sha256"] for one in began.values()}

    def take_used(self) -> dict[str, str]:
        """The versions of indexes that passages came from since this was asked last, with the hash of each."""
        used, self._used = self._used, {}
        return dict(sorted(used.items()))

    def __call__(self, asked: RetrievalAsked) -> list[dict[str, object]]:
        """The passages, each with ``number``, ``source``, ``text`` and where it is.

        Raises:
            InputRefusedError: ``which_index``: there is none, or several and none is named; ``bad_retrieval``.
            NotFoundError: there is no such index.
        """
        if not 0 < asked["k"] <= MOST:
            raise InputRefusedError("bad_retrieval", f"retrieve() takes 1 to {MOST} passages, not {asked['k']}")
        # In a thread of its own: whoever renders may be in an event loop, and a query is embedded in one.
        with ThreadPoolExecutor(1) as alone:
            told, found = alone.submit(self._found, asked).result()
        note_retrieval(told, [_noted(told["index"], *both) for both in zip(told["passages"], found, strict=True)])
        return found

    def _found(self, asked: RetrievalAsked) -> tuple[TracedRetrieval, list[dict[str, object]]]:
        from llmops_tui.retrieval.retriever import opened_retriever
        from llmops_tui.retrieval.store import IndexStore

        store = IndexStore(self._catalog)
        index = self._index(store, asked["index"])
        self._used[index.ref] = index.record["sha256"]
        began, clock = time.time(), time.monotonic()
        with opened_retriever(store, index, self._embed) as retriever:
            by = _way(asked["by"], retriever.best_way)
            hits, _ = retriever.search(asked["query"], by, asked["k"])
        told: TracedRetrieval = {
            "index": index.ref,
            "query": asked["query"],
            "k": asked["k"],
            "by": by,
            "started_at": began,
            "seconds": time.monotonic() - clock,
            "passages": [_traced(hit, check=asked["check"]) for hit in hits],
        }
        return told, [_given(number, hit, check=asked["check"]) for number, hit in enumerate(hits, 1)]

    def _index(self, store: IndexStore, name: str) -> Index:
        if self._note is None:
            return _index(store, name)
        with self._holding:
            if (held := self._held.get(name)) is not None:
                return store.get(held["ref"])
            found = _index(store, name)
            # By whatever name: a prompt that says it and one that does not mean the same version.
            own = found.record["name"]
            if name in {"", own} and own in self._held:
                found = store.get(self._held[own]["ref"])
            version: HeldVersion = {"ref": found.ref, "sha256": found.record["sha256"]}
            self._held |= dict.fromkeys({name, own} if name in {"", own} else {name}, version)
            self._note(dict(sorted(self._held.items())))
            return found


def _index(store: IndexStore, ref: str) -> Index:
    if ref:
        return store.get(ref)
    names = store.names()
    if len(names) == 1:
        return store.get(names[0])
    told = f"there are several indexes: {', '.join(names)}" if names else "there is no index"
    hint = f'Name it: retrieve(question, 5, "{names[0]}").' if names else "llmops index build NAME --from SOURCE."
    raise InputRefusedError("which_index", f"retrieve() does not know where to look: {told}", hint)


def _way(given: str, usual: By) -> By:
    from llmops_tui.retrieval.retriever import WAYS

    found: By | None = next((way for way in WAYS if way == given), None) if given else usual
    if found is None:
        raise InputRefusedError("bad_retrieval", f"retrieve() searches by {', '.join(WAYS)}, not by {given!r}")
    return found


def _traced(hit: HitRecord, *, check: bool) -> TracedPassage:
    passage = hit["passage"]
    told: TracedPassage = {
        "chunk": passage["chunk"],
        "document": passage["document"],
        "start": passage["start"],
        "end": passage["end"],
        "sha256": passage["sha256"],
        "score": hit["score"],
    }
    said = [_command(one) for one in (passage["text"], passage["document"], passage["heading"])] if check else []
    if found := next(filter(None, said), ""):
        told["left_out"] = found
    return told


def _given(number: int, hit: HitRecord, *, check: bool) -> dict[str, object]:
    passage = hit["passage"]
    page = f", p. {passage['page']}" if passage["page"] is not None else ""
    # Its name and its headings are as foreign as its text.
    document = _checked(passage["document"], check=check)
    return {
        "number": number,
        "source": f"{document}{page}, characters {passage['start']} to {passage['end']}",
        "text": _checked(passage["text"], check=check),
        "document": document,
        "start": passage["start"],
        "end": passage["end"],
        "page": passage["page"],
        "heading": _checked(passage["heading"], check=check),
        "sha256": passage["sha256"],
        "chunk": passage["chunk"],
        "score": hit["score"],
    }


def _noted(index: str, traced: TracedPassage, given: dict[str, object]) -> GivenPassage:
    document, heading, text = (
        "" if given[name] == LEFT_OUT else str(given[name]) for name in ("document", "heading", "text")
    )
    found: GivenPassage = {
        "index": index, "document": document, "start": traced["start"], "end": traced["end"], "heading": heading, "text": text,
    }  # fmt: skip
    return {**found, "left_out": traced["left_out"]} if "left_out" in traced else found


def _checked(text: str, *, check: bool) -> str:
    return LEFT_OUT if check and _command(text) else text


def _command(text: str) -> str:
    from llmops_tui.datasets.checks.texts import command_in

    return command_in(text)
