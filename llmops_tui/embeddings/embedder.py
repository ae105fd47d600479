"""A registered model that turns texts into vectors of length 1, by the protocol that all model servers speak."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.client import ModelClient
from llmops_tui.models.encoders import is_encoder
from llmops_tui.models.ranking import is_ranker
from llmops_tui.models.registry import Model, ModelRegistry

Vectors = npt.NDArray[np.float32]

# What is offered where no model that embeds is registered; small, and made for it.
DEFAULT_MODEL = "all-minilm-l6-v2"
MAX_TOKENS = 512
# Texts of a request, and requests that are on their way at once.
_TEXTS, _REQUESTS = 64, 2
# Families that were trained with words before what is searched and before what is searched for, by a part of the model's
# name, as their makers' model cards have them.
_PREFIXES = (
    ("nomic-embed", "search_document: ", "search_query: "),
    ("e5-", "passage: ", "query: "),
    ("embeddinggemma", "title: none | text: ", "task: search result | query: "),
    ("gemma-embedding", "title: none | text: ", "task: search result | query: "),
)


class EmbedderRecord(TypedDict):
    """An embedder as it is kept beside its vectors."""

    model: str
    sha256: str
    row_prefix: str
    query_prefix: str
    max_tokens: int


@dataclass(frozen=True)
class EmbedderSpec:
    """All that decides what vector a text gets.

    Attributes:
        model: the name of a registered model.
        sha256: the hash of its file.
        row_prefix: words before each text that is embedded to be found.
        query_prefix: words before each text that is searched for.
        max_tokens: a longer text is cut after so many tokens.
    """

    model: str
    sha256: str
    row_prefix: str = ""
    query_prefix: str = ""
    max_tokens: int = MAX_TOKENS

    @property
    def key(self) -> str:
        """The same for what gives the same vectors to rows, whatever the model is called: 16 hexadecimal digits."""
        facts = [self.sha256, self.row_prefix, self.max_tokens]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def as_dict(self) -> EmbedderRecord:
        """As JSON."""
        return asdict(self)  # type: ignore[return-value]


def embedder_spec(
    registry: ModelRegistry,
    name: str = "",
    *,
    row_prefix: str | None = None,
    query_prefix: str | None = None,
    max_tokens: int = MAX_TOKENS,
) -> EmbedderSpec:
    """The embedder of a registered model; where none is named, of the only or the usual one that was made to embed.

    Raises:
        InputRefusedError: ``no_embedder``: none is registered, or several are, or the one that is named ranks texts.
    """
    model = registry.get(name) if name else _usual(registry)
    if is_ranker(model):
        raise InputRefusedError(
            "no_embedder",
            f"{model.name} ranks pairs of texts (its pooling is 'rank') and makes no embeddings",
            f"llmops rerank uses it; llmops model get {DEFAULT_MODEL} gets a small model that embeds.",
        )
    rows, queries = next(((r, q) for part, r, q in _PREFIXES if part in model.name.lower()), ("", ""))
    return EmbedderSpec(
        model.name,
        model.sha256,
        rows if row_prefix is None else row_prefix,
        queries if query_prefix is None else query_prefix,
        max_tokens,
    )


def embedding_models(registry: ModelRegistry) -> list[Model]:
    """The registered models that were made to embed, by name."""
    return [m for m in registry.all() if made_to_embed(m)]


def made_to_embed(model: Model) -> bool:
    """Whether a model's architecture says so; others can embed all the same, as a rule worse, but for those that rank."""
    return is_encoder(str(model.header.get("architecture") or "")) and not is_ranker(model)


def _usual(registry: ModelRegistry) -> Model:
    found = embedding_models(registry)
    usual = next((m for m in found if m.name == DEFAULT_MODEL), None)
    if usual is not None or len(found) == 1:
        return usual or found[0]
    if found:
        names = ", ".join(m.name for m in found)
        raise InputRefusedError("no_embedder", f"several models embed: {names}", "Choose one with --model.")
    raise InputRefusedError(
        "no_embedder", "no model that embeds is registered", f"llmops model get {DEFAULT_MODEL} gets a small one."
    )


class TextEmbedder:
    """Embeds texts through a model's server; its ``client`` is the caller's, to open and to close."""

    def __init__(self, client: ModelClient, spec: EmbedderSpec, *, remote: bool = False) -> None:
        self._client = client
        self._remote = remote
        self._limit = spec.max_tokens
        self._asked = False
        self.spec = spec
        # How many texts were too long and were cut.
        self.cut = 0

    async def rows(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts that are to be found, texts × dimensions, each of length 1.

        Raises:
            LlmopsError: the model does not embed, or what it answers are no vectors.
        """
        return await self._embed([self.spec.row_prefix + text for text in texts])

    async def many(self, texts: Sequence[str], dimensions: int) -> Vectors:
        """As :meth:`rows` of as many texts as there are, in requests of bounded size, of which two are on their way.

        Raises:
            LlmopsError: as there; also where a vector has not so many ``dimensions``.
        """
        made = np.zeros((len(texts), dimensions), np.float32)
        # Texts of like length share a step of the engine without waiting for each other.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        gate = asyncio.Semaphore(_REQUESTS)

        async def ask(part: list[int]) -> None:
            async with gate:
                vectors = await self.rows([texts[at] for at in part])
            if vectors.shape[1] != dimensions:
                raise LlmopsError("no_vectors", f"{self.spec.model} answers with vectors of changing length")
            made[part] = vectors

        await asyncio.gather(*(ask(order[i : i + _TEXTS]) for i in range(0, len(order), _TEXTS)))
        return made

    async def query(self, text: str) -> Vectors:
        """The vector of a text that is searched for."""
        found = await self._embed([self.spec.query_prefix + text])
        return np.asarray(found[0], np.float32)

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, 0), np.float32)
        inputs = texts if self._remote else [await self._fitting(text) for text in texts]
        answer: Any = await self._client.complete("/v1/embeddings", {"input": inputs, "encoding_format": "base64"})
        try:
            data = sorted(answer["data"], key=lambda item: item["index"])
            vectors = np.stack([_read(item["embedding"]) for item in data])
        except (KeyError, TypeError, ValueError) as error:
            told = f"{self.spec.model} did not answer with vectors"
            raise LlmopsError("no_vectors", told, "Choose a model that embeds.") from error
        if vectors.shape[0] != len(texts) or not np.isfinite(vectors).all():
            told = (
                f"{self.spec.model} answered {vectors.shape[0]} vectors for {len(texts)} texts, or such without numbers"
            )
            raise LlmopsError("no_vectors", told, "Choose another model.")
        if vectors.ndim != 2 or not vectors.shape[1]:
            told = (
                f"{self.spec.model} answers a text with {'an empty vector' if vectors.ndim < 3 else 'several vectors'}"
            )
            raise LlmopsError("no_vectors", told, "Choose a model that pools them to one.")
        return unit(vectors)

    async def _fitting(self, text: str) -> str | list[int]:
        """The text, or its first tokens where it has too many; its last token, which ends a text, stays."""
        # No tokenizer makes more tokens of a text than it has bytes, beside those that begin and end it.
        if len(text.encode("utf-8", "replace")) + 4 <= self._limit and self._asked:
            return text
        answer: Any = await self._client.complete("/tokenize", {"content": text, "add_special": True})
        tokens = list(answer["tokens"])
        if not self._asked:
            self._asked = True
            self._limit = min(self._limit, int(answer.get("max_model_len") or self._limit))
        if len(tokens) <= self._limit:
            return text
        self.cut += 1
        return [*tokens[: self._limit - 1], tokens[-1]]


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    """Vectors of length 1; one of zeros stays."""
    given = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(given, axis=-1, keepdims=True)
    return np.asarray(given / np.where(lengths > 0, lengths, 1), np.float32)


def _read(value: Any) -> npt.NDArray[np.float32]:
    """One vector; servers that know no base64 answer with a list."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4")
    return np.asarray(value, np.float32)
