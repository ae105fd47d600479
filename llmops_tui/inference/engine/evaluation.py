"""One llama.cpp evaluation in a context: its batch, its abort flag, and how it ended."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np


class DecodeAbortedError(Exception):
    """A step was given up because nobody waits for it any more."""


class AbortFlag:
    """Whether a context's evaluation is to stop; set from any thread.

    llama.cpp asks between graph nodes. Calling into Python there costs more than a small model's step; the C library's
    strlen is the callback instead: an empty string is "go on", any other "stop".
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)

    def attach(self, params: Any) -> None:
        """Have a context that is made with these parameters look at this flag."""
        params.abort_callback = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
        params.abort_callback_data = ctypes.cast(self._text, ctypes.c_void_p)

    def set(self, *, on: bool) -> None:
        """Stop the evaluation that runs as soon as possible, or allow them again."""
        self._text[0] = b"x" if on else b"\0"


class Batch:
    """A ``llama_batch`` over numpy arrays, so that a step fills it with a few slices and no loop."""

    def __init__(self, size: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._sequences = np.zeros(size, np.int32)
        self._outputs = np.zeros(size, np.int8)
        # seq_id is an array of pointers, each to the one sequence of its token.
        self._pointers = self._sequences.ctypes.data + 4 * np.arange(size, dtype=np.int64)
        self._native = llama_cpp.llama_batch(
            0,
            self._tokens.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token)),
            None,
            self._positions.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_pos)),
            self._counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            self._pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(llama_cpp.llama_seq_id))),
            self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, tokens: list[int], positions: list[int], sequences: list[int], outputs: list[int]) -> Any:
        """The batch of these tokens, for llama.cpp; valid until the next."""
        count = len(tokens)
        self._native.n_tokens = count
        self._tokens[:count] = tokens
        self._positions[:count] = positions
        self._sequences[:count] = sequences
        self._outputs[:count] = outputs
        return self._native
