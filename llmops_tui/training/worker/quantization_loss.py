"""LoftQ's start: an adapter that begins with what quantization of the base loses (arXiv 2310.08659, with one iteration)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_bnb_weight
from safetensors import safe_open

from llmops_tui.models.safetensors import ModelFolder

_ADAPTER, _PREFIX = "default", "base_model.model."
# As many more directions than wanted make the singular values of the wanted ones nearly exact.
_MORE, _ITERATIONS = 16, 4


def losses(model: Any, folder: ModelFolder) -> Iterator[tuple[Any, torch.Tensor]]:
    """Each quantized module with an adapter, and what its weight lost: that of the folder less the one that is computed with."""
    module: Any
    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer) or _ADAPTER not in module.lora_A:
            continue
        layer: Any = module.get_base_layer()
        if getattr(layer.weight, "quant_state", None) is None:
            continue
        tensor = folder.tensors[name.removeprefix(_PREFIX) + ".weight"]
        with safe_open(tensor.file, framework="pt") as file:
            whole = file.get_tensor(tensor.name).to(layer.weight.device, torch.float32)
        yield module, whole - dequantize_bnb_weight(layer.weight).float()


@torch.no_grad()
def make_up(model: Any, folder: ModelFolder) -> None:
    """Set each adapter to the best product of its rank for what was lost: B A s = U S V for the largest singular values.

    No chance of the training is used up.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module, lost in losses(model, folder):
            rank, scale = module.r[_ADAPTER], module.scaling[_ADAPTER]
            wanted = min(rank + _MORE, *lost.shape)
            left, values, right = torch.svd_lowrank(lost, q=wanted, niter=_ITERATIONS)
            root = (values[:rank] / scale).sqrt()
            ours, theirs = module.lora_A[_ADAPTER].weight, module.lora_B[_ADAPTER].weight
            kept = len(root)
            ours.zero_()
            theirs.zero_()
            ours[:kept] = (right[:, :rank] * root).T.to(ours.dtype)
            theirs[:, :kept] = (left[:, :rank] * root).to(theirs.dtype)
