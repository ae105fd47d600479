"""The parts of OpenAI's API that are read; other fields of a response are preserved.

Times are milliseconds, log-probabilities natural. Of another's server nothing here is sure to be there.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Called(TypedDict):
    """A function that a model calls; the arguments are a text of JSON, or what templates want in its place."""

    name: str
    arguments: Any


class ToolCall(TypedDict, total=False):
    """A call of a tool; ``index`` counts those of an answer."""

    index: int
    id: str
    type: str
    function: Called


class ChatMessage(TypedDict, total=False):
    """A turn of a conversation; ``content`` is text, or parts as the API has them.

    What was thought is ``reasoning_content``, which some servers call ``reasoning``.
    """

    role: str
    content: Any
    reasoning_content: str
    reasoning: str
    tool_calls: list[ToolCall]


class Usage(TypedDict, total=False):
    """Tokens of a prompt and of its answer."""

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class Timings(TypedDict, total=False):
    """The figures of a generation, of our own engine or as a client counted them; none where they are not known.

    ``reasoning_tokens`` of the answer were thinking.

    ``context`` is how many tokens prompt and answer may have together. ``thinking_closed``: its budget ended the thinking,
    and not the model.

    ``reused_tokens`` of the prompt did not have to be evaluated again; ``ttft_ms`` is the time to the first token.
    """

    prompt_tokens: int | None
    completion_tokens: int | None
    reused_tokens: int | None
    reasoning_tokens: int | None
    ttft_ms: float | None
    total_ms: float | None
    tokens_per_s: float | None
    thinking_closed: bool
    context: int


class TopToken(TypedDict):
    """A token that might have been there, and its log-probability; ``bytes`` are those of its text, ``id`` its number."""

    token: str
    logprob: float
    bytes: NotRequired[list[int]]
    id: NotRequired[int]


class TokenProbability(TopToken, total=False):
    """A token of an answer, and the likeliest at its place."""

    top_logprobs: list[TopToken]


class Probabilities(TypedDict, total=False):
    """Log-probabilities: ``content`` of a chat's answer, the others of a text."""

    content: list[TokenProbability] | None
    refusal: str | None
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    token_ids: list[int]


class Choice(TypedDict, total=False):
    """One answer of a reply: a message of a chat, or a text."""

    index: int
    message: ChatMessage
    delta: ChatMessage
    text: str
    finish_reason: str | None
    logprobs: Probabilities | None


class ErrorDetail(TypedDict, total=False):
    """What went wrong; ``param`` is the field that it is about, ``hint`` what to do next."""

    message: str
    type: str
    param: str | None
    code: str | None
    hint: str


class ErrorBody(TypedDict):
    """The answer to a request that failed; another's server may say just a text."""

    error: ErrorDetail


class Embedded(TypedDict):
    """The embedding of one of the texts."""

    index: int
    embedding: list[float]


class RankedDocument(TypedDict):
    """The place of a document among all that were ranked, and its text."""

    text: str


class Ranked(TypedDict):
    """One document of a ranking: its place among those given, its score, and the document where it was asked for."""

    index: int
    relevance_score: float
    document: NotRequired[RankedDocument]


class Classified(TypedDict):
    """One text that was classified: the likeliest label, and the probability of each in the order of the answer's ``labels``.

    A label that a model has alone is said from a half on, and none below. ``chosen`` are those from a half on, where several
    may be right.
    """

    index: int
    label: str | None
    probs: list[float]
    num_classes: int
    chosen: NotRequired[list[str]]


class Warned(TypedDict):
    """What could not be done as asked, told beside the answer.

    ``param`` is the field that asked for it, ``pointer`` the place of a keyword in the schema of that field, ``choice`` the
    index of the answer that it is about, where there are several.
    """

    param: str
    message: str
    pointer: NotRequired[str]
    choice: NotRequired[int]


class Reply(TypedDict, total=False):
    """What an endpoint answers: choices, or of ``/v1/embeddings`` data, or tokens with their text, or results.

    ``labels`` are those of ``/v1/classify``, whose data are :class:`Classified`; ``threshold`` is that of a trained head.
    """

    choices: list[Choice]
    usage: Usage
    timings: Timings
    data: list[Embedded]
    results: list[Ranked]
    labels: list[str]
    threshold: float
    tokens: list[int]
    pieces: list[str]
    text: str
    warnings: list[Warned]
    system_fingerprint: str | None


class Completion(Reply, total=False):
    """A whole answer of ours, or an event of its stream."""

    id: str
    object: str
    created: int
    model: str
