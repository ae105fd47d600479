"""Findings about what a run can end as: modules that its adapter finds, and forms that its result can be written in."""

from __future__ import annotations

from llmops_tui.models.safetensors import ModelFolder
from llmops_tui.training.families import ATTENTION, EMBEDDINGS, FAMILIES, OUTPUT, tied
from llmops_tui.training.network import unlike
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe

_ALL = ["all-linear"]


def check_ends(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
    """What is to be said of the adapter's modules, and of what can be made of it."""
    return [*_targets(recipe, folder), *_forms(recipe, folder)]


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


def _forms(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
    found = []
    if told := unlike(folder.family, folder.config):
        found.append(
            Finding(
                "warn",
                "no_gguf",
                f"{told}: its results cannot be written as GGUF, and the run ends with an adapter in PEFT's format, which this "
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
    layout = FAMILIES.get(folder.family)
    if layout is not None and layout.experts:
        found += _experts(recipe)
    if recipe.lora.dora:
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
