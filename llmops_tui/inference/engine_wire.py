"""The protocol between a model server and its engine process: one JSON object per line.

Times are milliseconds, log-probabilities natural. Each message is kept whole, with what another version says beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, Required, TypedDict

from llmops_tui.errors import ErrorRecord
from llmops_tui.inference.wire import Timings
from llmops_tui.models.engine_settings import SettingsRecord

TokenRecord = list[Any]
"""[id, bytes, log-probability, alternatives as [id, bytes, log-probability]]; none where there is no log-probability."""

INFILL_UNSUPPORTED = (
    "the vocabulary of this model has no tokens that mark a gap",
    "Use a model that was trained to fill in, such as a code model.",
)
"""Why a text with a gap cannot be answered, and what to do."""
NO_RANK = (
    "this model does not rank texts: its file names no pooling of the kind 'rank'",
    "Use a reranking model, such as a cross-encoder or Qwen3-Reranker converted to GGUF.",
)
"""Why documents cannot be ranked, and what to do."""
NO_LABELS = (
    "this model gives texts no labels: its file does not name the outputs of a head (classifier.output_labels), or ranks pairs",
    "Use a model for sequence classification that was converted to GGUF with its labels.",
)
"""Why texts cannot be classified, and what to do."""


class EngineStart(SettingsRecord, total=False):
    """What an engine's process is started with: as :class:`llmops_tui.inference.engine.parameters.EngineOptions`."""

    path: str
    extra_buffers: bool


class EngineInfo(TypedDict, total=False):
    """What an engine says of the model it loaded; empty before it did. Lengths are in tokens, sizes in bytes.

    ``controls`` are the texts of the control tokens, ``marks`` those of others that are written like one. ``labels`` are what
    its head says of a text, in their order; what comes of them are probabilities where it ``head_normalises``, else logits.
    """

    n_ctx: int
    parallel: int
    n_vocab: int
    trained_context: int
    bos: str
    eos: str
    add_bos: bool
    controls: list[str]
    marks: list[str]
    can_trim: bool
    window: int
    embedding_length: int
    model_bytes: int
    engine: str
    fills: bool
    generates: bool
    ranks: bool
    labels: list[str]
    head_normalises: bool


class EngineState(TypedDict, total=False):
    """How full an engine is, and its counters since it started; empty where it told nothing yet."""

    running: int
    waiting: int
    slots: int
    cached_tokens: int
    cache_capacity: int
    snapshots: int
    snapshot_bytes: int
    requests: int
    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    steps: int
    prefill_seconds: float
    decode_seconds: float


class SamplingRecord(TypedDict, total=False):
    """``SamplingParameters`` of :mod:`llmops_tui.inference.sampling` as JSON has them, where numbers of tokens are texts."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    logit_bias: dict[int, float]
    max_tokens: int
    seed: int
    stop: tuple[str, ...]
    enable_thinking: bool
    thinking_budget: int


class ThinkingRecord(TypedDict):
    """How thinking is held to a ``budget`` of tokens: the marks around it, and what follows them where it is a message.

    ``open`` says that the prompt began it.
    """

    before: str
    after: str
    follow: str
    open: bool
    budget: int


class FileRecord(TypedDict):
    """A file, or a piece of one, that a model sees before the text it fills in."""

    filename: str
    text: str


class FillRecord(TypedDict):
    """A gap that is to be filled in: the text before it, or its tokens, and after it; ``suffix_first`` is the marks' order."""

    before: str | list[int]
    after: str
    files: list[FileRecord]
    suffix_first: bool


class Call(TypedDict, total=False):
    """What is asked of an engine; each operation reads its own of the fields.

    What is to be gone on from is a ``text``, or its ``tokens``, or what stands around a gap (``fill``), of which ``cut``
    tokens were left out. Of a text, the characters in the spans ``plain`` are part of no control token, and it ``begins``
    with the token that begins one where the vocabulary wants that. With ``sizes`` the bytes of each token of the answer are
    told. ``begun`` are the tokens that the answer begins with. ``inputs`` are the texts or tokens to embed, to classify, or to
    rank for a ``query``, ``name`` and ``path`` an adapter, which is let go of where the path is empty, and whose chat template
    may have further ``visible`` marks and ``ends`` of answers, ``texts`` the control tokens that are part of answers. What is to
    be counted is a message ``of`` another operation, with all its fields. A message that was ``tokenized`` off
    the loop has tokens, of which the first ``hidden`` were not given but added.
    """

    op: Required[
        Literal[
            "generate",
            "tokenize",
            "detokenize",
            "embed",
            "rank",
            "classify",
            "adapter",
            "state",
            "cancel",
            "visible",
            "count",
        ]
    ]
    of: Literal["generate", "embed", "rank", "classify"]
    id: str
    text: str
    add_special: bool
    plain: list[tuple[int, int]]
    begins: bool
    begun: list[int]
    thinking: ThinkingRecord
    sizes: bool
    tokens: list[int]
    fill: FillRecord
    cut: int
    parameters: SamplingRecord
    adapter: str
    logprobs: int | None
    score_from: int | None
    grammar: str
    truncate: str
    reuse: bool
    ignore_eos: bool
    hidden: int
    tokenized: bool
    parse_special: bool
    pieces: bool
    inputs: Sequence[str | list[int]]
    texts: list[str]
    query: str
    dimensions: int | None
    name: str
    path: str
    visible: list[str]
    ends: list[str]


FILTERED = "content_filter"
"""The code of a refusal by a guard, and the end of an answer that one cut off."""


class Generated(Timings, total=False):
    """What came of a generation; ``error`` says why there is no answer, ``stopped_by`` which stop text ended one."""

    finish_reason: Required[str]
    error: str
    stopped_by: str
    truncated_tokens: int
    seed: int
    drafted_tokens: int
    accepted_tokens: int


class Embedded(TypedDict):
    """What came of embedding: how many tokens the texts had, and how their vectors are made."""

    tokens: int
    pooling: str
    dimensions: int


class Told(EngineState, total=False):
    """What an engine answers to a short operation, or a part of it: each operation has its own of the fields."""

    text: str
    tokens: list[int]
    pieces: list[str]
    count: int
    longest: int
    index: int
    embedding: str
    adapter: str


Result = Generated | Embedded | EngineState | Told


class TextEvent(TypedDict):
    """Text of an answer that is certain, and the records of its tokens; ``sizes`` are the bytes of those that came since.

    The first one counts the tokens of the prompt.
    """

    id: str
    event: Literal["text"]
    text: str
    tokens: NotRequired[list[TokenRecord]]
    sizes: NotRequired[list[int]]
    prompt_tokens: NotRequired[int]
    reused_tokens: NotRequired[int]


class ScoredEvent(TypedDict):
    """Given tokens that were scored; the last of all parts says that it is."""

    id: str
    event: Literal["scored"]
    tokens: list[TokenRecord]
    last: bool


class PartEvent(TypedDict, total=False):
    """A part of what comes of a long text: tokens, the text of each, or a text."""

    id: Required[str]
    event: Required[Literal["part"]]
    text: str
    tokens: list[int]
    pieces: list[str]


class VectorEvent(TypedDict):
    """The vector of one of the texts, as the base64 of 32-bit numbers."""

    id: str
    event: Literal["vector"]
    index: int
    embedding: str


class DoneEvent(TypedDict):
    """The end of an operation."""

    id: str
    event: Literal["done"]
    result: Result


class ErrorEvent(TypedDict):
    """The end of an operation that failed: as :meth:`llmops_tui.errors.LlmopsError.as_dict`."""

    id: str
    event: Literal["error"]
    error: ErrorRecord


class Sign(TypedDict):
    """That a cancelled operation was ``dropped``, or that the engine is at work (``beat``)."""

    id: str
    event: Literal["dropped", "beat"]


Event = TextEvent | ScoredEvent | PartEvent | VectorEvent | DoneEvent | ErrorEvent | Sign


class PhaseEvent(TypedDict):
    """How far the start is; ``share`` goes from 0 to 1."""

    event: Literal["phase"]
    phase: str
    share: float


class ReadyEvent(TypedDict):
    """The model is loaded and was tried."""

    event: Literal["ready"]
    info: EngineInfo


class FailedEvent(TypedDict):
    """The engine cannot be started: as :meth:`llmops_tui.errors.LlmopsError.as_dict`."""

    event: Literal["failed"]
    error: ErrorRecord


class UnsoundEvent(TypedDict):
    """The model was loaded, and evaluates to what cannot be right."""

    event: Literal["unsound"]
    cause: str


class EndedEvent(TypedDict):
    """What the server notes of an engine that says no more: it ended, or said nothing for too long."""

    event: Literal["died", "hung"]


Starting = PhaseEvent | ReadyEvent | FailedEvent | UnsoundEvent | EndedEvent


class Standing(TypedDict, total=False):
    """How one process of an engine stands: ``state`` as of :class:`Health`.

    Where it is one of several, ``active`` are the requests it has, and ``asked`` those it had.
    """

    pid: Required[int | None]
    state: Required[str]
    last_failure: Required[str]
    active: int
    asked: int


class Health(EngineInfo, total=False):
    """What a model server says of itself at ``/health``: its ``status`` to everybody, the rest to who has its key.

    ``status`` is ``ok``, ``loading``, ``restarting``, ``failing``, ``silent`` or ``failed``; empty where nobody answers.
    Of the ``active`` requests, ``batched`` are of jobs that answer files. ``engines`` are told where there are several.
    """

    status: str
    error: ErrorRecord
    phase: str
    share: float
    retry_in_s: float
    model: str
    engine_pid: int | None
    engine_started: float | None
    active: int
    batched: int
    waiting: int
    last_failure: str
    fallback: dict[str, str]
    engines: list[Standing]
    state: EngineState
