"""Replies of models as answers to cases."""

from __future__ import annotations

import math

from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.inference.asking.cache import Kept
from llmops_tui.inference.wire import ChatMessage, Reply


def read_answer(
    reply: Reply,
    *,
    trace: str = "",
    cached: bool = False,
    kept_at: float | None = None,
    asked: tuple[ChatMessage, ...] = (),
) -> Answer:
    """An answer from a reply of chat or text; one from the cache with the time at which it was given."""
    choice = reply["choices"][0]
    message = choice.get("message") or {}
    text = message.get("content") or choice.get("text") or ""
    usage, timings = reply.get("usage") or {}, reply.get("timings") or {}
    told = (choice.get("logprobs") or {}).get("content") or []
    return Answer(
        text=text,
        finish_reason=choice.get("finish_reason") or "",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        ttft_ms=timings.get("ttft_ms"),
        total_ms=timings.get("total_ms"),
        tokens_per_s=timings.get("tokens_per_s"),
        logprob=sum(t["logprob"] for t in told) if told else None,
        trace=trace,
        cached=cached,
        thinking=message.get("reasoning_content") or message.get("reasoning") or "",
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or None,
        kept_at=kept_at,
        asked=asked,
    )


def read_choices(
    reply: Reply, sizes: list[int], *, trace: str = "", cached: bool = False, kept_at: float | None = None
) -> Answer:
    """The log-probabilities of choices from a reply to their texts; ``sizes`` are their numbers of tokens."""
    sums = []
    for choice, size in zip(sorted(reply["choices"], key=lambda c: c["index"]), sizes, strict=True):
        told = (choice.get("logprobs") or {}).get("token_logprobs", [])[-size:] if size else []
        found = [p for p in told if p is not None and math.isfinite(p)]
        if not found or len(found) < len(told):
            return Answer(error="the model returned no log-probabilities for a choice", trace=trace, cached=cached)
        sums.append(sum(found))
    timings = reply.get("timings") or {}
    return Answer(
        choice_logprobs=tuple(sums),
        choice_tokens=tuple(sizes),
        finish_reason="stop",
        trace=trace,
        cached=cached,
        kept_at=kept_at,
        prompt_tokens=(reply.get("usage") or {}).get("prompt_tokens"),
        total_ms=timings.get("total_ms"),
    )


def kept_answer(kept: Kept, asked: tuple[ChatMessage, ...] = ()) -> Answer:
    """An answer that was given before, as the cache has it."""
    return read_answer(kept.reply, cached=True, kept_at=kept.at, asked=asked)
