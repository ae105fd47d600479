"""Whether an adapter is one for a model: of its architecture, and each of its changes of the shape of what it changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmops_tui.errors import LlmopsError
from llmops_tui.models.gguf import tensor_shapes

# A low-rank change of a matrix is the product of the second and the first of these (Hu et al. 2021, "LoRA").
_FIRST, _SECOND = ".lora_a", ".lora_b"
# Embeddings may be kept the other way round.
_EITHER_WAY = "token_embd.weight"


def misfit(base: Sequence[Path], adapter: Path) -> str:
    """Why an adapter does not fit the files of a model; empty where it does, and where a file of them cannot be read."""
    try:
        changes = tensor_shapes(adapter)
        there = {name: shape for file in base for name, shape in tensor_shapes(file).items()}
    except (LlmopsError, OSError):
        # That a file is damaged says who loads it.
        return ""
    for name, first in changes.items():
        changed = name.removesuffix(_FIRST)
        second = changes.get(changed + _SECOND)
        if changed in {name, _EITHER_WAY} or second is None:
            continue
        if changed not in there:
            return f"it changes {changed}, which the model has not"
        wanted = (second[0], first[-1])
        if there[changed][-2:] != wanted:
            return f"its {changed} is {_told(wanted)}, that of the model {_told(there[changed])}"
    return ""


def _told(shape: Sequence[int]) -> str:
    return " × ".join(f"{length:,}" for length in shape)
