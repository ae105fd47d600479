"""Events of the event log: requests and feedback before the catalog has them. A newer version may add fields.

Times are milliseconds, moments seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from llmops_tui.foreign_text import JsonObject


class TracedExperiment(TypedDict, total=False):
    """Of which experiment a request was part: its id, ``a`` or ``b``, and the conversation as the experiment names it.

    ``pair`` joins the answers of both models to the same request.
    """

    id: str
    arm: str
    unit: str
    pair: str


class TracedPrompt(TypedDict):
    """The version of a served prompt that a request was made of, and the values of its variables, long ones cut."""

    name: str
    version: int
    sha256: str
    variables: JsonObject


class GuardVerdict(TypedDict, total=False):
    """What a guard said of a request or its answer: ``pass``, ``found`` or ``error``, by which tier, and in how many ms.

    ``mode`` is ``on`` or ``shadow``; in the shadow nothing was done. ``set`` names the version of its set, ``score`` is from
    0 to 1, ``places`` how many it found.
    """

    set: str
    guard: str
    side: str
    tier: str
    verdict: str
    action: str
    mode: str
    ms: float
    score: float
    why: str
    places: int


class TracedStep(TypedDict, total=False):
    """Of which chain's run a request was a step: the chain with its version, the run, and the step's place in it."""

    chain: str
    run: str
    step: str


class TracedWork(TypedDict, total=False):
    """Which work of this workspace a request was made for, such as a run of an evaluation: its kind, and what it is called.

    ``prompt`` is the version of a prompt that the request was made of. Those who talk to the model themselves have none.
    """

    kind: str
    name: str
    prompt: str


class TracedPassage(TypedDict):
    """A chunk of an index that was retrieved: which part of its document's text, with its score in the ranking.

    ``left_out`` are words of it that try to command the model, for which the prompt does not have its text, name or heading.
    """

    chunk: int
    document: str
    start: int
    end: int
    sha256: str
    score: float | None
    left_out: NotRequired[str]


class TracedRetrieval(TypedDict):
    """A search in an index whose passages went into a request: how it was asked, how long it took, and what came."""

    index: str
    query: str
    k: int
    by: str
    started_at: float
    seconds: float
    passages: list[TracedPassage]


class TracedSpan(TypedDict, total=False):
    """Of which trace of another application something was a step, by hexadecimal ids; what it did, and of which program."""

    trace: str
    span: str
    parent: str
    operation: str
    service: str
    scope: str


class ClientRecord(TypedDict, total=False):
    """What a client of the endpoint said beside its request, the name of the key it had, and the experiment it was part of.

    Of a request of this workspace's own, which has no ``key``: the ``chain`` whose step it is, the ``work`` it was made
    for, which a file of requests that others sent is, too, and what was ``retrieved`` for it.
    ``otlp``: it is a step of another application's. ``recording`` is that which it is of, ``replayed`` that which its answer
    is from. ``status``: the client asked what is refused, by this status from 400 to 499.
    """

    key: str | None
    metadata: JsonObject
    experiment: TracedExperiment
    guards: Sequence[GuardVerdict]
    chain: TracedStep
    work: TracedWork
    retrieved: list[TracedRetrieval]
    status: int
    otlp: TracedSpan
    recording: str
    replayed: str


class RequestRecord(TypedDict, total=False):
    """A request that has ended: who was asked what, what came, and the engine's figures, none where they are not known.

    ``thinking`` is what was thought before the ``output``. ``prompt`` and ``prompt_version`` name what it was rendered from;
    ``content`` says how much of it is kept, where that is not all; ``client`` is what a client of the endpoint said, with the
    name of its key.
    """

    started_at: float
    model: str
    model_sha256: str | None
    adapter_sha256: str | None
    engine: str | None
    prompt: str | None
    prompt_version: int | None
    variables: Mapping[str, object] | None
    messages: Sequence[Mapping[str, object]]
    parameters: Mapping[str, object]
    output: str
    thinking: str
    finish_reason: str
    stopped_by: str
    error: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    reused_tokens: int | None
    reasoning_tokens: int | None
    ttft_ms: float | None
    total_ms: float | None
    tokens_per_s: float | None
    content: str
    client: ClientRecord | None
    dropped_turns: int
    truncated_tokens: int
    thinking_closed: bool
    context: int
    seed: int
    drafted_tokens: int
    accepted_tokens: int


class FeedbackRecord(TypedDict, total=False):
    """What somebody said of a request; ``score`` is 1 or -1."""

    request: str
    score: int | None
    correction: str | None
    comment: str | None
    verdict: str | None
    source: str
    said_at: float
