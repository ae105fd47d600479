"""Response bodies of the endpoint: errors, envelopes of choices, token counts, log-probabilities."""

from __future__ import annotations

import time

from llmops_tui.inference.engine_wire import Generated, TokenRecord
from llmops_tui.inference.wire import Choice, Completion, ErrorBody, Probabilities, TopToken, Usage


def error_body(
    code: str, message: str, hint: str = "", kind: str = "invalid_request_error", param: str | None = None
) -> ErrorBody:
    """An error in OpenAI's form, with our hint beside it; ``param`` is the field that it is about."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code, "hint": hint}}


def envelope(kind: str, request_id: str, model: str, choices: list[Choice], *, chunk: bool) -> Completion:
    """What every completion has around its choices; ``kind`` is ``chat`` or ``text``."""
    name = ("chat.completion.chunk" if chunk else "chat.completion") if kind == "chat" else "text_completion"
    return {"id": request_id, "object": name, "created": int(time.time()), "model": model, "choices": choices}


def usage(results: list[Generated], choices_a_prompt: int = 1) -> Usage:
    """Token counts of all choices in OpenAI's form; a prompt counts once, however many choices it has."""
    prompt = sum(count(r["prompt_tokens"]) for r in results[::choices_a_prompt])
    made = sum(count(r["completion_tokens"]) for r in results)
    cached = sum(count(r["reused_tokens"]) for r in results[::choices_a_prompt])
    told: Usage = {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return told


def _text(raw: list[int]) -> str:
    return bytes(raw).decode("utf-8", "replace")


def count(known: int | None) -> int:
    """A count that the engine told; none counts nothing."""
    return known or 0


def chat_logprobs(tokens: list[TokenRecord]) -> Probabilities:
    """Token records of the engine as chat completions tell them."""

    def entry(token: TokenRecord) -> TopToken:
        return {"token": _text(token[1]), "bytes": token[1], "logprob": token[2], "id": token[0]}

    return {"content": [{**entry(t), "top_logprobs": [entry(a) for a in t[3]]} for t in tokens], "refusal": None}


def text_logprobs(tokens: list[TokenRecord], offset: int = 0) -> Probabilities:
    """Token records as text completions tell them; the chosen token is always among the alternatives.

    The first token of a text that begins with no other has no log-probability, and null stands for it.
    """
    pieces = [_text(t[1]) for t in tokens]
    offsets = []
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece)
    tops: list[dict[str, float] | None] = []
    for token, piece in zip(tokens, pieces, strict=True):
        if token[2] is None:
            tops.append(None)
            continue
        # Different tokens may decode to one text; the likeliest of them stands.
        top: dict[str, float] = {}
        for _, raw, logprob in token[3]:
            top.setdefault(_text(raw), logprob)
        top.setdefault(piece, token[2])
        tops.append(top)
    return {
        "tokens": pieces,
        "token_logprobs": [t[2] for t in tokens],
        "top_logprobs": tops,
        "text_offset": offsets,
        "token_ids": [t[0] for t in tokens],
    }
