"""Kernels that a base is trained with instead of torch's own: Liger's, which are written by hand, or those of torch.compile."""

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
_INSTEAD = "kernels: torch computes the same."
# Triton builds the stub through which it starts kernels in C, and what is compiled for a processor is C++.
_GPU_COMPILERS, _HOST_COMPILERS = ("gcc", "cc", "clang"), ("g++", "c++", "clang++")
# What transformers calls the forward that it puts around that of a layer which can be recomputed.
_CHECKPOINTING = "forward_with_checkpointing"


def refuse_absent(recipe: Recipe, family: str) -> None:
    """Refuse kernels that are not here, or that the family has none of.

    Raises:
        InputRefusedError: ``no_kernels``.
    """
    gpu = torch.cuda.is_available()
    if recipe.kernels == "liger":
        families = _liger_families() if gpu else frozenset()
        if not families:
            raise InputRefusedError(
                "no_kernels",
                "kernels: liger requires a GPU and the package liger-kernel, which are not both here",
                f"pip install liger-kernel, where there is a GPU. {_INSTEAD}",
            )
        if family not in families:
            raise InputRefusedError(
                "no_kernels", f"kernels: liger-kernel has none for the architecture {family!r}", _INSTEAD
            )
    compilers = _GPU_COMPILERS if gpu else _HOST_COMPILERS
    if recipe.kernels == "compiled" and not any(map(shutil.which, compilers)):
        raise InputRefusedError(
            "no_kernels",
            f"kernels: compiled requires a compiler, and none of {', '.join(compilers)} is here",
            f"Install {compilers[0]}. {_INSTEAD}",
        )


def kernel_findings(recipe: Recipe, family: str) -> list[Finding]:
    """What is to be said about kernels before a run; what is installed on another machine, that one says."""
    if recipe.target:
        return []
    try:
        refuse_absent(recipe, family)
    except InputRefusedError as error:
        return [Finding("error", error.code, error.message, error.hint)]
    return []


def put_on(recipe: Recipe, model: Any) -> None:
    """Let a base compute with what the recipe names; to be called once it is loaded, before it has an adapter.

    The loss is left to TRL, which computes it in tiles without all logits, as Liger would.

    Raises:
        InputRefusedError: ``no_kernels``.
    """
    refuse_absent(recipe, str(model.config.model_type))
    if recipe.kernels == "liger":
        from transformers.integrations.liger import apply_liger_kernel

        apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
    if recipe.kernels == "compiled":
        _compile(model)


def _compile(model: Any) -> None:
    """Compile the layers of a model, each as it is inside of what transformers puts around it to recompute it.

    Compiled with it, nothing was recomputed: an 8B kept 32 GB of an H200 instead of 12, and its losses parted from those of
    the same run by 0.8. Products with 4-bit weights stay as bitsandbytes has them; with both so, losses are equal.
    """
    for module in model.modules():
        if getattr(getattr(module, "weight", None), "quant_state", None) is not None:
            module.forward = torch.compiler.disable(module.forward)
    made: dict[type, type] = {}
    for layer in model.get_decoder().layers:
        kind = type(layer)
        if kind not in made:
            forward: Any = kind.forward
            if forward.__code__.co_name == _CHECKPOINTING:
                forward = forward.__wrapped__
            # A class of its own, on which transformers puts its recomputation anew; all layers run what one was made of.
            body = {"forward": torch.compile(forward), "__module__": kind.__module__}
            made[kind] = type(kind.__name__, (kind,), body)
        layer.__class__ = made[kind]


def as_written() -> contextlib.AbstractContextManager[Any]:
    """While it lasts nothing is compiled: where lengths change with each token, that would take longer than it saves."""
    return torch.compiler.set_stance("force_eager")


def _liger_families() -> frozenset[str]:
    """The architectures that Liger has kernels of; none where it is not installed."""
    if importlib.util.find_spec(_LIGER) is None:
        return frozenset()
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    return frozenset(MODEL_TYPE_TO_APPLY_LIGER_FN)
