"""The sampler of one request: llama.cpp's sampler chain over the tokens that the constraint allows."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from llmops_tui.inference.engine.grammar import Matcher
from llmops_tui.inference.engine.native import NativeModel

if TYPE_CHECKING:
    # Checked by the server; the engine's process starts sooner without pydantic.
    from llmops_tui.inference.sampling import SamplingParameters

_PENALTY_WINDOW = 64
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class TokenSampler:
    """Chooses tokens for one request; :meth:`close` frees what llama.cpp holds for it.

    With a matcher, the chain sees the tokens alone that the answer's form allows.
    """

    def __init__(
        self,
        native: NativeModel,
        parameters: SamplingParameters,
        matcher: Matcher | None = None,
        *,
        goes_on: bool = False,
    ) -> None:
        """``goes_on``: an answer that may end by its form does so only where nothing else is left."""
        self._matcher = matcher
        self._unwanted = sorted(native.ends) if goes_on else []
        penalised = (
            parameters.repeat_penalty != 1
            or parameters.frequency_penalty != 0
            or parameters.presence_penalty != 0
            or bool(parameters.logit_bias)
        )
        # The chain keeps the likeliest tokens alone, and nothing before that changes their order.
        self._shortlist = parameters.top_k if parameters.temperature > 0 and not penalised else 0
        # Without anything that changes the logits, the likeliest token is found for all requests at once.
        self.plain_greedy = parameters.temperature <= 0 and not penalised and matcher is None
        self._chain = None if self.plain_greedy else _make_chain(native, parameters)

    @property
    def finished(self) -> bool:
        """Whether the answer's form is complete and nothing may follow."""
        return self._matcher is not None and self._matcher.finished

    def choose(self, row: npt.NDArray[np.float32]) -> int:
        """The next token from one row of logits, shape (vocabulary,).

        Raises:
            InputRefusedError: the answer's form allows none, or became too costly to hold to.
        """
        if self._chain is None:
            return int(row.argmax())
        if self._matcher is None:
            token = self._select(_ids(len(row)), row)
        else:
            allowed = self._allowed(self._matcher)
            token = self._select(allowed, row[allowed])
        return self.accept(token)

    def accept(self, token: int) -> int:
        """Take a token that was chosen elsewhere; returns it.

        Raises:
            InputRefusedError: the answer's form does not allow it.
        """
        if self._matcher is not None:
            self._matcher.take(token)
        if self._chain is not None:
            llama_cpp.llama_sampler_accept(self._chain, token)
        return token

    def _allowed(self, matcher: Matcher) -> npt.NDArray[np.int64]:
        allowed = matcher.allowed()
        if not self._unwanted:
            return allowed
        others = allowed[~np.isin(allowed, self._unwanted)]
        return others if others.size else allowed

    def close(self) -> None:
        """Free the native objects."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
        self._chain = None

    def _select(self, ids: npt.NDArray[Any], logits: npt.NDArray[np.float32]) -> int:
        """What the chain chooses of these tokens."""
        if self._shortlist:
            likely = _likeliest(logits, self._shortlist)
            ids, logits = ids[likely], logits[likely]
        candidates = np.empty(len(ids), _CANDIDATE)
        candidates["id"] = ids
        candidates["logit"] = logits
        candidates["p"] = 0
        array = _array_of(candidates)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)


# Values a block: large enough that there are few maxima to sort, small enough that few others come with them.
_BLOCK = 32


def _likeliest(logits: npt.NDArray[np.float32], count: int) -> Any:
    """Where in ``logits`` the ``count`` greatest are, and a few others, in order; all of it where it is short.

    The count-th greatest of the blocks' maxima has as many values at or above it, so nothing greater is left out. Two
    passes over the logits cost a fraction of handing each of them to the chain.
    """
    blocks = len(logits) // _BLOCK
    if blocks <= 4 * count:
        return slice(None)
    # A block is every blocks-th value: so laid out, their maxima are taken side by side.
    maxima = logits[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
    return np.flatnonzero(logits >= np.partition(maxima, blocks - count)[blocks - count])


_ids_cache: dict[int, npt.NDArray[np.int32]] = {}


def _ids(count: int) -> npt.NDArray[np.int32]:
    if count not in _ids_cache:
        _ids_cache[count] = np.arange(count, dtype=np.int32)
    return _ids_cache[count]


def _array_of(candidates: npt.NDArray[Any]) -> Any:
    data = candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
    return llama_cpp.llama_token_data_array(data, len(candidates), -1, False)


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
