"""How one request's next token is chosen: llama.cpp's sampler chain, with a grammar beside it where one is asked for."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.sampling import SamplingParameters

_PENALTY_WINDOW = 64
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_MAX_GRAMMAR = 200_000
_MAX_TRIES = 64


class TokenSampler:
    """Chooses tokens for one request; :meth:`close` frees what llama.cpp holds for it.

    A grammar is first asked only whether it allows the token the chain chose; it filters the whole vocabulary only
    where it does not, which is rare and a hundred times dearer.
    """

    def __init__(
        self, native: NativeModel, parameters: SamplingParameters, grammar: str = "", trigger: str = ""
    ) -> None:
        self._native = native
        self._grammar = _make_grammar(native, grammar, trigger) if grammar else None
        penalised = (
            parameters.repeat_penalty != 1
            or parameters.frequency_penalty != 0
            or parameters.presence_penalty != 0
            or bool(parameters.logit_bias)
        )
        # Without anything that changes the logits, the likeliest token is found for all requests at once.
        self.plain_greedy = parameters.temperature <= 0 and not penalised and self._grammar is None
        self._chain = None if self.plain_greedy else _make_chain(native, parameters)
        self._one = np.zeros(1, _CANDIDATE)
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def choose(self, row: npt.NDArray[np.float32]) -> int:
        """The next token from one row of logits, shape (vocabulary,)."""
        if self._chain is None:
            return int(row.argmax())
        token = self._select(row) if self._grammar is None else self._choose_allowed(row)
        llama_cpp.llama_sampler_accept(self._chain, token)
        return token

    def _choose_allowed(self, row: npt.NDArray[np.float32]) -> int:
        """A token that the grammar allows and that keeps the text sound UTF-8, which grammars do not ask for."""
        token = self._select(row)
        if not self._allows(token) or not self._keeps_text_sound(token):
            banned: list[int] = []
            token = self._select(row, banned)
            while len(banned) < _MAX_TRIES and not self._keeps_text_sound(token):
                banned.append(token)
                token = self._select(row, banned)
        with contextlib.suppress(UnicodeDecodeError):
            self._decoder.decode(self._native.piece(token))
        llama_cpp.llama_sampler_accept(self._grammar, token)
        return token

    def _keeps_text_sound(self, token: int) -> bool:
        before = self._decoder.getstate()
        try:
            self._decoder.decode(self._native.piece(token), final=token in self._native.ends)
        except UnicodeDecodeError:
            return False
        finally:
            self._decoder.setstate(before)
        return True

    def close(self) -> None:
        """Free the native objects."""
        for sampler in (self._chain, self._grammar):
            if sampler is not None:
                llama_cpp.llama_sampler_free(sampler)
        self._chain = self._grammar = None

    def _select(self, row: npt.NDArray[np.float32], banned: list[int] | None = None) -> int:
        """What the chain chooses; with ``banned``, of what the grammar allows and without those tokens."""
        candidates = np.empty(len(row), _CANDIDATE)
        candidates["id"] = _ids(len(row))
        candidates["logit"] = row
        candidates["p"] = 0
        array = _array_of(candidates)
        if banned is not None:
            candidates["logit"][banned] = -np.inf
            llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(array))
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _allows(self, token: int) -> bool:
        self._one[0] = (token, 1.0, 0.0)
        array = _array_of(self._one)
        llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(self._one["logit"][0] > -np.inf)


_ids_cache: dict[int, npt.NDArray[np.int32]] = {}


def _ids(count: int) -> npt.NDArray[np.int32]:
    if count not in _ids_cache:
        _ids_cache[count] = np.arange(count, dtype=np.int32)
    return _ids_cache[count]


def _array_of(candidates: npt.NDArray[Any]) -> Any:
    data = candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
    return llama_cpp.llama_token_data_array(data, len(candidates), -1, False)


def _make_grammar(native: NativeModel, grammar: str, trigger: str) -> Any:
    if len(grammar) > _MAX_GRAMMAR:
        raise InputRefusedError("grammar_invalid", f"the grammar is longer than {_MAX_GRAMMAR:,} characters")
    if trigger:
        patterns = (ctypes.c_char_p * 1)(trigger.encode())
        made = llama_cpp.llama_sampler_init_grammar_lazy_patterns(
            native.vocab, grammar.encode(), b"root", patterns, 1, None, 0
        )
    else:
        made = llama_cpp.llama_sampler_init_grammar(native.vocab, grammar.encode(), b"root")
    if not made:
        raise InputRefusedError(
            "grammar_invalid", "llama.cpp cannot parse the grammar", "It must be GBNF with a rule named root."
        )
    return made


def _make_chain(native: NativeModel, parameters: SamplingParameters) -> Any:
    """A sampler chain in llama.cpp's usual order: bias, penalties, top-k, top-p, min-p, temperature."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    add = llama_cpp.llama_sampler_chain_add
    if parameters.logit_bias:
        biases = [(int(token), bias) for token, bias in parameters.logit_bias.items()]
        native.check_tokens([token for token, _ in biases])
        array = (llama_cpp.llama_logit_bias * len(biases))(*biases)
        add(chain, llama_cpp.llama_sampler_init_logit_bias(native.n_vocab, len(biases), array))
    penalties = (parameters.repeat_penalty, parameters.frequency_penalty, parameters.presence_penalty)
    if penalties != (1, 0, 0):
        add(chain, llama_cpp.llama_sampler_init_penalties(native.n_vocab, _PENALTY_WINDOW, *penalties))
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
