"""Labels of texts with their probabilities, in the form of vLLM's API: ``/v1/classify``.

They are those of the model's own head, or of a head that was trained on its embeddings (``llmops guard train``).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Annotated, ClassVar, NotRequired, TypedDict

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_wire import NO_LABELS, Call
from llmops_tui.inference.guardrails.head import HeadModel
from llmops_tui.inference.guardrails.store import GuardStore
from llmops_tui.inference.guardrails.windows import TOKENS, windows
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.connection import read_body
from llmops_tui.inference.server.fields import CALLER, Checked, FieldRefusedError, Rules, Unoffered
from llmops_tui.inference.server.head_scores import WITHOUT_HEAD, HeadScores
from llmops_tui.inference.server.inputs import Texts, check_vocabulary
from llmops_tui.inference.wire import Classified, Usage
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ids import new_id

CLASSIFY = ("classify",)
"""What the endpoint is called, with or without the API's version before it."""
_WHOLE = "Texts are classified whole, and what is too long is refused; leave it out."
_PROBABILITIES = Unoffered("Probabilities are told; leave it out.", (True,))
_RULES = Rules(
    idle=CALLER,
    unoffered={
        "messages": Unoffered("Texts are classified: send what was said as input."),
        "truncate_prompt_tokens": Unoffered(_WHOLE),
        "truncate": Unoffered(_WHOLE, (False,)),
        "add_special_tokens": Unoffered("The tokens around a text are those that its model was trained with.", (True,)),
        "activation": _PROBABILITIES,
        "use_activation": _PROBABILITIES,
        "softmax": _PROBABILITIES,
        "priority": Unoffered("There is one queue for all.", (0,)),
    },
)
# What a guard's head says of a text; the first is what it is for.
_OF_GUARDS = ["attack", "benign"]
# As many windows of a text as guards look at unless they say otherwise.
_WINDOWS = 32
# From where on a label that is judged by itself is meant.
_MEANT = 0.5


class ClassifyRequest(Checked):
    """Body of ``POST /v1/classify``; ``head`` is one that was trained on the model's embeddings."""

    rules: ClassVar[Rules] = _RULES

    model: Annotated[str, Field(max_length=400)] = ""
    input: Texts
    multi_label: bool = False
    head: Annotated[str, Field(max_length=100)] = ""


class ClassifyAnswer(TypedDict):
    """The texts in their order; ``labels`` is what ``probs`` are of, ``threshold`` from where on a trained head means it."""

    id: str
    object: str
    created: int
    model: str
    labels: list[str]
    data: list[Classified]
    usage: Usage
    threshold: NotRequired[float]


class Classifying:
    """The endpoint; ``event_log`` is where heads that were trained are kept."""

    def __init__(self, model: str, head: HeadScores, adapters: AdapterShelf, event_log: EventLog) -> None:
        self._model = model
        self._head = head
        self._adapters = adapters
        self._event_log = event_log

    async def classify(self, request: Request) -> Response:
        """``POST /v1/classify``."""
        body = await read_body(request, ClassifyRequest)
        adapter = await self._adapters.of(request.scope["caller"], body.model)
        if body.head:
            return JSONResponse(await self._by_trained_head(request, body, adapter))
        facts = await self._head.facts()
        labels = facts.get("labels") or []
        if not labels:
            raise FieldRefusedError("model", *NO_LABELS, "no_labels")
        await self._head.require_head("classifies texts", "no_labels")
        normalised = bool(facts.get("head_normalises"))
        if body.multi_label and normalised:
            told = "the head of this model makes probabilities that add up to 1: labels exclude each other"
            raise FieldRefusedError("multi_label", told, "Leave it out.", "unsupported_parameter")
        for place, given in enumerate(body.input):
            if not isinstance(given, str):
                at = f"input[{place}]" if len(body.input) > 1 else "input"
                check_vocabulary(given, facts.get("n_vocab", 0), at)
        call: Call = {"op": "classify", "inputs": body.input, "adapter": adapter}
        found, result = await self._head.of(request, request.scope["caller"], call)
        if any(len(values) != len(labels) or not all(map(math.isfinite, values)) for values in found):
            told = "the scores of this model's head are no numbers, or not one for each label"
            raise FieldRefusedError("model", told, WITHOUT_HEAD, "no_labels")
        probabilities = [
            list(values) if normalised else _each_by_itself(values) if body.multi_label else _shares(values)
            for values in found
        ]
        data = [_told(n, labels, probs, multi_label=body.multi_label) for n, probs in enumerate(probabilities)]
        return JSONResponse(self._answer(adapter, labels, data, result["tokens"]))

    def _answer(self, adapter: str, labels: list[str], data: list[Classified], tokens: int) -> ClassifyAnswer:
        return {
            "id": new_id("classify"),
            "object": "list",
            "created": int(time.time()),
            "model": f"{self._model}+{adapter}" if adapter else self._model,
            "labels": labels,
            "data": data,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    # ── heads that were trained on embeddings ──

    async def _by_trained_head(self, request: Request, body: ClassifyRequest, adapter: str) -> ClassifyAnswer:
        """As guards ask their heads: of the windows of a text the highest score counts."""
        if body.multi_label:
            told = "the labels of a trained head exclude each other"
            raise FieldRefusedError("multi_label", told, "Leave it out.", "unsupported_parameter")
        head = await self._trained(body.head)
        if adapter:
            raise FieldRefusedError("model", "a trained head is on the embeddings of the model itself", "Leave out +.")
        texts = [given for given in body.input if isinstance(given, str)]
        if len(texts) < len(body.input):
            told = "a trained head reads texts, and no token ids"
            raise FieldRefusedError("input", told, "Send texts.", "unsupported_parameter")
        # Of one window more than are asked the middle would be left out: whoever asks is told.
        parts = [windows(text, _WINDOWS + 1) for text in texts]
        for place, some in enumerate(parts):
            if len(some) > _WINDOWS:
                at = f"input[{place}]" if len(parts) > 1 else "input"
                told = f"the text has more than {_WINDOWS} windows of {TOKENS} tokens, and a trained head reads a text whole"
                raise FieldRefusedError(at, told, "Send it in parts.", "context_length_exceeded")
        every = [part for some in parts for part in some]
        vectors: list[tuple[float, ...]] | None = None
        tokens = 0
        if head.embedder and every:
            call: Call = {"op": "embed", "inputs": every, "adapter": ""}
            vectors, result = await self._head.of(request, request.scope["caller"], call)
            tokens = result["tokens"]
        scores = await asyncio.to_thread(_scored, head, parts, vectors)
        data = [_told(n, _OF_GUARDS, [score, 1 - score]) for n, score in enumerate(scores)]
        for one, score in zip(data, scores, strict=True):
            one["label"] = _OF_GUARDS[0 if score >= head.threshold else 1]
        return {**self._answer("", _OF_GUARDS, data, tokens), "threshold": head.threshold}

    async def _trained(self, name: str) -> HeadModel:
        try:
            head = await asyncio.to_thread(GuardStore(self._event_log).head, name)
        except LlmopsError as error:
            raise FieldRefusedError("head", error.message, error.hint, "no_head") from error
        if head.embedder not in {"", self._model}:
            told = f"{name!r} was trained on the embeddings of {head.embedder!r}, and this is {self._model!r}"
            raise FieldRefusedError("head", told, f"Ask {head.embedder!r}.", "no_head")
        return head


def _scored(
    head: HeadModel, parts: Sequence[Sequence[str]], vectors: Sequence[tuple[float, ...]] | None
) -> list[float]:
    import numpy as np

    rows = iter([np.asarray(one, np.float32) for one in vectors or ()])
    return [head.score(some, [next(rows) for _ in some] if vectors is not None else None) for some in parts]


def _told(index: int, labels: Sequence[str], probs: list[float], *, multi_label: bool = False) -> Classified:
    best = max(range(len(labels)), key=lambda n: probs[n])
    # A label alone is not the likeliest of any: whether it is meant is its own probability.
    label = labels[best] if len(labels) > 1 or probs[best] >= _MEANT else None
    told: Classified = {"index": index, "label": label, "probs": probs, "num_classes": len(labels)}
    if multi_label:
        told["chosen"] = [label for label, share in zip(labels, probs, strict=True) if share >= _MEANT]
    return told


def _shares(logits: Sequence[float]) -> list[float]:
    """The probabilities of labels of which one is right (softmax); of a label alone, whether it is."""
    if len(logits) == 1:
        return _each_by_itself(logits)
    most = max(logits)
    raised = [math.exp(value - most) for value in logits]
    total = sum(raised)
    return [value / total for value in raised]


def _each_by_itself(logits: Sequence[float]) -> list[float]:
    """The probability of each label whatever the others are (sigmoid)."""
    return [1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value)) for value in logits]
