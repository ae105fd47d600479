"""The hidden states of a text before the output layer, which is skipped.

llama.cpp evaluates the output layer for every position that is embedded, though nobody asks for its logits. Its callback
between the nodes of a graph can take the rows that this layer would get, and end the evaluation with them.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp._ggml import libggml

# What llama.cpp's graphs call the rows after the last layer's normalization.
_NODE = b"result_norm"


class HiddenStates:
    """The rows of one evaluation, a position each, where :attr:`ends_there` says that it ends with them."""

    def __init__(self) -> None:
        self.ends_there = False
        self._rows: list[npt.NDArray[np.float32]] = []
        # Kept here, since llama.cpp calls it for as long as the context lives.
        self._callback = llama_cpp.ggml_backend_sched_eval_callback(self._inspect)
        self._name_of = libggml.ggml_get_name
        self._name_of.restype, self._name_of.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        self._bytes_of = libggml.ggml_nbytes
        self._bytes_of.restype, self._bytes_of.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
        self._read = libggml.ggml_backend_tensor_get
        self._read.restype = None
        self._read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]

    def attach(self, params: Any) -> None:
        """Have a context that is made with these parameters ask here."""
        params.cb_eval = self._callback

    def take(self, count: int, width: int) -> npt.NDArray[np.float32] | None:
        """The rows of the last evaluation, shape (count, width); none where it did not come by them in one piece."""
        rows, self._rows = self._rows, []
        return rows[0].reshape(count, width) if [r.size for r in rows] == [count * width] else None

    def _inspect(self, tensor: int, asks: bool, _data: int | None) -> bool:
        """First asked of each node whether it is of interest, then, for one that is, whether to go on after it."""
        if asks:
            return self.ends_there and self._name_of(tensor) == _NODE
        buffer = np.empty(self._bytes_of(tensor) // 4, np.float32)
        self._read(tensor, buffer.ctypes.data, 0, buffer.nbytes)
        self._rows.append(buffer)
        return False
