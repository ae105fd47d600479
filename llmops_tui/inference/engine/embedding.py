"""Embeddings of texts: a context of its own beside the one that generates, made when it is first asked for."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.engine.native import NativeModel

_POOLING_NONE, _POOLING_MEAN = 0, 1


class Embedder:
    """Embeds token lists with the pooling the model was made for, or the mean where it names none."""

    def __init__(self, native: NativeModel) -> None:
        self._native = native
        self._context: Any = None
        self.pooling = "mean"

    def embed(self, tokens: list[int]) -> list[float]:
        """One text's vector, of length 1.

        Raises:
            InputRefusedError: no tokens, or more than the context takes.
        """
        native = self._native
        if not tokens:
            raise InputRefusedError("empty_input", "there is nothing to embed")
        if len(tokens) > native.n_ctx:
            raise InputRefusedError(
                "context_length_exceeded",
                f"the text has {len(tokens):,} tokens, {len(tokens) - native.n_ctx:,} too many for the context "
                f"of {native.n_ctx:,}",
                "Embed it in parts.",
            )
        native.check_tokens(tokens)
        context = self._context or self._open()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True) if self._has_memory() else None
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        run = llama_cpp.llama_encode if self._encoder_only() else llama_cpp.llama_decode
        if run(context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            raise LlmopsError("embed_failed", f"llama.cpp failed to embed {len(tokens)} tokens")
        pointer = llama_cpp.llama_get_embeddings_seq(context, 0)
        if not pointer:
            raise LlmopsError("embed_failed", "this model gives no embeddings")
        size = int(llama_cpp.llama_model_n_embd(native.model))
        vector = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (size,)).astype(np.float64)
        length = float(np.linalg.norm(vector))
        return list((vector / length if length > 0 else vector).tolist())

    def _open(self) -> Any:
        params = llama_cpp.llama_context_default_params()
        # Pooling looks at a whole text at once, so that a text is one batch.
        params.n_ctx = params.n_batch = params.n_ubatch = self._native.n_ctx
        params.n_threads = params.n_threads_batch = self._native.threads
        params.embeddings = True
        params.no_perf = True
        made = llama_cpp.llama_init_from_model(self._native.model, params)
        if made and llama_cpp.llama_pooling_type(made) == _POOLING_NONE:
            llama_cpp.llama_free(made)
            params.pooling_type = _POOLING_MEAN
            made = llama_cpp.llama_init_from_model(self._native.model, params)
        elif made:
            self.pooling = "the model's own"
        if not made:
            raise LlmopsError("context_failed", "no memory for a context to embed with", "Load a smaller context.")
        self._context = made
        return made

    def _encoder_only(self) -> bool:
        model = self._native.model
        return bool(llama_cpp.llama_model_has_encoder(model)) and not llama_cpp.llama_model_has_decoder(model)

    def _has_memory(self) -> bool:
        return bool(llama_cpp.llama_get_memory(self._context))
