"""The engine's settings as command line options, the same for every command that loads a model."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llmops_tui.inference.options import LoadOptions

# Before the names of these arguments, so that none is one of the command's own.
_OWN = "engine_"
# A flag for each field of EngineSettings; None is "as the settings say".
_FLAGS: dict[str, Any] = {
    "context": Annotated[int | None, typer.Option("--context", min=0, help="Context size of each request, in tokens.")],
    "parallel": Annotated[int | None, typer.Option("--parallel", min=1, max=64, help="Number of parallel requests.")],
    "threads": Annotated[
        int | None, typer.Option("--threads", min=0, help="CPU threads; 0: one less than the number of cores.")
    ],
    "gpu_layers": Annotated[
        int | None, typer.Option("--gpu-layers", min=-1, help="Layers on the GPU; -1: as many as fit.")
    ],
    "precision": Annotated[bool | None, typer.Option("--exact/--fast", help="Full-precision cache and attention.")],
    "speculate": Annotated[
        bool | None,
        typer.Option("--speculate/--no-speculate", help="Speculative decoding while a single request runs."),
    ],
    "draft": Annotated[str | None, typer.Option("--draft", help="A small draft model with the same vocabulary.")],
    "cache_bytes": Annotated[
        int | None,
        typer.Option("--cache-bytes", min=0, help="Memory for cached prompts, in bytes, in addition to the model."),
    ],
    "cache_type_k": Annotated[
        str | None, typer.Option("--cache-type-k", help="Type of the keys in the KV cache: f16, q8_0, q4_0 …")
    ],
    "cache_type_v": Annotated[str | None, typer.Option("--cache-type-v", help="Type of the values in the KV cache.")],
    "flash_attention": Annotated[
        str | None,
        typer.Option("--flash-attention", help="auto or off; off is faster on a CPU with long contexts."),
    ],
    "swa_full": Annotated[
        bool | None,
        typer.Option("--swa-full/--no-swa-full", help="Keep the full context in sliding-window layers, too."),
    ],
    "batch": Annotated[int | None, typer.Option("--batch", help="Maximum number of tokens per step.")],
    "micro_batch": Annotated[
        int | None, typer.Option("--micro-batch", help="Tokens of a step that are computed at once.")
    ],
    "split_mode": Annotated[
        str | None,
        typer.Option("--split-mode", help="How the model is split over several GPUs: auto, none, layer or row."),
    ],
    "main_gpu": Annotated[
        int | None,
        typer.Option("--main-gpu", min=-1, help="The GPU for a model that is not split; numbered as in nvidia-smi."),
    ],
    "tensor_split": Annotated[
        str | None, typer.Option("--tensor-split", help="Share of each GPU in a split model, such as 3,1.")
    ],
    "cpu_moe": Annotated[
        int | None,
        typer.Option("--cpu-moe", min=0, help="Number of layers, from the first, whose experts stay on the host."),
    ],
    "mmap": Annotated[
        bool | None, typer.Option("--mmap/--no-mmap", help="Memory-map the file, or read it into memory.")
    ],
    "mlock": Annotated[
        bool | None,
        typer.Option("--mlock/--no-mlock", help="Lock the model in memory, so that it is never swapped out."),
    ],
}


def engine_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the engine's flags; its argument ``engine`` makes options of others with what was given changed.

    Raises, when called: InputRefusedError: a value that cannot be.
    """

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        flags = {name: given.pop(f"{_OWN}{name}") for name in _FLAGS}
        command(**given, engine=functools.partial(_change, flags))

    # Typer looks at both; annotations are evaluated where the command stands.
    signature = inspect.signature(command, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != "engine"]
    flags = [
        inspect.Parameter(f"{_OWN}{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _FLAGS.items()
    ]
    changed = signature.replace(parameters=[*own, *flags])
    wrapper.__signature__ = changed  # type: ignore[attr-defined]
    wrapper.__annotations__ = {name: p.annotation for name, p in changed.parameters.items()} | {"return": None}
    return wrapper


Engine = Callable[["LoadOptions"], "LoadOptions"]


def _change(flags: dict[str, Any], options: LoadOptions) -> LoadOptions:
    from llmops_tui.models.engine_settings import check_settings, read_shares

    changes = {name: value for name, value in flags.items() if value is not None}
    if "precision" in changes:
        changes["precision"] = "exact" if changes["precision"] else "fast"
    if "tensor_split" in changes:
        changes["tensor_split"] = read_shares(changes["tensor_split"])
    changed = replace(options, **changes)
    check_settings(changed)
    return changed
