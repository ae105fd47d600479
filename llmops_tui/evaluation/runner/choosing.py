"""Cases whose answer is one of several texts: each is weighed by the model's log-probabilities, and nothing is sampled."""

from __future__ import annotations

from dataclasses import replace

from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.runner.model_calls import read_choices
from llmops_tui.evaluation.runner.rendering import TEXT, choices_request, with_asked
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.wire import ChatMessage


async def choose(
    asker: Asker, name: str, case: Case, messages: list[ChatMessage], *, raw: bool, prompt: str = ""
) -> Answer:
    """The log-probabilities of a case's choices behind its conversation, which is a plain text where ``raw``.

    ``prompt`` is the version that the conversation was made of, for the record.

    Raises:
        LlmopsError: the request was refused, or the model is gone.
    """
    if len(case.choices) < 2:
        return Answer(error="the case has no choices")
    context = "\n".join(m["content"] for m in messages) if raw else await asker.chat_text(name, messages)
    # A text of a chat template has its special tokens in it; to a raw one the model's own are added.
    whole, sizes = await asker.tokens_behind(name, context, case.choices, special=raw)
    request = choices_request(whole, sizes)
    key = asker.key(asker.identity(name), TEXT, request.body)
    known = asker.cache.find([key])
    if key in known:
        answer = read_choices(known[key].reply, sizes, cached=True, kept_at=known[key].at)
    else:
        reply, trace = await asker.answer(name, replace(request, prompt=prompt), request.body)
        answer = read_choices(reply, sizes, trace=trace)
    return with_asked(answer, case, messages)
