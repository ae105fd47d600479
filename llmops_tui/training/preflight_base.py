"""Findings about a GGUF file as the base: what is trained of it, and what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.unpacking.cache import folder_bytes, size_text

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.models.safetensors import ModelFolder
    from llmops_tui.training.recipe import Recipe


def check_base(recipe: Recipe, base: Model, folder: ModelFolder) -> list[Finding]:
    """What is to be said of a base that is a GGUF file; ``folder`` is what was made of it."""
    if base.kind != "gguf":
        return []
    served = recipe.serving or base.name
    found = [
        Finding(
            "info",
            "gguf_base",
            f"the base is a GGUF file in {base.quantization}, SHA-256 {base.sha256[:16]}…: its weights, dequantized to "
            f"{folder.dtype}, take {size_text(folder_bytes(folder.path))} in {folder.path}; the adapter serves on "
            + ("this very file" if served == base.name else served),
            "llmops gc removes what was dequantized when it was not used for long; it is made again when it is needed.",
        )
    ]
    if recipe.quantization.type != "none":
        found.append(
            Finding(
                "warn",
                "gguf_requantized",
                f"quantization.type is {recipe.quantization.type}: the run learns on weights that are quantized a second "
                f"time, and not on those that are served in {base.quantization}",
                "quantization.type: none trains on exactly the served weights, and takes more memory.",
            )
        )
    if served != base.name:
        found.append(
            Finding(
                "warn",
                "other_serving",
                f"serving is {served}, and not the file that is trained on",
                f"Leave serving out, and the adapter serves on {base.name}.",
            )
        )
    return found
