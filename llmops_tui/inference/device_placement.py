"""Device placement of a model: one GPU if it fits, else several, else the host; and the memory it takes of each.

The plan is what is done: the engine's process sees the planned GPUs and no others, and llama.cpp is told how many layers
each of them gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.hardware import memory
from llmops_tui.hardware.cuda_devices import CudaDevice, cuda_devices, environment_for
from llmops_tui.inference.fallback import RUNGS, Rung
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.probe import probe
from llmops_tui.models.engine_settings import check_settings, draft_settings
from llmops_tui.models.gguf_header import GgufHeader
from llmops_tui.models.memory import MemoryEstimate, choose_layers, choose_rows, context_note, default_context, estimate

Available = Callable[[str], int]


@dataclass(frozen=True)
class Plan:
    """How a model is loaded: the options as the engine gets them, the GPUs it sees, and what it needs.

    ``notes`` say what was asked for and cannot be had here; ``draft`` is what a draft model needs, in bytes; ``rung`` is
    the way in which llama.cpp is known to run here.
    """

    options: LoadOptions
    gpus: tuple[CudaDevice, ...]
    needed: MemoryEstimate
    notes: tuple[str, ...] = ()
    draft: int = 0
    rung: Rung = RUNGS[0]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each device."""
        on_gpus = {gpu.name: size for gpu, size in zip(self.gpus, self.needed.gpus, strict=True)}
        sizes = on_gpus | {memory.HOST: self.needed.host}
        # A draft model is where the model is, or begins.
        return sizes | {next(iter(sizes)): next(iter(sizes.values())) + self.draft}

    @property
    def device(self) -> str:
        """Where the model is, in a word or a few."""
        return " + ".join(gpu.name for gpu in self.gpus) or memory.HOST

    @property
    def environment(self) -> dict[str, str]:
        """What the engine's process has to be started with."""
        return environment_for(list(self.gpus))


@lru_cache(maxsize=1)
def _build_uses_gpus() -> bool:
    facts = probe()
    if "error" in facts:  # raised, so that it is not kept: a busy machine answers the next time
        raise LlmopsError("engine_unusable", facts["error"], "llmops doctor shows details.")
    return bool(facts["gpu"])


def usable_gpus() -> list[CudaDevice]:
    """The GPUs that llama.cpp, as it is built here, can use.

    Raises:
        LlmopsError: there are GPUs, and llama.cpp could not be asked whether it uses them.
    """
    found = cuda_devices()
    return found if found and _build_uses_gpus() else []


def make_plan(
    header: GgufHeader,
    options: LoadOptions,
    gpus: Sequence[CudaDevice],
    available: Available,
    draft: GgufHeader | None = None,
) -> Plan:
    """The plan for one model and its draft model; ``available`` is what can be taken of a device, in bytes.

    Raises:
        InputRefusedError: ``bad_setting``: values that cannot be, or GPUs that are not there.
    """
    check_settings(options)
    beside = 0
    if draft is not None:
        needs = estimate(draft, replace(draft_settings(options), context=default_context(header, options.context)))
        beside = needs.weights + needs.kv_cache + needs.compute
    planned = _without_draft(header, options, gpus, lambda device: available(device) - beside)
    notes = [context_note(header, options.context)]
    if options.cpu_moe and not _has_experts(header):
        notes.append("cpu_moe: this model is not a mixture of experts; the setting has no effect")
    return replace(planned, draft=beside, notes=(*planned.notes, *filter(None, notes)))


def _without_draft(header: GgufHeader, options: LoadOptions, gpus: Sequence[CudaDevice], available: Available) -> Plan:
    if not gpus or options.gpu_layers == 0:
        return _on_host(header, options, _unmet(header, options, there=bool(gpus)))
    if options.split_mode == "row":
        return _in_rows(header, options, _whole_gpus(gpus, options), available)
    if options.split_mode == "layer" or options.tensor_split:
        return _in_layers(header, options, _whole_gpus(gpus, options), available)
    one = _on_one(header, options, gpus, available)
    whole = [gpu for gpu in gpus if not gpu.instance]
    asked = one.needed.layers + 1 if options.gpu_layers < 0 else min(options.gpu_layers, one.needed.layers + 1)
    fits = one.needed.gpu_layers == asked and all(s <= available(d) for d, s in one.sizes.items() if d != memory.HOST)
    if fits or options.split_mode == "none" or options.main_gpu >= 0 or len(whole) < 2:
        return one
    several = _in_layers(header, options, whole, available)
    return several if several.needed.gpu_layers >= one.needed.gpu_layers else one


def _on_host(header: GgufHeader, options: LoadOptions, notes: tuple[str, ...] = ()) -> Plan:
    # No GPU by this name is no GPU at all: llama.cpp would use one for long prompts otherwise.
    planned = replace(options, gpu_layers=0, split_mode="none", main_gpu=-1, tensor_split=())
    return Plan(planned, (), estimate(header, options), notes)


def _unmet(header: GgufHeader, options: LoadOptions, *, there: bool) -> tuple[str, ...]:
    """What was asked of GPUs that there are none of, or that gpu_layers 0 leaves out although they are ``there``."""
    asked = {
        "gpu_layers": options.gpu_layers > 0,
        "main_gpu": options.main_gpu >= 0,
        "tensor_split": bool(options.tensor_split),
        "split_mode": options.split_mode in {"layer", "row"},
        "cpu_moe": options.cpu_moe > 0 and _has_experts(header),
    }
    named = ", ".join(name for name, true in asked.items() if true)
    why = "gpu_layers is 0, so no GPU is used" if there else "this machine has no GPU that llama.cpp can use"
    return (f"{named}: {why}; the model is on the host",) if named else ()


def _has_experts(header: GgufHeader) -> bool:
    return any(header.expert_bytes.values())


def _on_one(header: GgufHeader, options: LoadOptions, gpus: Sequence[CudaDevice], available: Available) -> Plan:
    gpu = _main(gpus, options) if options.main_gpu >= 0 else max(gpus, key=lambda g: available(g.name))
    if options.gpu_layers > 0:
        needed = estimate(header, options, (_at_most(header, options.gpu_layers),))
    else:
        needed = choose_layers(header, options, [available(gpu.name)])
    if not needed.gpu_layers:
        return _on_host(header, options)
    planned = replace(options, gpu_layers=needed.gpu_layers, split_mode="none", main_gpu=0, tensor_split=())
    return Plan(planned, (gpu,), needed)


def _in_layers(header: GgufHeader, options: LoadOptions, gpus: Sequence[CudaDevice], available: Available) -> Plan:
    gpus, shares = _with_shares(gpus, options)
    free = [available(gpu.name) for gpu in gpus]
    needed = choose_layers(header, options, free, options.gpu_layers, shares=shares, insist=options.gpu_layers > 0)
    if not needed.gpu_layers:
        return _on_host(header, options)
    used = [(gpu, count, size) for gpu, count, size in zip(gpus, needed.on, needed.gpus, strict=True) if count]
    needed = replace(needed, on=tuple(c for _, c, _ in used), gpus=tuple(s for _, _, s in used))
    # The shares are the layers themselves, so that llama.cpp's rounding comes to the same.
    planned = replace(
        options, gpu_layers=needed.gpu_layers, split_mode="layer", main_gpu=0, tensor_split=tuple(map(float, needed.on))
    )
    return Plan(planned, tuple(gpu for gpu, _, _ in used), needed)


def _in_rows(header: GgufHeader, options: LoadOptions, gpus: Sequence[CudaDevice], available: Available) -> Plan:
    gpus, shares = _with_shares(gpus, options)
    free = [available(gpu.name) for gpu in gpus]
    rows = shares or [float(max(0, room)) for room in free]
    if not any(rows):
        # No room anywhere: whoever holds it is named when the memory is to be taken.
        rows = [1.0] * len(gpus)
    needed = choose_rows(header, options, rows, free, options.gpu_layers, insist=options.gpu_layers > 0)
    if not needed.gpu_layers:
        return _on_host(header, options)
    planned = replace(options, gpu_layers=needed.gpu_layers, split_mode="row", main_gpu=0, tensor_split=tuple(rows))
    return Plan(planned, tuple(gpus), needed)


def _whole_gpus(gpus: Sequence[CudaDevice], options: LoadOptions) -> list[CudaDevice]:
    """The GPUs a model can be split over, the main one first."""
    whole = [gpu for gpu in gpus if not gpu.instance]
    if not whole:
        raise _refuse(
            f"split_mode {options.split_mode} requires full GPUs, and there are only MIG instances ({_names(gpus)})",
            "A process can use one instance: use split_mode none.",
        )
    if options.main_gpu < 0:
        return whole
    main = _main(whole, options)
    return [main, *(gpu for gpu in whole if gpu is not main)]


def _with_shares(gpus: Sequence[CudaDevice], options: LoadOptions) -> tuple[list[CudaDevice], list[float]]:
    """The GPUs that have a share, and the shares where any were given: those are in the order of the numbers."""
    if not options.tensor_split:
        return list(gpus), []
    numbered = sorted(gpus, key=lambda gpu: gpu.number)
    if len(options.tensor_split) != len(numbered):
        raise _refuse(
            f"tensor_split has {counted(len(options.tensor_split), 'share')}, "
            f"and this machine has {counted(len(numbered), 'GPU')} ({_names(numbered)})",
            "Give one share per GPU; 0 excludes a GPU.",
        )
    share = {gpu.name: part for gpu, part in zip(numbered, options.tensor_split, strict=True)}
    used = [gpu for gpu in gpus if share[gpu.name]]
    return used, [share[gpu.name] for gpu in used]


def _main(gpus: Sequence[CudaDevice], options: LoadOptions) -> CudaDevice:
    found = next((gpu for gpu in gpus if gpu.number == options.main_gpu), None)
    if found is None:
        raise _refuse(
            f"main_gpu is {options.main_gpu}, and the GPUs that can be used are {_names(gpus)}", "Choose one of them."
        )
    return found


def _at_most(header: GgufHeader, count: int) -> int:
    return min(count, estimate(header, LoadOptions()).layers + 1)


def _names(gpus: Sequence[CudaDevice]) -> str:
    return ", ".join(gpu.name for gpu in gpus)


def _refuse(what: str, hint: str) -> InputRefusedError:
    return InputRefusedError("bad_setting", what, hint)
