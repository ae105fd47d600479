"""Models that put the passages that were found in another order, of two kinds, told apart by their files.

A model with a head for it scores each pair of a query and a text (``/v1/rerank``). Any other that answers conversations is asked
whether the text answers the query: its score is the probability of *yes* among *yes* and *no*, as its next word (Nogueira et al.,
"Document Ranking with a Pretrained Sequence-to-Sequence Model", 2020). The query stands before the text, so that what comes
before the text is evaluated once for all of them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.opened_model import opened_model
from llmops_tui.inference.ranking_test import ABSURD, OBVIOUS, QUERY, unfit
from llmops_tui.models.ranking import is_ranker
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.retrieval.records import RerankerRecord
from llmops_tui.workspace.catalog import Catalog

_SYSTEM = "You judge whether a text answers a query. Say yes or no, and nothing else."
_ASKED = "Query: {query}\n\nText: {text}\n\nDoes the text answer the query?"
_WORDS = (("yes", "no"), ("Yes", "No"), (" yes", " no"))
# Texts of one request; each is two prompts, which differ in their last token.
_AT_ONCE = 16


class Reranker(Protocol):
    """Scores texts for a query; more is better, and scores of two models have nothing to do with each other."""

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """The score of each text.

        Raises:
            LlmopsError: a text is too long for the model; the server is gone.
        """


def reranker_record(registry: ModelRegistry, name: str) -> RerankerRecord:
    """A registered model as what reranks an index.

    Raises:
        NotFoundError: there is none. InputRefusedError: ``no_rank``: it neither ranks nor answers conversations here.
    """
    model = registry.get(name)
    if model.kind == "remote":
        raise InputRefusedError(
            "no_rank",
            f"{name} is elsewhere: neither its scores nor its log-probabilities of given words are known here",
            "Take a model of this machine.",
        )
    if not is_ranker(model) and not model.header.get("chat_template"):
        raise InputRefusedError(
            "no_rank",
            f"{name} has neither a head that ranks nor a template of conversations",
            "Take a cross-encoder, or a model that answers instructions.",
        )
    return {"model": name, "sha256": model.sha256}


class HeadReranker:
    """A model with a head that ranks; its server tests it once."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """As :meth:`Reranker.scores`."""
        reply = await self._client.complete(
            "/v1/rerank", {"query": query, "documents": [text or " " for text in texts]}
        )
        found = {one["index"]: float(one["relevance_score"]) for one in reply["results"]}
        return [found[number] for number in range(len(texts))]


class YesNoReranker:
    """A model that is asked whether each text answers the query."""

    def __init__(self, client: ModelClient, name: str) -> None:
        self._client, self._name = client, name
        self._words: tuple[int, int] | None = None
        # Templates that know of thinking are told that none is wanted; others refuse to be told.
        self._thinking: bool | None = False

    async def test(self) -> None:
        """Have it judge a pair that anybody can judge.

        Raises:
            LlmopsError: ``no_rank``: it does not tell an obvious pair from an absurd one.
        """
        obvious, absurd = await self.scores(QUERY, [OBVIOUS, ABSURD])
        if why := unfit(obvious, absurd):
            raise LlmopsError(
                "no_rank", f"{self._name} cannot rerank: {why}", "Take a larger model, or a cross-encoder."
            )

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """As :meth:`Reranker.scores`: from 0 to 1."""
        yes, no = await self._yes_and_no()
        found: list[float] = []
        for begin in range(0, len(texts), _AT_ONCE):
            asked = [await self._tokens(query, text) for text in texts[begin : begin + _AT_ONCE]]
            prompts = [[*tokens, word] for tokens in asked for word in (yes, no)]
            body = {
                "prompt": prompts, "echo": True, "logprobs": 0, "max_tokens": 0,
                "logprob_start_len": min(map(len, asked)),
            }  # fmt: skip
            reply = await self._client.complete("/v1/completions", body)
            told = [_last(choice) for choice in sorted(reply["choices"], key=lambda one: one["index"])]
            found += [_share(told[at], told[at + 1]) for at in range(0, len(told), 2)]
        return found

    async def _tokens(self, query: str, text: str) -> list[int]:
        messages = [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": _ASKED.format(query=query, text=text)},
        ]
        try:
            reply = await self._client.tokenize(messages=messages, enable_thinking=self._thinking)
        except LlmopsError:
            if self._thinking is None:
                raise
            self._thinking = None
            return await self._tokens(query, text)
        return list(reply["tokens"])

    async def _yes_and_no(self) -> tuple[int, int]:
        """The tokens of both words; each has to be one, or their probabilities could not be compared."""
        if self._words is None:
            for words in _WORDS:
                found = [
                    list((await self._client.complete("/tokenize", {"content": word, "add_special": False}))["tokens"])
                    for word in words
                ]
                if all(len(tokens) == 1 for tokens in found) and found[0] != found[1]:
                    self._words = found[0][0], found[1][0]
                    break
            else:
                raise LlmopsError(
                    "no_rank",
                    f"{self._name} cannot rerank: yes and no are no single tokens of its vocabulary",
                    "Take another model.",
                )
        return self._words


def _last(choice: object) -> float:
    told = ((choice.get("logprobs") if isinstance(choice, dict) else None) or {}).get("token_logprobs") or [None]
    return math.nan if told[-1] is None else float(told[-1])


def _share(yes: float, no: float) -> float:
    """The probability of yes among both, from their log-probabilities."""
    apart = no - yes
    if apart > 0:
        return math.exp(-apart) / (1 + math.exp(-apart))
    return 1 / (1 + math.exp(apart))


@asynccontextmanager
async def opened_reranker(catalog: Catalog, record: RerankerRecord) -> AsyncIterator[Reranker]:
    """A reranker that is ready and tested, its model's server started where it has to be.

    Raises:
        LlmopsError: ``reranker_changed``: the model of that name is another one now; ``no_rank``; or it cannot be started.
    """
    changed = LlmopsError(
        "reranker_changed",
        f"{record['model']} is another model now than the one that the index is to be reranked by",
        "Build the index again: llmops index build NAME.",
    )
    async with opened_model(catalog, record["model"], record["sha256"], changed) as (model, client):
        yield await _made(client, model)


# Models of this process that have been tested, by their hashes.
_TESTED: set[str] = set()


async def _made(client: ModelClient, model: Model) -> Reranker:
    if is_ranker(model):
        return HeadReranker(client)
    asking = YesNoReranker(client, model.name)
    if model.sha256 not in _TESTED:
        await asking.test()
        _TESTED.add(model.sha256)
    return asking


def rerank_texts(catalog: Catalog, record: RerankerRecord, query: str, texts: Sequence[str]) -> list[float]:
    """The scores of texts for a query, for whoever is in no event loop."""

    async def ask() -> list[float]:
        async with opened_reranker(catalog, record) as reranker:
            return await reranker.scores(query, texts)

    return asyncio.run(ask())
