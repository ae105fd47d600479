"""Kernels that a base is trained with instead of torch's own: Liger's, which are written by hand, and compiled layers."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from typing import Any

import torch

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe

_LIGER = "liger_kernel"
# What may build what is compiled, also the stub through which Triton starts its kernels.
_COMPILERS = ("g++", "c++", "clang++"), ("gcc", "cc", "clang")


def refuse_absent(recipe: Recipe, family: str) -> None:
    """Refuse kernels that are not here, or that the family has none of.

    Raises:
        InputRefusedError: ``no_kernels`` and ``no_compiler``.
    """
    if recipe.kernels == "liger":
        families = _liger_families() if torch.cuda.is_available() else frozenset()
        if not families:
            raise InputRefusedError(
                "no_kernels",
                "kernels: liger requires a GPU and the package liger-kernel, which are not both here",
                "kernels: torch computes the same.",
            )
        if family not in families:
            raise InputRefusedError(
                "no_kernels",
                f"kernels: liger-kernel has none for the architecture {family!r}",
                "kernels: torch computes the same.",
            )
    if recipe.compile and not any(map(shutil.which, _COMPILERS[torch.cuda.is_available()])):
        raise InputRefusedError(
            "no_compiler",
            "compile: torch.compile requires a C++ compiler on a host and a C compiler for a GPU, and there is none here",
            "Install gcc and g++, or set compile to false: the same is computed.",
        )


def kernel_findings(recipe: Recipe, family: str) -> list[Finding]:
    """What is to be said about kernels before a run."""
    try:
        refuse_absent(recipe, family)
    except InputRefusedError as error:
        return [Finding("error", error.code, error.message, error.hint)]
    return []


def put_on(recipe: Recipe, model: Any) -> None:
    """Let a base compute with what the recipe names; to be called once it is loaded, before it has an adapter.

    The loss is left to TRL, which computes it in tiles without all logits, as Liger would.

    Raises:
        InputRefusedError: ``no_kernels`` and ``no_compiler``.
    """
    refuse_absent(recipe, str(model.config.model_type))
    if recipe.kernels == "liger":
        from transformers.integrations.liger import apply_liger_kernel

        apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
    if recipe.compile:
        for layer in model.get_decoder().layers:
            # One layer is compiled, and all run what was made of it; what is around them changes with each batch.
            layer.compile()


def as_written() -> contextlib.AbstractContextManager[Any]:
    """While it lasts nothing is compiled: where lengths change with each token, that would take longer than it saves."""
    return torch.compiler.set_stance("force_eager")


def _liger_families() -> frozenset[str]:
    """The architectures that Liger has kernels of; none where it is not installed."""
    if importlib.util.find_spec(_LIGER) is None:
        return frozenset()
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    return frozenset(MODEL_TYPE_TO_APPLY_LIGER_FN)
