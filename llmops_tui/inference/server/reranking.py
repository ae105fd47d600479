"""Documents ranked by how well they answer a query, in the form of Jina's and Cohere's APIs: ``/v1/rerank``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, TypedDict

from pydantic import Field, PlainValidator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmops_tui.inference.engine_wire import NO_RANK, Call, Embedded
from llmops_tui.inference.ranking_test import ABSURD, OBVIOUS, QUERY, unfit
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import read_body
from llmops_tui.inference.server.fields import Checked, FieldRefusedError, Rules, Unoffered, refuse
from llmops_tui.inference.server.head_scores import WITHOUT_HEAD, HeadScores
from llmops_tui.inference.wire import Ranked, Usage
from llmops_tui.workspace.ids import new_id

RERANK = ("rerank", "reranking")
"""What the endpoint is called, with or without the API's version before it."""
_MOST = 2048
# A query is evaluated with each of the documents.
_LONGEST_QUERY = 20_000
_WHOLE = "Documents are ranked whole, and what is too long is refused; leave it out."
_RULES = Rules(
    idle={"user": "who asks, for a provider's watch over abuse; nobody watches here"},
    unoffered={
        "max_tokens_per_doc": Unoffered(_WHOLE),
        "max_chunks_per_doc": Unoffered(_WHOLE),
        "truncation": Unoffered(_WHOLE, (False,)),
        "rank_fields": Unoffered("Documents have the field text alone.", (["text"],)),
        "return_embeddings": Unoffered("Vectors are told by /v1/embeddings.", (False,)),
    },
)


def _text(value: Any, at: str = "") -> str:
    """A text, or an object that has it as ``text`` and nothing else."""
    if isinstance(value, dict):
        given = Rules().sift(value, {"text"}, f"{at}." if at else "")
        value, at = given.get("text"), f"{at}.text" if at else "text"
    if not isinstance(value, str):
        refuse(at, 'must be a text, or an object like {"text": "…"}')
    return value


def _documents(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        refuse("", "must be a list of documents that is not empty")
    if len(value) > _MOST:
        refuse("", f"has {len(value):,} documents, more than the {_MOST:,} of one request", "Send several requests.")
    return [_text(one, f"[{n}]") for n, one in enumerate(value)]


def _query(value: Any) -> str:
    query = _text(value)
    if not query.strip():
        refuse("", "is empty", "Say what the documents are ranked for.")
    if len(query) > _LONGEST_QUERY:
        refuse("", f"has {len(query):,} characters, more than {_LONGEST_QUERY:,}", "Shorten it.")
    return query


class RerankRequest(Checked):
    """Body of ``POST /v1/rerank``."""

    rules: ClassVar[Rules] = _RULES

    model: Annotated[str, Field(max_length=400)] = ""
    query: Annotated[str, PlainValidator(_query, json_schema_input_type=str | dict[str, str])]
    documents: Annotated[list[str], PlainValidator(_documents, json_schema_input_type=list[str] | list[dict[str, str]])]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False


class RerankAnswer(TypedDict):
    """The best documents, the best first."""

    id: str
    object: str
    model: str
    results: list[Ranked]
    usage: Usage


class Reranking:
    """The endpoint."""

    def __init__(self, model: str, head: HeadScores, adapters: AdapterShelf) -> None:
        self._model = model
        self._head = head
        self._adapters = adapters
        # Of the model, and of each of its adapters, whether its scores are any.
        self._tested: dict[str, str] = {}

    async def rank(self, request: Request) -> Response:
        """``POST /v1/rerank`` and its other names."""
        body = await read_body(request, RerankRequest)
        adapter = await self._adapters.of(request.scope["caller"], body.model)
        if not (await self._head.facts()).get("ranks"):
            raise FieldRefusedError("model", *NO_RANK, "no_rank")
        await self._head.require_head("ranks texts", "no_rank")
        if adapter not in self._tested:
            # Once, and at nobody's expense: what it says of a pair that anybody can judge.
            house = replace(request.scope["caller"], grant=None)
            (obvious, absurd), _ = await self._scores(request, house, QUERY, [OBVIOUS, ABSURD], adapter)
            self._tested[adapter] = unfit(obvious, absurd)
        if why := self._tested[adapter]:
            raise FieldRefusedError(
                "model",
                f"this model says that it ranks texts, and does not: {why}",
                f"{WITHOUT_HEAD.rstrip('.')}; a model that answers yes or no reranks an index as it is: "
                "llmops index build NAME --reranker MODEL.",
                "no_rank",
            )
        caller = request.scope["caller"]
        scores, result = await self._scores(request, caller, body.query, body.documents, adapter)
        order = sorted(range(len(scores)), key=lambda n: (-scores[n], n))[: body.top_n]
        told: RerankAnswer = {
            "id": new_id("rank"),
            "object": "list",
            "model": f"{self._model}+{adapter}" if adapter else self._model,
            "results": [_ranked(n, scores[n], body) for n in order],
            "usage": {"prompt_tokens": result["tokens"], "total_tokens": result["tokens"]},
        }
        return JSONResponse(told)

    async def _scores(
        self, request: Request, caller: Caller, query: str, documents: list[str], adapter: str
    ) -> tuple[list[float], Embedded]:
        """The score of each document; of several, such as those of yes and no, the first is the document's."""
        call: Call = {"op": "rank", "query": query, "inputs": documents, "adapter": adapter}
        found, result = await self._head.of(request, caller, call)
        return [values[0] for values in found], result


def _ranked(index: int, score: float, body: RerankRequest) -> Ranked:
    told: Ranked = {"index": index, "relevance_score": score}
    if body.return_documents:
        told["document"] = {"text": body.documents[index]}
    return told
