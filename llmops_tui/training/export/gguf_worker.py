"""The process that evaluates given tokens with a GGUF model: ``RUNG MODEL ADAPTER|- REQUEST.json ANSWER.npz``.

The request is ``{"texts", "prompts", "answers", "limit", "ends"}``; the answer has for each text its token ids, for each prompt
the ids of its greedy continuation, and for each prompt with its answer the log-probabilities over the vocabulary where
the answer's tokens are predicted. Everything is computed with a 32-bit cache: this measures the model, not the speed-ups.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from llmops_tui import native_log
from llmops_tui.inference.engine_wire import EngineStart
from llmops_tui.jobs.process import die_with_parent


class GgufModel:
    """A GGUF model under llama.cpp, with an adapter or without; computed exactly, one sequence at a time."""

    def __init__(self, path: str, adapter: str, context: int, rung: EngineStart) -> None:
        """``rung`` are engine options of the way llama.cpp runs here; see :mod:`llmops_tui.inference.fallback`."""
        import llama_cpp

        self.lib = llama_cpp
        log = native_log.install(llama_cpp)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = rung.get("extra_buffers", True)
        params.n_gpu_layers = rung.get("gpu_layers", params.n_gpu_layers)
        self.model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self.model:
            raise ValueError(f"llama.cpp could not load {path}{log.why()}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = context
        settings.type_k = settings.type_v = 0
        settings.flash_attn_type = 0
        settings.n_threads = settings.n_threads_batch = max(1, (os.cpu_count() or 2) - 1)
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        if not self.context:
            raise ValueError("llama.cpp could not make a context")
        if adapter != "-":
            loaded = llama_cpp.llama_adapter_lora_init(self.model, os.fsencode(adapter))
            if not loaded:
                raise ValueError(f"llama.cpp could not load the adapter {adapter}{log.why()}")
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(loaded)
            scales = (ctypes.c_float * 1)(1.0)
            if llama_cpp.llama_set_adapters_lora(self.context, adapters, 1, scales):
                raise ValueError("llama.cpp could not use the adapter")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.size = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def tokenize(self, text: str) -> list[int]:
        """Its tokens, special ones read, none added."""
        raw = text.encode("utf-8", "replace")
        buffer = (self.lib.llama_token * (len(raw) + 16))()
        return list(buffer[: self.lib.llama_tokenize(self.vocab, raw, len(raw), buffer, len(buffer), False, True)])

    def logits(self, ids: list[int], start: int, *, fresh: bool) -> Any:
        """Logits at the last ``len(ids)`` positions, shape (tokens, vocabulary)."""
        if fresh:
            self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        batch = self.lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, start + i, 1, 1
            batch.seq_id[i][0] = 0
        status = self.lib.llama_decode(self.context, batch)
        self.lib.llama_batch_free(batch)
        if status:
            raise ValueError(f"llama.cpp could not decode ({status})")
        found = self.lib.llama_get_logits(self.context)
        return np.ctypeslib.as_array(found, shape=(len(ids), self.size)).copy()

    def greedy(self, ids: list[int], limit: int, ends: list[int]) -> list[int]:
        """The likeliest continuation, up to what ends it: one of the model's own tokens for that, or of ``ends``."""
        made: list[int] = []
        logits = self.logits(ids, 0, fresh=True)[-1]
        while len(made) < limit:
            token = int(logits.argmax())
            made.append(token)
            if token in ends or self.lib.llama_vocab_is_eog(self.vocab, token):
                break
            logits = self.logits([token], len(ids) + len(made) - 1, fresh=False)[-1]
        return made


def main() -> int:
    """Answer one request."""
    faulthandler.enable()
    rung, parent, model, adapter, request_path, answer_path = sys.argv[1:7]
    die_with_parent(int(parent))
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    pairs = list(zip(request["prompts"], request["answers"], strict=True))
    longest = max([len(p) + max(len(a), request["limit"]) for p, a in pairs], default=1) + 8
    try:
        loaded = GgufModel(model, adapter, longest, json.loads(rung))
        found: dict[str, Any] = {}
        for i, text in enumerate(request["texts"]):
            found[f"tokens{i}"] = np.array(loaded.tokenize(text), np.int64)
        for i, (prompt, answer) in enumerate(pairs):
            found[f"greedy{i}"] = np.array(loaded.greedy(prompt, request["limit"], request["ends"]), np.int64)
            if answer:
                logits = loaded.logits(prompt + answer[:-1], 0, fresh=True)[len(prompt) - 1 :]
                top = logits.max(axis=1, keepdims=True)
                found[f"logprobs{i}"] = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
            sys.stdout.write(f"{i + 1}\n")
            sys.stdout.flush()
    except ValueError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    np.savez(answer_path, **found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
