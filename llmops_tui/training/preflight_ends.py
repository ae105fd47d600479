"""Findings about what a run can end as: modules that its adapter finds, and forms that its result can be written in."""

from __future__ import annotations

import math

from llmops_tui.models.safetensors import ModelFolder
from llmops_tui.training.families import ATTENTION, EMBEDDINGS, FAMILIES, OUTPUT, tied
from llmops_tui.training.network import unlike
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.recipe_parts import Lora

_ALL = ["all-linear"]


def check_ends(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
    """What is to be said of the adapter's modules, and of what can be made of it."""
    if recipe.tuning == "full":
        return [*_whole(recipe, folder), *_base(folder), *_no_gguf(folder)]
    return [
        *_targets(recipe, folder),
        *_saved(recipe, folder),
        *_whole(recipe, folder),
        *_base(folder),
        *_forms(recipe, folder),
    ]


def _base(folder: ModelFolder) -> list[Finding]:
    """What is to be said of weights that are not as they were trained, and of a part that sees images."""
    found = []
    method = (folder.config.get("quantization_config") or {}).get("quant_method")
    if method:
        found.append(
            Finding(
                "error",
                "quantized_base",
                f"the base's weights are quantized already ({method}), which cannot be trained on here",
                "Take the model's weights in 16 bits, or a GGUF file of it.",
            )
        )
    if folder.wrapper:
        found.append(
            Finding(
                "info",
                "text_part",
                f"the base is a model of text and images ({folder.wrapper}): its text part is trained, and images are not; in "
                f"transformers the adapter goes with the text model {folder.family}",
            )
        )
    return found


def _whole(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
    """What is to be said of a run that ends as a model of its own."""
    found = []
    if recipe.ends_whole:
        size = 2 * sum(math.prod(tensor.shape) for tensor in folder.tensors.values())
        found.append(
            Finding(
                "info",
                "ends_whole",
                f"the run ends as a model of its own, about {size / 1e9:.1f} GB in 16 bits, and not as an adapter",
                "llmops train export RUN --quantize Q4_K_M makes it smaller.",
            )
        )
    if recipe.tuning == "full" and recipe.lora != Lora():
        found.append(Finding("info", "lora_unused", "tuning is full: what the recipe says of lora is not used"))
    if recipe.lora.init != "default":
        found.append(
            Finding(
                "info",
                "lora_init",
                f"lora.init is {recipe.lora.init}: beside the base as it is, the adapter has twice the rank, "
                f"{2 * recipe.lora.rank}: what it was at the beginning is taken away from what it became",
            )
        )
    return found


def _saved(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
    """Modules that are to be trained whole, and are not there, or have an adapter already."""
    modules = _modules(folder) | {name.removesuffix(".weight") for name in folder.tensors}
    # PEFT's own rule, which is another than for targets: whatever the name ends with.
    missing = [t for t in recipe.lora.modules_to_save if not any(m.endswith(t) for m in modules)]
    twice = sorted(set(recipe.lora.modules_to_save) & set(recipe.lora.targets))
    found = []
    if missing:
        found.append(
            Finding("error", "no_modules", f"lora.modules_to_save: the base has no module {', '.join(missing)}")
        )
    if twice:
        found.append(
            Finding("error", "no_modules", f"{', '.join(twice)} is both in lora.targets and in lora.modules_to_save")
        )
    return found


def _modules(folder: ModelFolder) -> set[str]:
    """The modules that can have an adapter, by their whole names."""
    found = {
        name.removesuffix(".weight")
        for name, tensor in folder.tensors.items()
        if name.endswith(".weight") and len(tensor.shape) == 2
    }
    return found | {OUTPUT}


def _targets(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
    targets = recipe.lora.targets
    if targets == _ALL:
        return []
    modules = _modules(folder)
    # PEFT's own rule for a list: the whole name, or its end behind a dot.
    missing = [t for t in targets if not any(m == t or m.endswith(f".{t}") for m in modules)]
    if not missing:
        return []
    names = sorted({module.rpartition(".")[2] for module in modules if ".layers." in module})
    return [
        Finding(
            "error",
            "no_targets",
            f"lora.targets: the base has no module {', '.join(missing)}",
            f"It has {', '.join(names)}; all-linear stands for all of these, and alone.",
        )
    ]


def _experts(recipe: Recipe) -> list[Finding]:
    """Of a mixture of experts: its adapter is of attention; one of the experts has no form here but PEFT's."""
    if recipe.lora.targets == _ALL:
        return [
            Finding(
                "info",
                "experts",
                f"the base is a mixture of experts: all-linear stands for {', '.join(ATTENTION)}; the experts and their "
                "router stay as they are",
            )
        ]
    others = [t for t in recipe.lora.targets if t.rpartition(".")[2] not in ATTENTION]
    if not others:
        return []
    return [
        Finding(
            "warn",
            "expert_targets",
            f"lora.targets: {', '.join(others)} belongs to experts or their router, whose adapter cannot be written as GGUF: "
            "the run ends with an adapter in PEFT's format, which this program cannot serve",
            f"Modules that can be: {', '.join(ATTENTION)}.",
        )
    ]


def _no_gguf(folder: ModelFolder) -> list[Finding]:
    """Why nothing that the run ends with can be written as GGUF."""
    found = []
    if told := unlike(folder.family, folder.config):
        found.append(
            Finding(
                "warn",
                "no_gguf",
                f"{told}: its results cannot be written as GGUF, and it ends in the format of transformers and PEFT, which this "
                "program cannot serve",
            )
        )
    if folder.family not in FAMILIES:
        found.append(
            Finding(
                "warn",
                "no_gguf",
                f"models of the architecture {folder.family!r} can be trained here, but their results cannot be written as "
                "GGUF: the run ends with an adapter in PEFT's format, which this program cannot serve",
                f"Families that end as GGUF: {', '.join(sorted(FAMILIES))}.",
            )
        )
    return found


def _forms(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
    found = _no_gguf(folder)
    layout = FAMILIES.get(folder.family)
    if layout is not None and layout.experts:
        found += _experts(recipe)
    if recipe.lora.dora and not recipe.ends_whole:
        found.append(
            Finding(
                "warn",
                "dora",
                "an adapter trained with DoRA cannot be a GGUF beside its base: its result is served merged",
                "After the run: llmops train export RUN. lora.dora: false ends as an adapter.",
            )
        )
    of_ends = [t for t in recipe.lora.targets if t.rpartition(".")[2] in {EMBEDDINGS, OUTPUT}]
    if of_ends and tied(folder.family, folder.config):
        found.append(
            Finding(
                "error",
                "tied",
                f"lora.targets: {', '.join(of_ends)} is one matrix for input and output in this base; an adapter of one of "
                "them can be written neither beside the base nor into it",
                "Leave it out; all-linear does.",
            )
        )
    return found
