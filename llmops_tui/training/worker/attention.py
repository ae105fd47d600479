"""Which attention a base model is trained with, by what its family has and what is installed."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils.import_utils import is_flash_attn_2_available

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe

_NAMES = {"flex": "flex_attention"}
# What a model's class says of each.
_SUPPORT = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flex": "_supports_flex_attn",
}


def attention_of(recipe: Recipe, family: str) -> str:
    """The attention by transformers' name.

    Raises:
        InputRefusedError: ``no_attention``: the family has not the one that the recipe names, or it is not installed.
    """
    kinds = _kinds(family)
    wanted = recipe.attention
    if wanted == "auto":
        return "sdpa" if "sdpa" in kinds else "eager"
    if wanted not in kinds:
        raise InputRefusedError(
            "no_attention",
            f"attention: models of the architecture {family!r} cannot be trained with {wanted}",
            f"They can with {', '.join(kinds)}; auto chooses.",
        )
    if wanted == "flash_attention_2" and not (torch.cuda.is_available() and is_flash_attn_2_available()):
        raise InputRefusedError(
            "no_attention",
            "attention: flash_attention_2 requires a GPU and the package flash-attn, which are not both here",
            "attention: sdpa computes the same, also of packed rows.",
        )
    return _NAMES.get(wanted, wanted)


def attention_findings(recipe: Recipe, family: str) -> list[Finding]:
    """What is to be said about attention before a run."""
    try:
        attention_of(recipe, family)
    except InputRefusedError as error:
        return [Finding("error", error.code, error.message, error.hint)]
    return []


def _kinds(family: str) -> list[str]:
    models: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    kind = models.get(CONFIG_MAPPING[family], None)
    return ["eager", *(name for name, flag in _SUPPORT.items() if getattr(kind, flag, False))]
