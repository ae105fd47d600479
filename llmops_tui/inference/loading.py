"""How a model is loaded and served: the options, and whether it fits into memory beside what is loaded already."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from llmops_tui.errors import LlmopsError
from llmops_tui.hardware import memory
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.probe import probe
from llmops_tui.jobs.leases import Lease, MemoryLedger, MemoryShortError
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.models.gguf import GgufHeader, read_header
from llmops_tui.models.memory import MemoryEstimate, choose_gpu_layers, estimate, largest_that_fits
from llmops_tui.models.registry import Model
from llmops_tui.workspace.layout import Workspace, user_runtime_folder

_POLL_SECONDS = 0.5


def ledger() -> MemoryLedger:
    """The user's ledger of memory leases."""
    return MemoryLedger(user_runtime_folder() / "leases", memory.measure, memory.process_tree)


@lru_cache(maxsize=1)
def target_device() -> str:
    """Where models are loaded to: the first GPU, where there is one that llama.cpp can use, else the host."""
    gpus = [d for d in memory.devices() if d != memory.HOST]
    return gpus[0] if gpus and probe().get("gpu") else memory.HOST


def plan(model: Model, options: LoadOptions) -> tuple[str, MemoryEstimate]:
    """The device a model would be loaded to, and what it needs there.

    Raises:
        InputRefusedError: the file is damaged.
    """
    header = read_header(model.path)
    exact = options.precision == "exact"
    device = target_device()
    if device == memory.HOST or options.gpu_layers == 0:
        return memory.HOST, estimate(header, context=options.context, parallel=options.parallel, exact=exact)
    if options.gpu_layers > 0:
        layers = options.gpu_layers
        found = estimate(header, context=options.context, parallel=options.parallel, gpu_layers=layers, exact=exact)
        return device, found
    free = ledger().available(device)
    return device, choose_gpu_layers(header, free, context=options.context, parallel=options.parallel, exact=exact)


def lease(
    workspace: Workspace,
    model: Model,
    options: LoadOptions,
    process: ProcessIdentity,
    waiting: Callable[[float], None] | None = None,
) -> tuple[Lease, LoadOptions]:
    """Take the memory a model needs; returns the lease, and the options with the GPU layers that were chosen.

    Raises:
        MemoryShortError: it does not fit; the message names who holds the memory, and what would fit.
    """
    started = time.monotonic()
    while True:
        device, needed = plan(model, options)
        size = needed.host if device == memory.HOST else needed.gpu
        try:
            taken = ledger().take(
                device=device, size=size, name=model.name, kind="server", workspace=str(workspace.root), process=process
            )
        except MemoryShortError as error:
            if not options.wait:
                raise _with_advice(error, read_header(model.path), options) from None
            if waiting is not None:
                waiting(time.monotonic() - started)
            time.sleep(_POLL_SECONDS)
        else:
            return taken, replace(options, gpu_layers=needed.gpu_layers)


def _with_advice(error: MemoryShortError, header: GgufHeader, options: LoadOptions) -> LlmopsError:
    smaller = largest_that_fits(header, error.available, context=options.context, gpu=error.device != memory.HOST)
    if smaller is not None:
        error.smaller = (smaller.context, smaller.parallel)
        error.hint += f" This would fit: --context {smaller.context} --parallel {smaller.parallel}."
    return error
