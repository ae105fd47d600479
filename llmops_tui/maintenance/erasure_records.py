"""Records of forgetting: plans, receipts, and the ledger. None of them has content; moments are seconds since 1970."""

from __future__ import annotations

from typing import Literal, TypedDict

How = Literal["remove", "redact"]
HOWS: tuple[How, ...] = ("remove", "redact")


class FoundRecord(TypedDict):
    """Something that names the person: in which ``place``, how many things of it, with how many mentions.

    ``becomes`` says what is done to it; ``samples`` are half hidden.
    """

    place: str
    what: str
    things: int
    mentions: int
    becomes: str
    samples: list[str]


class RemedyRecord(TypedDict):
    """A way to be rid of what a model learned: ``exact`` where nothing of it can be left, and its cost where it is known."""

    what: str
    command: str
    exact: bool
    seconds: float | None
    basis: str


class TrainedRecord(TypedDict):
    """A training run whose data had the person, the models that came of it, and what can be done."""

    run: str
    data: list[str]
    rows: int
    base: str
    models: list[str]
    finished: bool
    remedies: list[RemedyRecord]


class PlanRecord(TypedDict):
    """What forgetting a person would do. ``in_the_way`` has to be ended first; ``staying`` is what nothing here erases.

    ``perhaps`` may mean the person, and is not erased unless it is given as another identifier.
    """

    identifiers: list[str]
    how: How
    found: list[FoundRecord]
    trained: list[TrainedRecord]
    in_the_way: list[str]
    staying: list[str]
    backups: list[str]
    perhaps: list[FoundRecord]
    done: bool


class RemadeRecord(TypedDict):
    """A thing whose content was made anew: its names, and the hash of what it is now; its old hash has a tombstone."""

    kind: str
    refs: list[str]
    now: str
    rows: int


class SearchedRecord(TypedDict):
    """A search through all bytes after an erasure: what was searched, and the files that still name the person."""

    files: int
    bytes: int
    left: list[str]


class ReceiptRecord(TypedDict):
    """What an erasure did: counts by place, things made anew by tombstone, models that learned from it, and the search after."""

    finished_at: float
    version: str
    counts: dict[str, int]
    remade: dict[str, RemadeRecord]
    trained: list[str]
    searched: SearchedRecord
    staying: list[str]
    sha256: str


class ErasureRecord(TypedDict):
    """An erasure in the ledger: begun, or done with its ``receipt``; ``again`` are those of later times, after restores.

    ``sealed`` is whom it is about, readable with the key of id ``key`` alone; ``fingerprints`` are keyed hashes of identifiers.
    ``planned`` counts what is to go by place, ``trained`` names the runs that learned from it, ``remade`` what is made anew, by
    the tombstone of its former hash.
    """

    id: str
    begun_at: float
    how: How
    key: str
    sealed: str
    fingerprints: list[str]
    planned: dict[str, int]
    trained: list[str]
    remade: dict[str, RemadeRecord]
    receipt: ReceiptRecord | None
    again: list[ReceiptRecord]


class ForgotDone(TypedDict):
    """What the job of forgetting tells."""

    erasure: str
    things: int
    left: list[str]
