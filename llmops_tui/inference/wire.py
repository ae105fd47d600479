"""The parts of OpenAI's API that are read; other fields of a response are preserved.

Times are milliseconds, log-probabilities natural. Of another's server nothing here is sure to be there.
"""

from __future__ import annotations

from typing import Any, TypedDict


class ChatMessage(TypedDict, total=False):
    """A turn of a conversation; ``content`` is text, or parts as the API has them."""

    role: str
    content: Any


class Usage(TypedDict, total=False):
    """Tokens of a prompt and of its answer."""

    prompt_tokens: int | None
    completion_tokens: int | None
    prompt_tokens_details: dict[str, int]


class Timings(TypedDict, total=False):
    """The figures of a generation, of our own engine or as a client counted them; none where they are not known.

    ``reused_tokens`` of the prompt did not have to be evaluated again; ``ttft_ms`` is the time to the first token.
    """

    prompt_tokens: int | None
    completion_tokens: int | None
    reused_tokens: int | None
    ttft_ms: float | None
    total_ms: float | None
    tokens_per_s: float | None


class TopToken(TypedDict):
    """A token that might have been there, and its log-probability."""

    token: str
    logprob: float


class TokenProbability(TopToken, total=False):
    """A token of an answer, and the likeliest at its place."""

    top_logprobs: list[TopToken]


class Probabilities(TypedDict, total=False):
    """Log-probabilities: ``content`` of a chat's answer, the others of a text."""

    content: list[TokenProbability] | None
    tokens: list[str]
    token_logprobs: list[float | None]


class Choice(TypedDict, total=False):
    """One answer of a reply: a message of a chat, or a text."""

    index: int
    message: ChatMessage
    delta: ChatMessage
    text: str
    finish_reason: str | None
    logprobs: Probabilities | None


class Embedded(TypedDict):
    """The embedding of one of the texts."""

    index: int
    embedding: list[float]


class Reply(TypedDict, total=False):
    """What an endpoint answers: choices, or of ``/v1/embeddings`` data, or of ``/tokenize`` tokens with their text."""

    choices: list[Choice]
    usage: Usage
    timings: Timings
    data: list[Embedded]
    tokens: list[int]
    pieces: list[str]
    text: str
