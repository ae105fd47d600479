"""What ``auto`` stands for in a run: found by the device it begins on, and the same wherever it goes on from a checkpoint.

An optimizer's state is not another optimizer's, and steps in another type are other steps.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.regular_files import read_regular
from llmops_tui.training.memory import optimizer_on
from llmops_tui.training.recipe import Recipe, changed
from llmops_tui.training.worker.base_model import compute_type
from llmops_tui.workspace.files import write_atomic

_FILE = "settled.json"
_FIELDS = ("optimizer.name", "quantization.compute")


def settle(recipe: Recipe, checkpoint: Path | None) -> Recipe:
    """A recipe with the optimizer and the type that it computes in: those of the checkpoint, else those of this device.

    Raises:
        InputRefusedError: ``bad_recipe``: the checkpoint names what there is not.
    """
    found = {
        "optimizer.name": optimizer_on(recipe, gpu=torch.cuda.is_available()),
        "quantization.compute": str(compute_type(recipe)).removeprefix("torch."),
    }
    if checkpoint is not None and (checkpoint / _FILE).exists():
        try:
            kept = parse_json(read_regular(checkpoint / _FILE))
            found = {field: str(kept[field]) for field in _FIELDS}
        except (ValueError, TypeError, KeyError) as error:
            raise InputRefusedError(
                "bad_recipe",
                f"{checkpoint / _FILE} does not say which optimizer and type the checkpoint was computed with: {error}",
                "Move the checkpoint away; llmops train resume then goes on from the one before.",
            ) from error
    return changed(recipe, dict(found))


def keep(recipe: Recipe, checkpoint: Path) -> None:
    """Write them into a checkpoint's folder."""
    found = {"optimizer.name": recipe.optimizer.name, "quantization.compute": recipe.quantization.compute}
    write_atomic(checkpoint / _FILE, json.dumps(found))
