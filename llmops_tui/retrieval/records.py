"""What is kept and told of indexes, as JSON has it."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from llmops_tui.embeddings.embedder import EmbedderRecord

SourceKind = Literal["dataset", "folder"]


class SourceRecord(TypedDict):
    """Where the documents of an index come from.

    Of a dataset: ``place`` is its name, ``version`` the number, ``sha256`` the hash of its rows, ``of`` what of each row is
    the text, ``id_column`` the column that names the documents; empty: by their row. Of a folder: ``place`` is its path.
    """

    kind: SourceKind
    place: str
    version: int
    sha256: str
    of: str
    id_column: str


class ChunkerRecord(TypedDict):
    """How documents were cut: by which revision of the chunker, into about how many tokens."""

    revision: int
    tokens: int


class RefusedRecord(TypedDict):
    """A document that could not be taken, and why; of a file what it was like then, so that a mended one is noticed.

    ``file_sha256`` is empty of a file that could not be read at all.
    """

    document: str
    why: str
    file_sha256: NotRequired[str]
    size: NotRequired[int]
    mtime_ns: NotRequired[int]


class RerankerRecord(TypedDict):
    """The model that puts what was found in another order, by its hash."""

    model: str
    sha256: str


class WriterRecord(TypedDict):
    """A local model that writes about documents, by its hash."""

    model: str
    sha256: str


class ContextRecord(WriterRecord):
    """What wrote the contexts of chunks; ``prompt_sha256`` is the hash of how they were asked for."""

    prompt_sha256: str


class FusionRecord(TypedDict):
    """How hybrid search weighs meaning against words, as it was learnt on labelled queries.

    ``weight`` is that of meaning. ``queries`` of a file with the hash ``queries_sha256`` were searched for in the
    version ``of``, whose chunks have the hash ``content``. ``mean`` is the ``metric`` of hybrid on queries that its weight was
    not learnt on, ``alone`` that of ``baseline``, the better of both rankers alone; ``gain`` the difference query by query with
    its interval of 95 %, ``p`` that of the permutation test, ``smallest`` the smallest gain that so many queries show with a
    power of 80 %, ``needed`` how many would show this one. ``recommended`` is how the index is searched unless somebody
    says otherwise. ``query_hashes`` tell the queries apart, whatever file they stand in; ``left_out`` are those of the file for
    which nothing should come.
    """

    method: str
    weight: float
    metric: str
    queries: int
    queries_sha256: str
    query_hashes: NotRequired[list[str]]
    left_out: NotRequired[int]
    of: str
    content: str
    baseline: str
    mean: float
    alone: float
    gain: float
    low: float | None
    high: float | None
    p: float
    smallest: float | None
    needed: int | None
    recommended: str


class IndexRecord(TypedDict):
    """A version of an index.

    ``sha256`` is the hash of all that decides what it finds. ``folder`` has its files. ``excluded`` are documents that
    somebody took out, which stay out when it is built again. ``other_files`` counts the files of the folder by ending that no
    reader is for. Without ``embedder`` it is searched by words alone; ``pooling`` is how its model makes one vector of those of
    all tokens; with ``reranker`` what was found can be put in another order by it. ``computed`` vectors were made for this
    version, ``reused`` were there; ``cut`` chunks were too long for the model. ``tokens`` is an estimate. With ``fusion`` hybrid
    search has a weight that was learnt; ``content`` is the hash of what can be found at all, without what orders it. With
    ``context`` each chunk is searched with a context that a model wrote.
    """

    name: str
    number: int
    sha256: str
    folder: str
    source: SourceRecord
    chunker: ChunkerRecord
    embedder: EmbedderRecord | None
    pooling: str
    excluded: list[str]
    refused: list[RefusedRecord]
    other_files: dict[str, int]
    documents: int
    chunks: int
    tokens: int
    dimensions: int
    computed: int
    reused: int
    cut: int
    bytes: int
    seconds: float
    made_at: float
    reranker: NotRequired[RerankerRecord | None]
    fusion: NotRequired[FusionRecord | None]
    content: NotRequired[str]
    context: NotRequired[ContextRecord | None]


class BuildRecord(TypedDict):
    """What a build is asked for. ``take_back``: documents that were taken out before are in it again."""

    source: SourceRecord
    tokens: int
    embedder: EmbedderRecord | None
    take_back: bool
    reranker: NotRequired[RerankerRecord | None]
    fusion: NotRequired[FusionRecord | None]
    context: NotRequired[ContextRecord | None]


class ContextCostRecord(TypedDict):
    """What the contexts of an index take before they are written: of ``chunks`` so many are ``known`` already.

    ``prompt_tokens`` are those that are evaluated, about, ``answer_tokens`` those that are written. ``seconds`` is projected from
    the speed at which the first ``measured`` were written, none where none had to be. ``samples`` are what these came to.
    """

    chunks: int
    known: int
    prompt_tokens: int
    answer_tokens: int
    seconds: float | None
    measured: int
    samples: list[str]


class WrittenQueryRecord(TypedDict):
    """A query that a model wrote about a passage, which is the characters from ``start`` to ``end`` of a document.

    ``sha256`` is the hash of the passage's text. ``state`` is open, confirmed or rejected; ``of`` the version whose chunk it was
    written about; ``copied`` the share of its words that the passage has.
    """

    id: str
    query: str
    document: str
    start: int
    end: int
    sha256: str
    state: str
    model: str
    model_sha256: str
    of: str
    copied: float


class QueriesRecord(TypedDict):
    """What a job wrote: how many queries, how many fell, how many there are now.

    They fell as ``alike`` to others, as ``empty``, or with their passage, which was taken out meanwhile: ``gone``.
    """

    index: str
    written: int
    alike: int
    empty: int
    gone: int
    total: int


class BuiltRecord(TypedDict):
    """What a build came to; ``unchanged``: the version that was there is as it would be made now."""

    index: IndexRecord
    unchanged: bool


class PassageRecord(TypedDict):
    """A chunk: a part of a document's text, from the character ``start`` up to ``end``.

    ``page`` is its page in a PDF, ``heading`` the headings above it, ``sha256`` the hash of its text. ``context`` is what a model
    wrote for it to be found by; it is no part of the text.
    """

    chunk: int
    document: str
    start: int
    end: int
    page: int | None
    heading: str
    sha256: str
    tokens: int
    text: str
    context: NotRequired[str]


class HitRecord(TypedDict):
    """A chunk that was found: its rank in each ranker, none where that did not rank it among its first.

    ``score`` is that of the ranking it was found by; ``terms`` are those of the query that it has.
    """

    rank: int
    passage: PassageRecord
    score: float | None
    bm25_rank: int | None
    bm25: float | None
    vectors_rank: int | None
    cosine: float | None
    terms: list[str]


class FoundRecord(TypedDict):
    """What a search found; ``compared`` of how many chunks the cosine was taken, ``stale`` what differs from the source now."""

    index: str
    query: str
    by: str
    hits: list[HitRecord]
    compared: int
    stale: list[str]


class TermRecord(TypedDict):
    """A term of a query: whether the passage has it, and in how many chunks it is."""

    term: str
    matched: bool
    chunks: int


class PieceRecord(TypedDict):
    """A chunk that has a part of the passage: its ranks and scores, none where a ranker does not rank it at all."""

    passage: PassageRecord
    share: float
    bm25_rank: int | None
    bm25: float | None
    vectors_rank: int | None
    cosine: float | None
    hybrid_rank: int | None


class WhyRecord(TypedDict):
    """Why a passage was found where it was, or not at all.

    ``pieces`` are the chunks that have parts of it, the largest first: several where a border of chunks cuts it. ``places`` is
    how often its text is in the index. ``beaten_by`` are the best that came instead. ``reasons`` say it in words.
    """

    index: str
    query: str
    by: str
    k: int
    document: str
    start: int
    end: int
    places: int
    pieces: list[PieceRecord]
    terms: list[TermRecord]
    beaten_by: list[HitRecord]
    found: bool
    reasons: list[str]
