"""A model of the workspace as the LM Evaluation Harness asks one: its public interface over the engine.

Imported only in the job that runs a task, since the harness is an installed package of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from lm_eval.api.model import LM

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.evaluation.runner.model_calls import read_answer, read_choices
from llmops_tui.evaluation.runner.rendering import CHAT, TEXT, choices_request
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.asking.asker import Asker, Request
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.wire import Reply

Result = TypeVar("Result")
# What a task may say of a generation, as the harness names it; anything else would change answers and is refused.
_KNOWN = {
    "until",
    "max_gen_toks",
    "max_tokens",
    "max_new_tokens",
    "temperature",
    "do_sample",
    "top_p",
    "top_k",
    "min_p",
    "seed",
}
_MAX_TOKENS = 256


class EngineModel(LM):  # type: ignore[misc]  # the harness has no types
    """Generation and log-likelihoods by the engine; each answer is asked once and kept like those of suites."""

    def __init__(self, asker: Asker, name: str, *, chat: bool, told: Callable[[int, int], None]) -> None:
        super().__init__()
        self._asker, self._name, self._chat, self._told = asker, name, chat, told
        self._runner = asyncio.Runner()
        self._done = 0
        # By document: the answers, in the order in which the task asks.
        self.answers: dict[int, list[Answer]] = defaultdict(list)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something in the loop that the connections belong to."""
        return self._runner.run(work)

    def close(self) -> None:
        """Let go of the connections."""
        self.run(self._asker.close())
        self._runner.close()

    @property
    def tokenizer_name(self) -> str:
        """Under which name the harness keeps requests."""
        return self._name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as it is sent: the server renders it."""
        del add_generation_prompt
        return json.dumps(chat_history, ensure_ascii=False)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts that end before what the task names."""
        del disable_tqdm
        return [answer.text for answer in self.run(self._all([self._generate(r) for r in requests], requests))]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """The log-probability of each continuation behind its context, and whether it is what the model would say."""
        del disable_tqdm
        if self._chat:
            raise InputRefusedError(
                "not_offered", "log-likelihoods behind a chat template are not asked here", "Leave out --chat."
            )
        by_context: dict[str, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            by_context[request.args[0]].append(place)
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)

        async def score(context: str, places: list[int]) -> Answer:
            answer, greedy = await self._score(context, tuple(requests[i].args[1] for i in places))
            for place, value, best in zip(places, answer.choice_logprobs, greedy, strict=True):
                found[place] = value, best
            return answer

        firsts = [requests[places[0]] for places in by_context.values()]
        self.run(self._all([score(context, places) for context, places in by_context.items()], firsts))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002  as the harness calls it
        """Not offered: :func:`llmops_tui.evaluation.perplexity.perplexity` measures texts.

        Raises:
            InputRefusedError: always.
        """
        raise InputRefusedError(
            "not_offered",
            "tasks of perplexity are not run here",
            "llmops eval perplexity measures a text by word, byte, token.",
        )

    async def _all(self, work: Sequence[Coroutine[Any, Any, Answer]], requests: Sequence[Any]) -> list[Answer]:
        """The answers in order. Where one fails for good, those under way are ended."""
        total = len(work)

        async def one(given: Coroutine[Any, Any, Answer], document: int) -> Answer:
            answer = await given
            self.answers[document].append(answer)
            self._done += 1
            self._told(self._done, total)
            self._asker.cache.flush()
            return answer

        tasks = [asyncio.ensure_future(one(given, r.doc_id)) for given, r in zip(work, requests, strict=True)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._done = 0

    async def _generate(self, request: Any) -> Answer:
        context, given = request.args
        parameters = parameters_of(given)
        if self._chat:
            asked = Request(CHAT, {"messages": json.loads(context)}, parameters)
        else:
            asked = Request(TEXT, {"prompt": context}, parameters)
        reply, cached, at = await self._reply(asked, {**asked.body, "sampling": parameters.model_dump(mode="json")})
        return read_answer(reply, cached=cached, kept_at=at)

    async def _score(self, context: str, texts: tuple[str, ...]) -> tuple[Answer, list[bool]]:
        if not context:
            raise LlmopsError("no_context", "the task scores a text behind nothing, which this model cannot be asked")
        # As the harness does it: blanks at the end of a context belong to what follows.
        bare = context.rstrip()
        whole, sizes = await self._asker.tokens_behind(
            self._name, bare, tuple(context[len(bare) :] + text for text in texts), special=True
        )
        plain = choices_request(whole, sizes)
        asked = Request(plain.path, {**plain.body, "logprobs": 1}, plain.parameters)
        reply, cached, at = await self._reply(asked, asked.body)
        answer = read_choices(reply, sizes, cached=cached, kept_at=at)
        if answer.error:
            raise LlmopsError("unusable", answer.error)
        ordered = sorted(reply["choices"], key=lambda choice: choice["index"])
        return answer, [_greedy(choice, size) for choice, size in zip(ordered, sizes, strict=True)]

    async def _reply(self, asked: Request, sampled: Mapping[str, object]) -> tuple[Reply, bool, float | None]:
        key = self._asker.key(self._asker.identity(self._name), asked.path, sampled)
        known = self._asker.cache.find([key]).get(key)
        if known is not None:
            return known.reply, True, known.at
        reply, _ = await self._asker.answer(self._name, asked, sampled)
        return reply, False, None


def parameters_of(given: JsonObject) -> SamplingParameters:
    """The sampling that a task asks for.

    Raises:
        InputRefusedError: ``not_offered``: it asks for something that the engine is not told.
    """
    if unknown := sorted(set(given) - _KNOWN):
        raise InputRefusedError("not_offered", f"the task sets {', '.join(unknown)}, which is not carried over")
    until = given.get("until") or []
    stop = [until] if isinstance(until, str) else list(until)
    limits = [given[name] for name in ("max_gen_toks", "max_tokens", "max_new_tokens") if given.get(name) is not None]
    greedy = not given.get("do_sample", bool(given.get("temperature")))
    body: JsonObject = {"max_tokens": limits[0] if limits else _MAX_TOKENS, "stop": tuple(s for s in stop if s)}
    body["temperature"] = 0.0 if greedy else given.get("temperature", 1.0)
    body |= {name: given[name] for name in ("top_p", "top_k", "min_p", "seed") if given.get(name) is not None}
    return SamplingParameters.model_validate(body)


def _greedy(choice: Any, size: int) -> bool:
    """Whether each of the last tokens is the likeliest at its place."""
    told = choice.get("logprobs") or {}
    chosen, best = told.get("token_logprobs") or [], told.get("top_logprobs") or []
    pairs = list(zip(chosen[-size:], best[-size:], strict=True)) if len(chosen) == len(best) else []
    return bool(pairs) and all(p is not None and tops and p >= max(tops.values()) - 1e-9 for p, tops in pairs)
