"""Generation with llama.cpp's low-level API: decode, sample, one token to bytes, in a lean loop.

Imported in worker processes only.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.streaming_text import StreamingText

_BATCH = 512
_PENALTY_WINDOW = 64
_PIECE_BYTES = 256


@dataclass(frozen=True)
class GenerationResult:
    """What one generation did. Times are in milliseconds, from the moment the engine was asked."""

    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    reused_tokens: int
    ttft_ms: float | None
    total_ms: float
    tokens_per_s: float | None
    context: int


class LlamaEngine:
    """One model with one context; runs one generation at a time.

    The tokens of the last generation stay in the context, so that a prompt which begins like it is evaluated only from
    the first difference on.
    """

    def __init__(self, path: str, *, context: int, threads: int, gpu_layers: int) -> None:
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = gpu_layers
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
        if not self._model:
            raise LlmopsError("model_load_failed", f"llama.cpp could not load {path}", "The server's log says why.")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        trained = int(llama_cpp.llama_model_n_ctx_train(self._model))
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = min(context, trained) if context else min(trained, 4096)
        params.n_batch = _BATCH
        params.n_threads = params.n_threads_batch = threads or max(1, (os.cpu_count() or 2) - 1)
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise LlmopsError(
                "context_failed",
                f"no memory for a context of {params.n_ctx} tokens",
                "Ask for a smaller context, or unload another model.",
            )
        self.n_ctx = int(llama_cpp.llama_n_ctx(self._context))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._n_vocab = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self._kept: list[int] = []
        self._piece_buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        self._one_token = (llama_cpp.llama_token * 1)()
        self._cancelled: Callable[[], bool] = lambda: False
        # llama.cpp calls this between graph nodes; the reference must outlive the context.
        self._abort_callback = llama_cpp.ggml_abort_callback(lambda _data: self._cancelled())
        llama_cpp.llama_set_abort_callback(self._context, self._abort_callback, None)

    def describe(self) -> dict[str, Any]:
        """Facts about the loaded model that the server and the screens show."""
        return {
            "n_ctx": self.n_ctx,
            "n_vocab": self._n_vocab,
            "bos": self._token_text(llama_cpp.llama_vocab_bos(self._vocab)),
            "eos": self._token_text(llama_cpp.llama_vocab_eos(self._vocab)),
            "add_bos": bool(llama_cpp.llama_vocab_get_add_bos(self._vocab)),
            "engine": f"llama-cpp-python {llama_cpp.__version__}",
        }

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        """Token ids of ``text``."""
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 8
        buffer = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), buffer, size, add_special, parse_special)
        if count < 0:
            raise LlmopsError("tokenize_failed", f"llama.cpp could not tokenize {len(raw)} bytes")
        return list(buffer[:count])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token; control tokens are empty unless ``special``."""
        buffer = self._piece_buffer
        length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
        if length < 0:
            self._piece_buffer = ctypes.create_string_buffer(-length)
            return self.piece(token, special=special)
        return buffer.raw[:length]

    def generate(
        self,
        prompt: Sequence[int],
        parameters: SamplingParameters,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> GenerationResult:
        """Generate from token ids; ``emit`` gets text as it becomes certain.

        Raises:
            InputRefusedError: ``context_length_exceeded``.
        """
        started = time.perf_counter()
        tokens = list(prompt)
        if not tokens:
            raise InputRefusedError("empty_prompt", "the prompt has no tokens", "Write something to complete.")
        if len(tokens) >= self.n_ctx:
            raise InputRefusedError(
                "context_length_exceeded",
                f"the prompt has {len(tokens):,} tokens, {len(tokens) - self.n_ctx + 1:,} too many for the context "
                f"of {self.n_ctx:,}",
                "Shorten the prompt, or load the model with a larger context.",
            )
        budget = min(parameters.max_tokens, self.n_ctx - len(tokens))
        text = StreamingText(parameters.stop)
        sampler = self._make_sampler(parameters)
        self._cancelled = cancelled
        reason, made, reused, first_at, last_at = "cancelled", 0, 0, None, started
        try:
            reused = self._prefill(tokens, cancelled)
            if reused < 0:
                reused = 0
            else:
                reason, made, first_at, last_at = self._decode_loop(sampler, budget, text, emit, cancelled)
        finally:
            self._cancelled = lambda: False
            llama_cpp.llama_sampler_free(sampler)
        if rest := text.finish():
            emit(rest)
        span = last_at - first_at if first_at is not None else 0.0
        return GenerationResult(
            finish_reason=reason,
            prompt_tokens=len(tokens),
            completion_tokens=made,
            reused_tokens=reused,
            ttft_ms=(first_at - started) * 1000 if first_at is not None else None,
            total_ms=(time.perf_counter() - started) * 1000,
            tokens_per_s=(made - 1) / span if made > 1 and span > 0 else None,
            context=self.n_ctx,
        )

    def _decode_loop(
        self,
        sampler: Any,
        budget: int,
        text: StreamingText,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> tuple[str, int, float | None, float]:
        """Sample until the end; returns (finish reason, tokens made, time of the first, time of the last)."""
        made = 0
        first_at: float | None = None
        last_at = time.perf_counter()
        sample, is_end = llama_cpp.llama_sampler_sample, llama_cpp.llama_vocab_is_eog
        one, get_batch, decode = self._one_token, llama_cpp.llama_batch_get_one, llama_cpp.llama_decode
        while True:
            if cancelled():
                return "cancelled", made, first_at, last_at
            token = sample(sampler, self._context, -1)
            made += 1
            last_at = time.perf_counter()
            if first_at is None:
                first_at = last_at
            if is_end(self._vocab, token):
                return "stop", made, first_at, last_at
            if part := text.feed(self.piece(token)):
                emit(part)
            if text.stopped:
                return "stop", made, first_at, last_at
            if made >= budget:
                return "length", made, first_at, last_at
            one[0] = token
            status = decode(self._context, get_batch(one, 1))
            if status == 0:
                self._kept.append(token)
            elif status == 2:
                return "cancelled", made, first_at, last_at
            else:
                self._forget()
                raise LlmopsError("decode_failed", f"llama.cpp failed to decode (status {status})")

    def _prefill(self, tokens: list[int], cancelled: Callable[[], bool]) -> int:
        """Evaluate the prompt after its longest kept beginning; returns how much was kept, or -1 where cancelled."""
        common = 0
        # The last token is always evaluated again: sampling needs its logits.
        for old, new in zip(self._kept, tokens[:-1], strict=False):
            if old != new:
                break
            common += 1
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, common, -1):
            self._forget()
            common = 0
        del self._kept[common:]
        for start in range(common, len(tokens), _BATCH):
            if cancelled():
                return -1
            part = tokens[start : start + _BATCH]
            array = (llama_cpp.llama_token * len(part))(*part)
            status = llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(part)))
            if status == 2:
                self._forget()
                return -1
            if status != 0:
                self._forget()
                raise LlmopsError("decode_failed", f"llama.cpp failed to evaluate the prompt (status {status})")
            self._kept += part
        return common

    def _forget(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, True)
        self._kept = []

    def _make_sampler(self, parameters: SamplingParameters) -> Any:
        """A sampler chain in llama.cpp's usual order: penalties, top-k, top-p, min-p, temperature."""
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        add = llama_cpp.llama_sampler_chain_add
        if parameters.repeat_penalty != 1:
            add(
                chain,
                llama_cpp.llama_sampler_init_penalties(
                    self._n_vocab, _PENALTY_WINDOW, parameters.repeat_penalty, 0.0, 0.0
                ),
            )
        if parameters.temperature <= 0:
            add(chain, llama_cpp.llama_sampler_init_greedy())
            return chain
        if parameters.top_k:
            add(chain, llama_cpp.llama_sampler_init_top_k(parameters.top_k))
        if parameters.top_p < 1:
            add(chain, llama_cpp.llama_sampler_init_top_p(parameters.top_p, 1))
        if parameters.min_p > 0:
            add(chain, llama_cpp.llama_sampler_init_min_p(parameters.min_p, 1))
        add(chain, llama_cpp.llama_sampler_init_temp(parameters.temperature))
        add(chain, llama_cpp.llama_sampler_init_dist(parameters.seed))
        return chain

    def _token_text(self, token: int) -> str:
        return "" if token < 0 else self.piece(token, special=True).decode("utf-8", "replace")
