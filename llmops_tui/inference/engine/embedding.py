"""Embeddings in a context next to the generating one, created on first use; many texts in one step."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import llama_cpp
import numpy as np
import numpy.typing as npt

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.engine.evaluation import AbortFlag, Batch, DecodeAbortedError
from llmops_tui.inference.engine.hidden_states import HiddenStates
from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.engine.parameters import EngineOptions, context_parameters
from llmops_tui.inference.engine_wire import NO_LABELS, NO_RANK
from llmops_tui.models.embedding_memory import PACK, SEQUENCES, embedding_shape

_POOLINGS = {
    llama_cpp.LLAMA_POOLING_TYPE_MEAN: "mean", llama_cpp.LLAMA_POOLING_TYPE_CLS: "first token",
    llama_cpp.LLAMA_POOLING_TYPE_LAST: "last token", llama_cpp.LLAMA_POOLING_TYPE_RANK: "rank",
}  # fmt: skip
_DECODED, _ABORTED = 0, 2
# How near the two ways of evaluating must come to each other, of values whose length is 1.
_SAME = 1e-4
Vector = npt.NDArray[np.float64]
Of = Literal["embed", "rank", "classify"]
"""What is to come of texts: a vector of each, the scores of each with a query, or those of a model's labels."""
# What an error calls the texts that came, and what is done to them.
_TOLD = {
    "embed": ("input", "embeds", "Embed"),
    "rank": ("documents", "ranks", "Rank"),
    "classify": ("input", "classifies", "Classify"),
}


@dataclass
class Text:
    """One text of a request on its way to a vector: what of it is evaluated, in which sequence, and what it came to."""

    tokens: list[int]
    done: int = 0
    sequence: int = -1
    index: int = 0
    pooled: Vector | None = field(default=None, repr=False)


class Embedder:
    """Embeds token lists with the pooling the model was made for, or the mean where it names none. For one thread.

    A model with a head makes no vector of a text but scores: of a pair, of which the first is its rank, or of its labels.
    """

    def __init__(self, native: NativeModel, options: EngineOptions) -> None:
        self._native = native
        self._options = options
        self._abort = AbortFlag()
        self._context: Any = None
        self._memory: Any = None
        self._rows: HiddenStates | None = None
        self._untried = native.generates
        self._adapter = ""
        self._threads = native.threads
        self._free = list(range(SEQUENCES))
        given = native.pooling
        self._causal = native.header_value("attention.causal") != "false"
        self._pooling = given if given in _POOLINGS else llama_cpp.LLAMA_POOLING_TYPE_MEAN
        self.ranks = native.ranks
        self.refusal = _why_not(native)
        width = llama_cpp.llama_model_n_cls_out if self.ranks else llama_cpp.llama_model_n_embd_out
        self.dimensions = int(width(native.model))
        self.shape = embedding_shape(
            context=native.n_ctx, vocabulary=native.n_vocab, causal=self._causal, pooling=given
        )
        # Models that keep a state evaluate one sequence after another all the same.
        self.together = SEQUENCES if native.can_trim else 1

    @property
    def pooling(self) -> str:
        """How a text's positions become one vector."""
        return _POOLINGS[self._pooling]

    @property
    def pack(self) -> int:
        """How many tokens of short texts are evaluated together."""
        return min(PACK, self.shape.step)

    def check(self, texts: Sequence[list[int]], dimensions: int | None = None, *, of: Of = "embed") -> None:
        """Refuse what cannot be embedded, ranked or classified, by its place among the texts.

        Raises:
            InputRefusedError: ``no_embeddings``, ``no_rank``, ``no_labels``, ``bad_dimensions``, ``empty_input``,
                ``bad_token``, or ``context_length_exceeded``.
        """
        if of == "rank" and not self.ranks:
            raise InputRefusedError("no_rank", *NO_RANK)
        if of == "classify" and not self._native.labels:
            raise InputRefusedError("no_labels", *NO_LABELS)
        if self.refusal and of == "embed":
            raise InputRefusedError("no_embeddings", *self.refusal)
        if dimensions is not None and dimensions != self.dimensions:
            raise InputRefusedError(
                "bad_dimensions", f"this model's embeddings have {self.dimensions} dimensions, not {dimensions}"
            )
        given, does, do = _TOLD[of]
        for place, tokens in enumerate(texts):
            name = f"{given}[{place}]: " if of == "rank" or len(texts) > 1 else ""
            longest = self.shape.longest
            if not tokens:
                raise InputRefusedError("empty_input", f"{name}the text is empty")
            if len(tokens) > longest:
                wide = f"{do} it in parts" + (
                    ", or load the model with a larger context." if longest == self._native.n_ctx else "."
                )
                raise InputRefusedError(
                    "context_length_exceeded",
                    f"{name}the text has {len(tokens):,} tokens{' with its query' if of == 'rank' else ''}, "
                    f"{len(tokens) - longest:,} too many: this model {does} up to {longest:,}",
                    wide,
                )
            try:
                self._native.check_tokens(tokens)
            except InputRefusedError as error:
                raise InputRefusedError(error.code, f"{name}{error.message}", error.hint) from None

    def piece(self, text: Text) -> int:
        """How many tokens of a text one evaluation takes, the text being alone in it: none of its pieces is a scrap."""
        left = len(text.tokens) - text.done
        return -(-left // -(-left // self.shape.step))

    def evaluate(self, pieces: Sequence[tuple[Text, int]], *, adapter: str = "", threads: int = 0) -> None:
        """Evaluate the next so many tokens of each text; together they are a step at the most.

        Raises:
            DecodeAbortedError: :meth:`abort` was called; nothing of it counts.
            LlmopsError: no memory for the context, or llama.cpp failed.
        """
        if self._context is None:
            self._open()
        if self._untried and self._rows is not None:
            self._try_short_way(self._rows)
        self._run(pieces, adapter, threads or self._native.threads)

    def _run(self, pieces: Sequence[tuple[Text, int]], adapter: str, threads: int) -> None:
        self._use(adapter, threads)
        for text, _ in pieces:
            if text.sequence < 0:
                text.sequence = self._free.pop()
        try:
            rows = self._decode(pieces)
            at = 0
            for text, count in pieces:
                own = None if rows is None else rows[at : at + count].astype(np.float64)
                self._pool(text, count, own)
                at += count
                text.done += count
                if text.done == len(text.tokens):
                    self.forget(text)
        except BaseException:
            for text, _ in pieces:
                if text.sequence >= 0:
                    self._trim(text)
            raise

    def vector(self, text: Text) -> npt.NDArray[np.float32]:
        """A whole text's vector, of length 1; of a pair its scores as the model gives them."""
        assert text.pooled is not None
        if self.ranks:
            return text.pooled.astype(np.float32)
        length = float(np.linalg.norm(text.pooled))
        return (text.pooled / length if length > 0 else text.pooled).astype(np.float32)

    def embed(self, texts: Sequence[list[int]]) -> list[npt.NDArray[np.float32]]:
        """The vectors of texts, one after another, for who has no others beside.

        Raises:
            InputRefusedError: see :meth:`check`.
        """
        self.check(texts)
        made = [Text(tokens) for tokens in texts]
        for text in made:
            while text.done < len(text.tokens):
                self.evaluate([(text, self.piece(text))])
        return [self.vector(text) for text in made]

    def forget(self, text: Text) -> None:
        """Give up a text's sequence; it is whole, or begins anew when it is evaluated again."""
        if text.sequence >= 0:
            if self._memory:
                llama_cpp.llama_memory_seq_rm(self._memory, text.sequence, -1, -1)
            self._free.append(text.sequence)
            text.sequence = -1
        if text.done < len(text.tokens):
            text.done, text.pooled = 0, None

    def abort(self, *, on: bool) -> None:
        """Stop the evaluation that is running as soon as possible, or allow them again. Safe from any thread."""
        self._abort.set(on=on)

    def _trim(self, text: Text) -> None:
        """After an evaluation that failed: back to what was evaluated before it, or to the beginning."""
        cut = text.done and self._memory and llama_cpp.llama_memory_seq_rm(self._memory, text.sequence, text.done, -1)
        if not cut:
            self.forget(text)

    def _decode(self, pieces: Sequence[tuple[Text, int]]) -> npt.NDArray[np.float32] | None:
        tokens: list[int] = []
        positions: list[int] = []
        sequences: list[int] = []
        for text, count in pieces:
            tokens += text.tokens[text.done : text.done + count]
            positions += range(text.done, text.done + count)
            sequences += [text.sequence] * count
        status = llama_cpp.llama_decode(
            self._context, self._batch.fill(tokens, positions, sequences, [1] * len(tokens))
        )
        if status == _ABORTED:
            raise DecodeAbortedError
        if status != _DECODED:
            raise LlmopsError("embed_failed", f"llama.cpp failed to embed {len(tokens)} tokens (status {status})")
        if self._rows is None or not self._rows.ends_there:
            return None
        rows = self._rows.take(len(tokens), self.dimensions)
        if rows is None:
            raise LlmopsError("embed_failed", f"llama.cpp did not evaluate {len(tokens)} tokens in one piece")
        return rows

    def _pool(self, text: Text, count: int, rows: Vector | None) -> None:
        """Add what a piece of a text came to: its rows, or, where there are none, what llama.cpp pooled of them."""
        kind = _POOLINGS[self._pooling]
        if kind == "first token" and text.done:
            return
        if rows is None:
            pointer = llama_cpp.llama_get_embeddings_seq(self._context, text.sequence)
            if not pointer:
                raise LlmopsError("embed_failed", "this model returns no embeddings")
            array = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))
            pooled = np.ctypeslib.as_array(array, (self.dimensions,)).astype(np.float64)
        elif kind == "mean":
            pooled = rows.mean(axis=0)
        else:
            pooled = rows[0 if kind == "first token" else -1]
        if kind == "mean":
            share = pooled * (count / len(text.tokens))
            pooled = share if text.pooled is None else text.pooled + share
        text.pooled = pooled

    def _use(self, adapter: str, threads: int) -> None:
        if adapter != self._adapter:
            self._native.set_adapter(self._context, adapter)
            self._adapter = adapter
        if threads != self._threads:
            llama_cpp.llama_set_n_threads(self._context, threads, threads)
            self._threads = threads

    def _open(self) -> None:
        native, shape = self._native, self.shape
        one = replace(self._options, parallel=1, batch=shape.step, micro_batch=shape.step, swa_full=True)
        params = context_parameters(one, shape.cells, native.threads)
        # Texts of any lengths share one step only where they share the cells.
        params.kv_unified = True
        params.n_seq_max = self.together
        params.embeddings = True
        params.pooling_type = self._pooling
        self._abort.attach(params)
        rows = HiddenStates() if native.generates and not self.ranks else None
        if rows is not None:
            rows.attach(params)
        made = llama_cpp.llama_init_from_model(native.model, params)
        if not made:
            raise LlmopsError(
                "context_failed", "not enough memory for an embedding context", "Load the model with a smaller context."
            )
        self._context, self._rows = made, rows
        self._memory = llama_cpp.llama_get_memory(made)
        self._batch = Batch(shape.step)
        self._free = list(range(self.together))

    def _try_short_way(self, rows: HiddenStates) -> None:
        """Leave the output layer out where a text comes to the same without it; broken off, it is tried again."""
        sample = [max(self._native.bos, 0), *range(min(7, self._native.n_vocab))]
        found = []
        for short in (False, True):
            rows.ends_there = short
            text = Text(list(sample))
            try:
                self._run([(text, len(sample))], "", self._native.threads)
            except LlmopsError:
                if not short:
                    raise
                break
            finally:
                rows.ends_there = False
            found.append(self.vector(text))
        rows.ends_there = len(found) == 2 and bool(np.abs(found[0] - found[1]).max() < _SAME)
        self._untried = False


def _why_not(native: NativeModel) -> tuple[str, str] | None:
    """Why there are no embeddings, and what to do."""
    if native.ranks:
        doors = "/v1/classify or /v1/rerank" if native.labels else "/v1/rerank"
        return (
            "this model ranks pairs of texts (its pooling is 'rank'); it returns no embeddings",
            f"Use {doors}, or an embedding model.",
        )
    if native.has_encoder and llama_cpp.llama_model_has_decoder(native.model):
        return (
            "this model has an encoder and a decoder; embeddings with it are not supported",
            "Use an embedding model.",
        )
    return None
