"""Which attention a base model is trained with, by what its family has and what is installed."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)
from transformers.utils.import_utils import is_flash_attn_2_available

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.text_part import WRAPPERS
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe

_INSTEAD = "attention: sdpa computes the same, also of packed rows."
_NAMES = {"flex": "flex_attention"}
# What a model's class says of each.
_SUPPORT = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flex": "_supports_flex_attn",
}


def refuse_unknown(family: str, where: object = "the base") -> None:
    """Refuse an architecture that cannot be trained.

    Raises:
        InputRefusedError: ``unknown_architecture``.
    """
    if family not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and family in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise InputRefusedError(
            "vision_language",
            f"{where} is a model of text and images ({family}), and only text models can be trained here",
            f"Of {', '.join(sorted(WRAPPERS))} the text part can be; or take the text model of the same family.",
        )
    if family not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise InputRefusedError(
            "unknown_architecture",
            f"{where} is of the architecture {family!r}, which transformers does not know",
            "Only text models of known architectures can be trained; code in a model folder is never run.",
        )


def attention_of(recipe: Recipe, family: str) -> str:
    """The attention by transformers' name.

    Raises:
        InputRefusedError: ``no_attention``: the family has not the one that the recipe names, or it is not here; and
            ``unknown_architecture``.
    """
    wanted = _of_family(recipe, family)
    if wanted == "flash_attention_2" and not (torch.cuda.is_available() and is_flash_attn_2_available()):
        raise InputRefusedError(
            "no_attention",
            "attention: flash_attention_2 requires a GPU and the package flash-attn, which are not both here",
            _INSTEAD,
        )
    if wanted == "flex" and not torch.cuda.is_available():
        raise InputRefusedError(
            "no_attention", "attention: flex cannot train on a processor: it has no gradients there", _INSTEAD
        )
    return _NAMES.get(wanted, wanted)


def _of_family(recipe: Recipe, family: str) -> str:
    """The attention by the recipe's name, which the family has."""
    refuse_unknown(family)
    kinds = _kinds(family)
    if recipe.attention == "auto":
        return "sdpa" if "sdpa" in kinds else "eager"
    if recipe.attention not in kinds:
        raise InputRefusedError(
            "no_attention",
            f"attention: models of the architecture {family!r} cannot be trained with {recipe.attention}",
            f"They can with {', '.join(kinds)}; auto chooses.",
        )
    return recipe.attention


def attention_findings(recipe: Recipe, family: str) -> list[Finding]:
    """What is to be said about attention before a run; what is installed on another machine, that one says."""
    try:
        (_of_family if recipe.target else attention_of)(recipe, family)
    except InputRefusedError as error:
        return [Finding("error", error.code, error.message, error.hint)]
    return []


def _kinds(family: str) -> list[str]:
    models: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    kind = models.get(CONFIG_MAPPING[family], None)
    return ["eager", *(name for name, flag in _SUPPORT.items() if getattr(kind, flag, False))]
