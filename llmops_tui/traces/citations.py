"""Citations in answers, such as ``[2]``, held against the passages that were retrieved for them.

A citation names a passage by its number; whether that says what the sentence says is looked up in the index: its claims, as
:func:`~llmops_tui.evaluation.metrics.claims.support` finds them, and what it quotes letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypedDict

from llmops_tui.datasets.checks.sentences import sentences
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.claims import clauses, support
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.records import PassageRecord
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.traces.retrieved import retrieved_of
from llmops_tui.traces.store import Trace
from llmops_tui.workspace.catalog import Catalog

_CITED = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_ONE = re.compile(r"\d+")
# A sentence may be ended before what it cites.
_BEHIND = re.compile(r"([.!?…])((?:\s*\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\])+)")
# Shorter than this a quotation is a word that is talked about.
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{12,})[\"”“»]")
_SPACE = re.compile(r"\s+")
Verdict = Literal["supported", "unsupported", "misquoted", "no passage", "not known"]


class CitationRecord(TypedDict):
    """A citation: the sentence it stands in, the passage that it names by document and characters, and what that says of it.

    Where the sentence quotes it, ``start`` and ``end`` are those of the quoted words. ``not known``: the index has no such
    passage any more, so nobody can tell.
    """

    number: int
    sentence: str
    index: str
    document: str
    start: int | None
    end: int | None
    verdict: Verdict
    why: str


def citations_of(catalog: Catalog, trace: Trace) -> list[CitationRecord]:
    """The citations in a trace's answer, one after the other; none where nothing was retrieved for it."""
    searches = retrieved_of(trace.client)
    if not searches:
        return []
    known: dict[int, list[tuple[str, PassageRecord | None]]] = {}
    store = IndexStore(catalog)
    for one in searches:
        passages = _passages(store, one["index"], [passage["chunk"] for passage in one["passages"]])
        for number, passage in enumerate(one["passages"], 1):
            found = passages.get(passage["chunk"])
            # Another text under the same number is another passage.
            whole = found if found is not None and found["sha256"] == passage["sha256"] else None
            known.setdefault(number, []).append((one["index"], whole))
    return list(check_citations(trace.output, known, " ".join(one["query"] for one in searches)))


def _passages(store: IndexStore, ref: str, chunks: Sequence[int]) -> Mapping[int, PassageRecord]:
    try:
        with ChunkFile.opened(store.get(ref).folder) as file:
            return file.passages(chunks)
    except LlmopsError:
        return {}


def check_citations(
    answer: str, known: Mapping[int, Sequence[tuple[str, PassageRecord | None]]], asked: str
) -> Iterator[CitationRecord]:
    """Each citation of an answer; ``known`` are the passages of each number with their index, several after several searches.

    ``asked`` is what was searched for, whose words nobody has to prove.
    """
    for sentence in sentences(_BEHIND.sub(r"\2\1", answer)):
        said = _CITED.sub("", sentence).strip()
        for cited in _CITED.finditer(sentence):
            for number in map(int, _ONE.findall(cited[1])):
                passages = known.get(number, ())
                judged = [_judged(number, said, index, passage, asked) for index, passage in passages]
                # Of several passages with this number the one that says it is meant.
                yield min(judged, key=lambda one: _ORDER[one["verdict"]], default=_nothing(number, said))


_ORDER: dict[Verdict, int] = {"supported": 0, "not known": 1, "misquoted": 2, "unsupported": 3, "no passage": 4}


def _nothing(number: int, said: str) -> CitationRecord:
    return {
        "number": number, "sentence": said, "index": "", "document": "", "start": None, "end": None,
        "verdict": "no passage", "why": f"no passage has the number {number}",
    }  # fmt: skip


def _judged(number: int, said: str, index: str, passage: PassageRecord | None, asked: str) -> CitationRecord:
    if passage is None:
        gone = f"{index} does not have the passage any more"
        return {**_nothing(number, said), "index": index, "verdict": "not known", "why": gone}
    found: CitationRecord = {
        "number": number, "sentence": said, "index": index, "document": passage["document"],
        "start": passage["start"], "end": passage["end"], "verdict": "supported", "why": "",
    }  # fmt: skip
    for quoted in _QUOTED.finditer(said):
        words = [re.escape(word) for word in _SPACE.split(quoted[1].strip().rstrip(".,;:!?…"))]
        place = re.search(r"\s+".join(words), passage["text"], re.IGNORECASE)
        if place is None:
            return {**found, "verdict": "misquoted", "why": f"the passage does not have “{quoted[1].strip()}”"}
        found["start"], found["end"] = passage["start"] + place.start(), passage["start"] + place.end()
    text = "\n".join(filter(None, (passage["heading"], passage["text"])))
    if wrong := _strange(_QUOTED.sub(" ", said), text, asked) if _QUOTED.search(said) else _claimed(said, text, asked):
        return {**found, "verdict": "unsupported", "why": wrong}
    return found


def _claimed(said: str, text: str, asked: str) -> str:
    """What of a sentence a passage does not say."""
    return "; ".join(support(said, text, asked).unsupported)


def _strange(around: str, text: str, asked: str) -> str:
    """The names and numbers around a quotation that neither the passage nor the query has; "it says" need not stand there."""
    known = {stem for clause in clauses(f"{text}\n{asked}") for stem in clause.stems}
    strange = [name for clause in clauses(around) for name in clause.names if name not in known]
    return f"{', '.join(dict.fromkeys(strange))} is not in the text" if strange else ""


def citation_words(one: CitationRecord) -> str:
    """A citation in a line."""
    place = f" {one['document']} {one['start']}:{one['end']} of {one['index']}" if one["document"] else ""
    why = f" ({one['why']})" if one["why"] else ""
    return f"[{one['number']}]{place}: {one['verdict']}{why}"
