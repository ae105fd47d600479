"""Reservation of the memory that a model needs, before it is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields, replace

from llmops_tui.errors import InputRefusedError, LlmopsError, sentences
from llmops_tui.hardware import memory
from llmops_tui.inference.device_placement import Plan, make_plan, usable_gpus
from llmops_tui.inference.fallback import Rung, apply_known
from llmops_tui.inference.options import LoadOptions
from llmops_tui.jobs.leases import Lease, MemoryLedger, MemoryShortError
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.models.engine_settings import LARGEST_VOCABULARY_GAP, EngineSettings
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import GgufHeader, join_headers
from llmops_tui.models.memory import largest_that_fits
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace, user_runtime_folder

_POLL_SECONDS = 0.5


def ledger() -> MemoryLedger:
    """The user's ledger of memory leases."""
    return MemoryLedger(user_runtime_folder() / "leases", memory.measure, memory.process_tree)


def check_loadable(model: Model) -> None:
    """Refuse what llama.cpp does not load, by its kind, and say what to do with it.

    Raises:
        InputRefusedError: ``not_servable``.
    """
    told = {
        "safetensors": (
            "is a folder of safetensors, which llama.cpp does not read",
            f"llmops model convert {model.name} makes a GGUF file of it.",
        ),
        "adapter": (
            "is an adapter, which is loaded together with the model it was trained on",
            f"Give both: llmops generate --model MODEL+{model.name}",
        ),
        "remote": ("is a remote model; it cannot be loaded on this machine", ""),
    }
    if model.kind != "gguf":
        what, hint = told[model.kind]
        raise InputRefusedError("not_servable", f"{model.name!r} {what}", hint)


def plan(workspace: Workspace, model: Model, options: LoadOptions) -> Plan:
    """Where a model would go now, and what it needs there.

    Raises:
        InputRefusedError: it is no model that is loaded here, its file is damaged, or an option cannot be honoured.
        NotFoundError: no model has the draft's name.
    """
    check_loadable(model)
    _check_kept_prompts(options)
    header, draft = _header(model), None
    asked = options
    options, rung = apply_known(options, model.path)
    if options.draft:
        found = ModelRegistry(Catalog(workspace)).get(options.draft)
        draft = _draft_header(found, model, header)
        options = replace(options, draft=str(found.path))
    gpus = [] if rung.environment else usable_gpus()
    planned = make_plan(header, options, gpus, lambda device: ledger().available(device) // options.engines, draft)
    return replace(planned, rung=rung, notes=(*planned.notes, *_left_out(asked, options, rung)))


def _left_out(asked: LoadOptions, used: LoadOptions, rung: Rung) -> tuple[str, ...]:
    """What was asked for and is left out, since llama.cpp crashed with it here."""
    changed = [
        f.name for f in fields(EngineSettings) if f.name != "draft" and getattr(asked, f.name) != getattr(used, f.name)
    ]
    return (f"{', '.join(changed)}: llama.cpp runs {rung.told} here; llmops doctor says why",) if changed else ()


def _check_kept_prompts(options: LoadOptions) -> None:
    """Refuse to keep more of what was evaluated than this machine has memory; the default was asked for by nobody."""
    usual = LoadOptions().cache_bytes
    if options.cache_bytes > usual and options.cache_bytes > (total := ledger().total(memory.HOST)):
        raise InputRefusedError(
            "bad_setting",
            f"cache_bytes is {options.cache_bytes:,}, and this machine has {total:,} bytes of memory",
            f"It is for cached prompts, in addition to the model; the default is {usual:,}.",
        )


def _draft_header(draft: Model, model: Model, header: GgufHeader) -> GgufHeader:
    if draft.kind != "gguf":
        raise InputRefusedError(
            "bad_draft", f"{draft.name!r} is of kind {draft.kind}, and a draft model is a GGUF file"
        )
    found = _header(draft)
    sizes = (found.vocabulary, header.vocabulary)
    if abs(sizes[0] - sizes[1]) > LARGEST_VOCABULARY_GAP:
        raise InputRefusedError(
            "bad_draft",
            f"{draft.name!r} cannot draft for {model.name!r}: it has {sizes[0]:,} tokens, and {model.name!r} {sizes[1]:,}",
            "A draft model has the same vocabulary: use a small model of the same family.",
        )
    return found


def lease(
    workspace: Workspace,
    model: Model,
    options: LoadOptions,
    process: ProcessIdentity,
    waiting: Callable[[float], None] | None = None,
) -> tuple[Lease, Plan]:
    """Take the memory a model needs, of all devices it goes to, the host's share included.

    Raises:
        InputRefusedError: as :func:`plan`.
        MemoryShortError: it does not fit; the message names who holds the memory, and what would fit.
    """
    started = time.monotonic()
    while True:
        planned = plan(workspace, model, options)
        try:
            sizes = {device: size * options.engines for device, size in planned.sizes.items()}
            taken = ledger().take(sizes, name=model.name, kind="server", workspace=str(workspace.root), process=process)
        except MemoryShortError as error:
            if not options.wait:
                raise _with_advice(error, _header(model), options) from None
            if waiting is not None:
                waiting(time.monotonic() - started)
            time.sleep(_POLL_SECONDS)
        else:
            return taken, planned


def _header(model: Model) -> GgufHeader:
    return join_headers([read_header(file) for file in model.files])


def _with_advice(error: MemoryShortError, header: GgufHeader, options: LoadOptions) -> LlmopsError:
    smaller = largest_that_fits(header, options, error.available // options.engines, gpu=error.device != memory.HOST)
    if smaller is not None:
        error.smaller = smaller
        error.hint = sentences(error.hint, f"This would fit: --context {smaller[0]} --parallel {smaller[1]}.")
    return error
