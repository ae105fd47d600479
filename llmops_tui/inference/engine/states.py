"""The state of one sequence, copied out of llama.cpp and restored."""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
import numpy.typing as npt

from llmops_tui.inference.engine.native import NativeModel


def save(native: NativeModel, sequence: int, *, window: bool = False) -> npt.NDArray[np.uint8]:
    """A copy of one sequence's state; with ``window`` of the layers alone that look through one.

    Of those llama.cpp gives what the next token looks back at, and nothing before it.
    """
    flags = llama_cpp.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY if window else 0
    size = int(llama_cpp.llama_state_seq_get_size_ext(native.context, sequence, flags))
    buffer = np.empty(size, np.uint8)
    target = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    written = int(llama_cpp.llama_state_seq_get_data_ext(native.context, target, size, sequence, flags))
    return buffer[:written]


def restore(native: NativeModel, sequence: int, state: npt.NDArray[np.uint8], *, window: bool = False) -> bool:
    """Replace a sequence, or its windows, by a saved state; false where it did not fit, and it is empty then."""
    flags = llama_cpp.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY if window else 0
    source = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    if llama_cpp.llama_state_seq_set_data_ext(native.context, source, state.size, sequence, flags) == state.size:
        return True
    llama_cpp.llama_memory_seq_rm(native.memory, sequence, -1, -1)
    return False
