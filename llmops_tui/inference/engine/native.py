"""llama.cpp as this engine uses it: one model and one context with a cache stream a sequence, and adapters.

Every function of the library that the engine calls is called here, in :mod:`.sampler` and :mod:`.states`, or for embeddings in
:mod:`.embedding` and :mod:`.before_output`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from llmops_tui import native_log
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.engine.evaluation import AbortFlag, Batch, DecodeAbortedError
from llmops_tui.inference.engine.faults import UnsoundError
from llmops_tui.inference.engine.infill import GapWriter, marks_of
from llmops_tui.inference.engine.parameters import EngineOptions, ModelParameters, context_parameters
from llmops_tui.inference.engine.ranking import PairWriter, pair_facts
from llmops_tui.inference.engine.vocabulary import special_tokens
from llmops_tui.inference.engine_wire import EngineInfo
from llmops_tui.inference.plain_text import SpecialTokens
from llmops_tui.models.engine_settings import in_blocks

_OUTPUT_BYTES = 64 * 1024 * 1024
_PAD = 256
# Architectures to whose heads llama.cpp adds a softmax: what comes of them are probabilities, and no logits.
_NORMALISING = frozenset({"qwen3", "qwen3vl"})
_DECODED, _NO_ROOM, _ABORTED = 0, 1, 2


class NativeModel:
    """A loaded model, its vocabulary, and a context of ``parallel`` independent sequences.

    Each sequence has a cache stream of its own (``kv_unified`` off): attention then never looks at the cells of other
    sequences, and sequences that wait cost nothing. llama.cpp evaluates sequences together only where their ids follow
    one another, so whoever fills batches keeps the busy ids side by side and in ascending order.
    """

    def __init__(self, options: EngineOptions, progress: Callable[[float], None] | None = None) -> None:
        self._log = log = native_log.install(llama_cpp)
        llama_cpp.llama_backend_init()
        parameters = ModelParameters(options)
        if progress is not None:
            # Kept in a variable of its own: llama.cpp calls it until the model is loaded.
            told = llama_cpp.llama_progress_callback(lambda share, _data: progress(share) is None)
            parameters.native.progress_callback = told
        self.model = llama_cpp.llama_model_load_from_file(os.fsencode(options.path), parameters.native)
        if not self.model:
            raise LlmopsError("model_load_failed", f"llama.cpp could not load {options.path}{log.why()}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = int(llama_cpp.llama_vocab_n_tokens(self.vocab))
        self.bos = int(llama_cpp.llama_vocab_bos(self.vocab))
        self.adds_bos = bool(llama_cpp.llama_vocab_get_add_bos(self.vocab))
        self.trained_context = int(llama_cpp.llama_model_n_ctx_train(self.model))
        self.threads = options.threads or max(1, (os.cpu_count() or 2) - 1)
        self.parallel = options.parallel
        self.batch = options.batch
        wanted = min(options.context, self.trained_context) if options.context else min(self.trained_context, 4096)
        self.context = self._make_context(wanted, options)
        self.n_ctx = min(wanted, int(llama_cpp.llama_n_ctx_seq(self.context)))
        self.memory = llama_cpp.llama_get_memory(self.context)
        # Recurrent and hybrid models keep a state that cannot be cut back to an earlier token.
        self.can_trim = not (
            llama_cpp.llama_model_is_recurrent(self.model) or llama_cpp.llama_model_is_hybrid(self.model)
        )
        # Some layers of some models look back over so many tokens alone, and their cache may keep no more; 0: none do.
        self.window = int(llama_cpp.llama_model_n_swa(self.model))
        cells = -(-(self.window + options.micro_batch) // _PAD) * _PAD
        self.window_cells = self.n_ctx if options.swa_full else min(self.n_ctx, cells)
        self.has_encoder = bool(llama_cpp.llama_model_has_encoder(self.model))
        # Without a cache, or behind an encoder, there is no next token to be had here.
        self.generates = bool(self.memory) and not self.has_encoder
        plain = functools.partial(self.tokenize, add_special=False, parse_special=False)
        self.gaps = GapWriter(marks_of(self.vocab), plain)
        self.pairs = PairWriter(pair_facts(self.model, self.vocab), plain, self._controls)
        self.pooling = int(self.header_value("pooling_type") or -1)
        self.ranks = self.pooling == llama_cpp.LLAMA_POOLING_TYPE_RANK
        self.labels = self._label_names() if self.ranks and not self.pairs.facts.template else []
        """The labels that its head gives texts; none of a model that ranks pairs by a template of its own."""
        self._own = threading.local()
        self.ends = self._end_tokens()
        self.specials = SpecialTokens(special_tokens(self.vocab, self.n_vocab))
        self.begin = self._token_text(self.bos)
        """The text of the token that begins a text; empty where there is none."""
        self._visible: set[int] = set()
        self._pieces: list[bytes | None] = [None] * self.n_vocab
        self.adapters: dict[str, Any] = {}
        self._adapter = ""
        self._batch = Batch(options.batch)
        self._logits_at = 0
        self._logits: npt.NDArray[np.float32] = np.empty((0, self.n_vocab), np.float32)
        # Scored positions need a row of logits each; a chunk of a prompt is cut so that they stay small.
        self.max_scored = max(16, min(self.batch, _OUTPUT_BYTES // (4 * self.n_vocab)))
        log.loading = False

    def _make_context(self, wanted: int, options: EngineOptions) -> Any:
        params = context_parameters(options, wanted, self.threads)
        self._abort = AbortFlag()
        self._abort.attach(params)
        made = llama_cpp.llama_init_from_model(self.model, params)
        if not made:
            kind = options.cache_types[1]
            needs = f", or no flash attention, which cache_type_v {kind} requires" if in_blocks(kind) else ""
            raise LlmopsError(
                "context_failed",
                f"no memory for {self.parallel} contexts of {wanted:,} tokens{needs}",
                "Use a smaller context or fewer parallel requests, or unload another model."
                + (" Or keep values in 16 bits: cache_type_v f16." if needs else ""),
            )
        return made

    def check(self) -> None:
        """Decode a little, so that a build which does not fit this machine dies here and not under a request.

        Two tokens at once and then one: prompts and single tokens take different kernels, and either may be the one
        that is wrong.

        Raises:
            UnsoundError: the logits are no numbers.
            LlmopsError: ``decode_failed``.
        """
        token = max(self.bos, 0)
        if llama_cpp.llama_model_has_encoder(self.model):
            array = (llama_cpp.llama_token * 2)(token, token)
            if llama_cpp.llama_encode(self.context, llama_cpp.llama_batch_get_one(array, 2)) != 0:
                raise LlmopsError("decode_failed", "llama.cpp failed to evaluate two tokens")
        if not llama_cpp.llama_model_has_decoder(self.model):
            return
        if not self.memory:
            # It makes vectors, not logits.
            self.decode([token, token], [0, 1], [0, 0], [1, 1])
            return
        for tokens, positions in (([token, token], [0, 1]), ([token], [2])):
            self.decode(tokens, positions, [0] * len(tokens), [0] * (len(tokens) - 1) + [1])
            if not np.isfinite(self.logits(1)[0]).all():
                raise UnsoundError(f"what llama.cpp computed of {counted(len(tokens), 'token')} is not a number")
        # As new, down to which cells are taken first.
        llama_cpp.llama_memory_clear(self.memory, True)

    def abort(self, *, on: bool) -> None:
        """Stop the step that is running as soon as possible, or allow steps again. Safe from any thread."""
        self._abort.set(on=on)

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        """Token ids of ``text``."""
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 8
        buffer = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), buffer, size, add_special, parse_special)
        if count < 0:
            raise LlmopsError("tokenize_failed", f"llama.cpp could not tokenize {counted(len(raw), 'byte')}")
        return list(buffer[:count])

    def room(self, wanted: int) -> int:
        """How many tokens a prompt keeps that has to be cut, beside an answer of up to ``wanted``."""
        return max(1, self.n_ctx - max(1, min(wanted, self.n_ctx // 4)))

    def check_tokens(self, tokens: Sequence[int]) -> None:
        """Refuse ids that are not in the vocabulary.

        Raises:
            InputRefusedError: ``bad_token``.
        """
        if tokens and (min(tokens) < 0 or max(tokens) >= self.n_vocab):
            wrong = next(t for t in tokens if not 0 <= t < self.n_vocab)
            raise InputRefusedError(
                "bad_token", f"the token id {wrong:,} is not in the vocabulary: ids go from 0 to {self.n_vocab - 1:,}"
            )

    def show(self, texts: Sequence[str]) -> None:
        """Make control tokens a part of answers."""
        self._visible = {token for text in texts for token in self._single(text)}
        self._pieces = [None] * self.n_vocab

    def piece(self, token: int) -> bytes:
        """The bytes of one token as part of an answer; control tokens that are not made visible are empty."""
        known = self._pieces[token]
        if known is None:
            known = self._pieces[token] = self.raw_piece(token, special=token in self._visible)
        return known

    def raw_piece(self, token: int, *, special: bool = True) -> bytes:
        """The bytes of one token, control tokens included. Safe from any thread, as :meth:`tokenize` is."""
        buffer = getattr(self._own, "buffer", None)
        if buffer is None:
            buffer = self._own.buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, special)
        if length < 0:
            self._own.buffer = ctypes.create_string_buffer(-length)
            return self.raw_piece(token, special=special)
        return buffer.raw[:length]

    def add_adapter(self, name: str, path: str, visible: Sequence[str] = (), ends: Sequence[str] = ()) -> None:
        """Load a LoRA adapter beside the base.

        ``visible`` and ``ends`` are marks of the chat template that it was trained with: those that are part of answers,
        and those that end one.

        Raises:
            LlmopsError: ``adapter_load_failed``.
        """
        if name in self.adapters:
            return
        self._log.why()  # what was told before is no cause of this
        adapter = llama_cpp.llama_adapter_lora_init(self.model, os.fsencode(path))
        if not adapter:
            raise LlmopsError(
                "adapter_load_failed",
                f"llama.cpp could not load the adapter {name!r} for this model{self._log.why()}, from {path}",
                "An adapter fits only the model it was trained on.",
            )
        self.adapters[name] = adapter
        shown = {token for text in visible for token in self._single(text)} - self._visible
        self._visible |= shown
        for token in shown:
            self._pieces[token] = None
        self.ends |= {token for text in ends for token in self._single(text)}

    def drop_adapter(self, name: str) -> None:
        """Give an adapter's memory back; of one that is not there nothing is done."""
        adapter = self.adapters.pop(name, None)
        if adapter is None:
            return
        if name == self._adapter:
            self.use_adapter("")
        llama_cpp.llama_adapter_lora_free(adapter)

    def use_adapter(self, name: str) -> None:
        """Evaluate the next steps with this adapter; the empty name is the base alone."""
        if name != self._adapter:
            self.set_adapter(self.context, name)
            self._adapter = name

    def set_adapter(self, context: Any, name: str) -> None:
        """The same for any context of this model."""
        if name:
            handles = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(self.adapters[name])
            scales = (ctypes.c_float * 1)(1.0)
            status = llama_cpp.llama_set_adapters_lora(context, handles, 1, scales)
        else:
            status = llama_cpp.llama_set_adapters_lora(context, None, 0, None)
        if status != 0:
            raise LlmopsError("adapter_failed", f"llama.cpp refused the adapter {name!r}")

    def decode(self, tokens: list[int], positions: list[int], sequences: list[int], outputs: list[int]) -> None:
        """Evaluate tokens; ``outputs`` are 1 where logits are wanted, in whose order :meth:`logits` has its rows.

        Raises:
            DecodeAbortedError: :meth:`abort` was called.
            LlmopsError: ``decode_failed``.
        """
        status = llama_cpp.llama_decode(self.context, self._batch.fill(tokens, positions, sequences, outputs))
        if status == _ABORTED:
            raise DecodeAbortedError
        if status != _DECODED:
            why = "no room in the cache" if status == _NO_ROOM else f"status {status}"
            raise LlmopsError("decode_failed", f"llama.cpp failed to evaluate {counted(len(tokens), 'token')} ({why})")

    def logits(self, rows: int) -> npt.NDArray[np.float32]:
        """The logits of the last step, shape (rows, vocabulary); valid until the next."""
        at = ctypes.addressof(llama_cpp.llama_get_logits(self.context).contents)
        if at != self._logits_at or rows > len(self._logits):
            kept = memoryview((ctypes.c_float * (rows * self.n_vocab)).from_address(at)).cast("B")
            self._logits = np.frombuffer(kept, np.float32).reshape(rows, self.n_vocab)
            self._logits_at = at
        return self._logits[:rows]

    def trim(self, sequence: int, length: int) -> bool:
        """Forget a sequence's tokens from ``length`` on; false where this model cannot, and nothing is left then.

        A model with a window cannot where the tokens that the next one looks back at are no longer there.
        """
        if llama_cpp.llama_memory_seq_rm(self.memory, sequence, length, -1) and (
            not length or self.resumes(self.first(sequence), length)
        ):
            return True
        llama_cpp.llama_memory_seq_rm(self.memory, sequence, -1, -1)
        return False

    def first(self, sequence: int) -> int:
        """The earliest token of a sequence that all layers still have; -1 where there is none."""
        return int(llama_cpp.llama_memory_seq_pos_min(self.memory, sequence)) if self.window else 0

    def resumes(self, first: int, length: int) -> bool:
        """Whether a token can be evaluated after ``length`` others of which all layers have those from ``first`` on."""
        return 0 <= first <= max(0, length - self.window + 1) if self.window else True

    def describe(self) -> EngineInfo:
        """Facts about the loaded model that the server and the screens show."""
        eos = int(llama_cpp.llama_vocab_eos(self.vocab))
        return {
            "n_ctx": self.n_ctx,
            "parallel": self.parallel,
            "n_vocab": self.n_vocab,
            "trained_context": self.trained_context,
            "bos": self.begin,
            "eos": self._token_text(eos),
            "add_bos": self.adds_bos,
            "controls": self.specials.controls,
            "marks": self.specials.marks,
            "can_trim": self.can_trim,
            "window": self.window,
            "embedding_length": int(llama_cpp.llama_model_n_embd(self.model)),
            "model_bytes": int(llama_cpp.llama_model_size(self.model)),
            "engine": f"llama-cpp-python {llama_cpp.__version__}",
            "fills": self.gaps.marks.fills,
            "generates": self.generates,
            "ranks": self.ranks,
            "labels": self.labels,
            "head_normalises": self.header_name in _NORMALISING,
        }

    @property
    def header_name(self) -> str:
        """The model's architecture, as the file's header names it."""
        return self._meta("general.architecture")

    def header_value(self, key: str) -> str:
        """A value of the file's header that belongs to the model's architecture, as text; empty where there is none."""
        return self._meta(f"{self.header_name}.{key}")

    def _label_names(self) -> list[str]:
        """What the outputs of the head are called; none where the file does not name each of them."""
        count = int(llama_cpp.llama_model_n_cls_out(self.model))
        found = [llama_cpp.llama_model_cls_label(self.model, n) for n in range(count)]
        return [] if None in found else [bytes(name or b"").decode("utf-8", "replace") for name in found]

    def _meta(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_model_meta_val_str(self.model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else ""

    def _end_tokens(self) -> frozenset[int]:
        is_end: Callable[[Any, int], bool] = llama_cpp.llama_vocab_is_eog
        return frozenset(token for token in range(self.n_vocab) if is_end(self.vocab, token))

    def _controls(self, text: str) -> list[tuple[int, str]]:
        found = self.tokenize(text, add_special=False)
        return [(t, self._token_text(t)) for t in found if llama_cpp.llama_vocab_is_control(self.vocab, t)]

    def _single(self, text: str) -> list[int]:
        """The token that stands for ``text`` alone, where there is one."""
        found = self.tokenize(text, add_special=False)
        return found if len(found) == 1 else []

    def _token_text(self, token: int) -> str:
        return "" if token < 0 else self.raw_piece(token).decode("utf-8", "replace")
