"""The engine's settings as llama.cpp parameters; each field is applied in this one place."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import llama_cpp

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.models.engine_settings import EngineSettings, check_settings

_PAD = 256
# ggml's numbers of types; the binding has no names for some of them.
_CACHE_TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20, "bf16": 30,
}  # fmt: skip
_SPLIT_MODES = {
    "auto": llama_cpp.LLAMA_SPLIT_MODE_LAYER, "none": llama_cpp.LLAMA_SPLIT_MODE_NONE,
    "layer": llama_cpp.LLAMA_SPLIT_MODE_LAYER, "row": llama_cpp.LLAMA_SPLIT_MODE_ROW,
}  # fmt: skip
# By mmap and mlock.
_LOAD_MODES = {
    (True, False): llama_cpp.LLAMA_LOAD_MODE_AUTO, (True, True): llama_cpp.LLAMA_LOAD_MODE_MMAP_MLOCK,
    (False, False): llama_cpp.LLAMA_LOAD_MODE_NONE, (False, True): llama_cpp.LLAMA_LOAD_MODE_MLOCK,
}  # fmt: skip


@dataclass(frozen=True)
class EngineOptions(EngineSettings):
    """How one engine loads one file.

    ``gpu_layers`` and ``main_gpu`` are what was planned: GPUs count as the engine's process sees them, and without a plan
    nothing is on one.
    """

    path: str
    gpu_layers: int = field(default=0, kw_only=True)
    # Weights repacked for this processor's own instructions: given up where they crash.
    extra_buffers: bool = True


class _Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


class ModelParameters:
    """``llama_model_params``, and what they point to.

    Raises:
        LlmopsError: more GPUs have a share than llama.cpp knows of.
    """

    def __init__(self, options: EngineOptions) -> None:
        check_settings(options)
        native = llama_cpp.llama_model_default_params()
        native.n_gpu_layers = options.gpu_layers
        native.use_extra_bufts = options.extra_buffers
        native.split_mode = _SPLIT_MODES[options.split_mode]
        # Of a model that is not split -1 is no GPU at all.
        native.main_gpu = options.main_gpu if options.split_mode == "none" else max(0, options.main_gpu)
        native.load_mode = _LOAD_MODES[options.mmap, options.mlock]
        if options.tensor_split:
            size = int(llama_cpp.llama_max_devices())
            if len(options.tensor_split) > size:
                raise LlmopsError(
                    "too_many_gpus",
                    f"tensor_split has {counted(len(options.tensor_split), 'share')}; this build takes {size} GPUs",
                )
            self._shares = (ctypes.c_float * size)(*options.tensor_split)
            native.tensor_split = self._shares
        if options.cpu_moe:
            self._overrides = _experts_on_host(options.cpu_moe)
            native.tensor_buft_overrides = ctypes.addressof(self._overrides)
        self.native: Any = native


def context_parameters(options: EngineOptions, wanted: int, threads: int) -> Any:
    """``llama_context_params`` for ``wanted`` tokens a sequence, without callbacks."""
    params = llama_cpp.llama_context_default_params()
    if not options.flash:
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.type_k, params.type_v = (_CACHE_TYPES[kind] for kind in options.cache_types)
    params.n_ctx = -(-wanted // _PAD) * _PAD * options.parallel
    params.n_batch, params.n_ubatch = options.batch, options.micro_batch
    params.n_seq_max = options.parallel
    params.kv_unified = False
    params.swa_full = options.swa_full
    params.n_threads = params.n_threads_batch = threads
    params.no_perf = True
    return params


def _experts_on_host(layers: int) -> Any:
    """The tensors of experts of the first layers, placed into host memory; the list ends with an empty entry."""
    library = llama_cpp.llama_cpp._lib  # noqa: SLF001  the binding has no name for this function of the library
    buffer_type = library.ggml_backend_cpu_buffer_type
    buffer_type.restype = ctypes.c_void_p
    made = (_Override * (layers + 1))()
    for layer in range(layers):
        pattern = rf"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps"
        made[layer] = _Override(pattern.encode(), buffer_type())
    return made
