"""Records of chains and their runs as files and ``--json`` have them. Moments are seconds since 1970."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from llmops_tui.foreign_text import JsonObject

SpanState = Literal["done", "failed"]


class VersionRecord(TypedDict):
    """A version of a chain; ``parent`` is the number it was made of."""

    chain: str
    version: int
    sha256: str
    parent: int | None
    text: str
    note: str
    created_at: float
    labels: list[str]


class SummaryRecord(TypedDict):
    """A chain in a list, with the version of each label."""

    chain: str
    latest: int
    versions: int
    labels: dict[str, int]
    changed_at: float


class ProblemRecord(TypedDict):
    """What is wrong with a chain, and on which line."""

    line: int
    place: str
    message: str
    hint: str


class CheckRecord(TypedDict):
    """What a check found: the order in which steps are done, by name, and what is wrong."""

    chain: str
    steps: list[list[str]]
    problems: list[ProblemRecord]


class SpanRecord(TypedDict):
    """One step that was done.

    ``path`` says where, such as ``each[3]/label`` or ``polish#2/draft``; ``key`` is the hash of all that decides its result.
    ``input`` is what it was given: messages of a prompt, a search with its query, its index and ``k``, the text that is read.
    ``output`` is its result; of steps that others are inside of it is left out, and ``rows`` and ``failed`` count those of a
    map. ``stopped`` is why a model stopped. ``trace`` is the request's id. ``cached``: the answer was there before.
    """

    path: str
    step: str
    kind: str
    key: str
    state: SpanState
    error: str
    input: Any
    output: Any
    started_at: float
    seconds: float
    model: str
    prompt: str
    prompt_tokens: int | None
    completion_tokens: int | None
    stopped: str
    trace: str
    cached: bool
    rows: int | None
    failed: int | None


class AgainRecord(TypedDict):
    """Of which run, by its job, and from which step on a run goes; what is before that step is as it was."""

    run: str
    step: str


class RunAsked(TypedDict):
    """What a run is asked for, complete: nothing that moves decides it.

    ``pins`` are the versions that names stood for when it began. Of a ``dataset`` each row is a run of its own, ``limit`` of
    them where it says so. ``fresh`` takes no answer of before ``begun_at``.
    ``models`` are the files of the models that answer, by name.
    """

    chain: str
    version: int | None
    text: str
    inputs: JsonObject
    dataset: str
    columns: dict[str, str]
    limit: int | None
    model: str
    fresh: bool
    begun_at: float
    pins: dict[str, str]
    again: AgainRecord | None
    models: NotRequired[dict[str, str]]


class RanRecord(TypedDict):
    """What a run came to. ``output`` is that of a single run; of a dataset each row's is a line of its results.

    ``all_failed`` names the dataset, or the map that is in no other one, of which every row failed; empty where there is none.
    """

    chain: str
    sha256: str
    rows: int
    failed: int
    all_failed: str
    requests: int
    cached: int
    tokens: int
    output: Any


class RunRecord(TypedDict):
    """A run in a list, by its job."""

    run: str
    chain: str
    state: str
    message: str
    cause: str
    inputs: JsonObject
    dataset: str
    model: str
    created_at: float
    finished_at: float | None
    result: RanRecord | None


class StepCost(TypedDict):
    """Of one step that asks a model: how many requests at least and at most, and what one took before, if it is known."""

    step: str
    model: str
    least: int
    most: int | None
    seconds: float | None
    tokens: float | None


class CostRecord(TypedDict):
    """What a run will ask for; ``most`` is none where a list's length is known only when it is there.

    ``seconds`` and ``tokens`` are of so many requests as are asked at least, by earlier runs; none where there are none.
    """

    chain: str
    rows: int
    steps: list[StepCost]
    least: int
    most: int | None
    seconds: float | None
    tokens: float | None
    measured: str
