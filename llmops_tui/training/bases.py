"""Which registered models can be trained: folders of safetensors, and GGUF files of families that are known here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.hardware.memory import HOST
from llmops_tui.hardware.processor import has_bfloat16
from llmops_tui.training import device_queue
from llmops_tui.training.recipe import changed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from llmops_tui.models.registry import Model
    from llmops_tui.models.safetensors import ModelFolder
    from llmops_tui.training.recipe import Recipe


def trainable(models: Iterable[Model]) -> list[Model]:
    """The models that a recipe can name as its base: folders first, and GGUF files behind them."""
    known = _architectures()
    found = [m for m in models if m.kind == "safetensors" or (m.kind == "gguf" and _architecture(m) in known)]
    return sorted(found, key=lambda model: model.kind == "gguf")


def as_served(recipe: Recipe, base: Model) -> Recipe:
    """A new recipe, which trains on a GGUF file's weights as they are: they are quantized already, and served like this.

    On a processor it computes in 32 bits: most have no instructions for bfloat16, and are many times slower with it.
    """
    if base.kind != "gguf":
        return recipe
    changes = {"quantization.type": "none"}
    if device_queue.training_device() == HOST:
        changes["quantization.compute"] = "float32"
    return changed(recipe, changes)


def as_computed(recipe: Recipe) -> Recipe:
    """A recipe with the type that ``compute: auto`` stands for on this machine's processor, so that a run keeps it.

    Without instructions for bfloat16 a step takes twice as long in it as in 32 bits. What a GPU computes in, and a node of a
    cluster, is found there.
    """
    if recipe.quantization.compute != "auto" or recipe.target or device_queue.training_device() != HOST:
        return recipe
    return changed(recipe, {"quantization.compute": "bfloat16" if has_bfloat16() else "float32"})


def refuse_untrainable(model: Model) -> None:
    """Refuse a model that cannot be a base.

    Raises:
        InputRefusedError: ``not_trainable``.
    """
    if model.kind == "safetensors":
        return
    if model.kind != "gguf" or model.origin is not None:
        kind = "a model with an adapter" if model.origin is not None else f"a {model.kind} model"
        raise InputRefusedError(
            "not_trainable",
            f"{model.name!r} is {kind}; training requires the model's safetensors folder, or a GGUF file",
            "llmops model add FOLDER --name NAME registers one.",
        )
    known = _architectures()
    if _architecture(model) not in known:
        raise InputRefusedError(
            "not_trainable",
            f"{model.name!r} is a GGUF model of the architecture {_architecture(model)!r}, which cannot be trained here",
            f"GGUF models of these can be: {', '.join(sorted(known))}. Others need the model's safetensors folder.",
        )


def tokenized_by(recipe: Recipe, base: Model, weights: Path) -> Model:
    """The model whose tokenizer makes the tokens of a run: the base, or with new tokens the folder that has them."""
    if not recipe.tokens:
        return base
    from llmops_tui.models.safetensors import read_folder

    return unregistered(base, read_folder(weights))


def unregistered(base: Model, folder: ModelFolder) -> Model:
    """A folder that was made of a GGUF model, as a model of its own that is in no registry."""
    size = sum(file.stat().st_size for file in folder.files)
    return replace(base, kind="safetensors", path=folder.path, header=folder.summary(), size_bytes=size)


def _architecture(model: Model) -> str:
    return str(model.header.get("architecture"))


def _architectures() -> set[str]:
    """llama.cpp's architectures that are known here."""
    # The package of GGUF takes half a second.
    from llmops_tui.training.families import architectures

    return architectures()
