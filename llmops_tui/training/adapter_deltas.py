"""What an adapter changes: PEFT's tensors as a low-rank sum for each module."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training.families import EMBEDDINGS, OUTPUT, Array, tied

_PARTS = {
    "lora_A": "A",
    "lora_B": "B",
    "lora_embedding_A": "eA",
    "lora_embedding_B": "eB",
    "lora_magnitude_vector": "m",
}
_ADAPTER = re.compile(
    rf"^(?:base_model\.model\.)?(?P<module>.+)\.(?P<part>{'|'.join(_PARTS)})(?:\.(?!weight$)[A-Za-z0-9_]+)?(?:\.weight)?$"
)


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to one module: ``scale × B @ A``, with A of shape (rank, inputs) and B of (outputs, rank).

    Of an embedding the inputs are the width, and the outputs the words, as in its weight. ``magnitude``, of shape
    (outputs,), are the lengths that DoRA gives the rows of the sum; none of a plain LoRA.
    """

    module: str
    a: Array
    b: Array
    scale: float
    magnitude: Array | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        """The adapter's rank in this module."""
        return int(self.a.shape[0])

    def shape(self, value: Array) -> tuple[int, ...]:
        """The shape that the weight ``value`` has to have."""
        del value
        return (self.b.shape[0], self.a.shape[1])

    def matrix(self) -> Array:
        """The change of the module's weight, shape (outputs, inputs), in 32-bit floats."""
        return np.float32(self.scale) * (self.b.astype(np.float32) @ self.a.astype(np.float32))

    def merged(self, value: Array, rows: Callable[[Array], Array] = lambda array: array) -> Array:
        """The weight with the change in it; ``rows`` is the order in which the weight has its rows."""
        total: Array = value + rows(self.matrix())
        if self.magnitude is None:
            return total
        # Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024: the direction of the sum, a learned length.
        lengths = np.linalg.norm(total, axis=1, keepdims=True)
        scaled: Array = total * (rows(self.magnitude.astype(np.float32)[:, None]) / lengths)
        return scaled


@dataclass(frozen=True)
class Replacement:
    """A module that was trained whole: ``value`` has the shape of its weight."""

    module: str
    value: Array

    def merged(self, value: Array, rows: Callable[[Array], Array] = lambda array: array) -> Array:
        """What replaces the weight ``value``; ``rows`` is the form in which the weight is."""
        del value
        return rows(self.value.astype(np.float32))

    def shape(self, value: Array) -> tuple[int, ...]:
        """The shape that the weight ``value`` has to have."""
        del value
        return tuple(self.value.shape)


Change = Delta | Replacement


def replacements(config: JsonObject, tensors: dict[str, Array]) -> tuple[list[Replacement], dict[str, Array]]:
    """What an adapter has whole, and its other tensors."""
    found: list[Replacement] = []
    others: dict[str, Array] = {}
    for name, value in tensors.items():
        plain = name.removeprefix("base_model.model.")
        if plain.endswith(".weight") and ".lora_" not in plain and _is_saved(plain, config):
            found.append(Replacement(plain.removesuffix(".weight"), value))
        else:
            others[name] = value
    return found, others


def _is_saved(name: str, config: JsonObject) -> bool:
    """PEFT's own rule: a module whose name ends so; and an output layer that is the embedding is saved once more."""
    module, saved = name.removesuffix(".weight"), list(config.get("modules_to_save") or ())
    return module.endswith(tuple(saved)) or (module.endswith(OUTPUT) and EMBEDDINGS in saved)


def deltas(config: JsonObject, tensors: dict[str, Array]) -> list[Delta]:
    """The changes an adapter makes, from PEFT's configuration and tensors.

    The scale is alpha/rank, or alpha/√rank with rsLoRA (Kalajdzievski 2023); patterns by module are followed.

    Raises:
        InputRefusedError: ``unknown_adapter``.
    """
    sides: dict[str, dict[str, Array]] = {}
    for name, value in tensors.items():
        match = _ADAPTER.match(name)
        if match is None:
            raise InputRefusedError("unknown_adapter", f"the adapter has a tensor that is not part of a LoRA: {name}")
        sides.setdefault(match["module"], {})[_PARTS[match["part"]]] = value
    found = []
    for module, pair in sides.items():
        magnitude = pair.pop("m", None)
        embedding = set(pair) == {"eA", "eB"}
        # Of an embedding PEFT has them the other way around: (rank, words) and (width, rank).
        two = {"A": pair["eB"].T, "B": pair["eA"].T} if embedding else pair
        if set(two) != {"A", "B"} or (bool(config.get("use_dora")) and magnitude is None):
            raise InputRefusedError("unknown_adapter", f"the adapter has not all of its matrices for {module}")
        rank = two["A"].shape[0]
        alpha = _pattern(config.get("alpha_pattern"), module, float(config.get("lora_alpha") or rank))
        scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
        found.append(Delta(module, two["A"], two["B"], scale, magnitude, embedding))
    return found


def _pattern(patterns: JsonObject | None, module: str, default: float) -> float:
    """PEFT's own rule: a pattern stands for the end of a module's name."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return default


def refuse_tied(family: str, config: JsonObject, changes: Iterable[Change]) -> None:
    """Refuse an adapter of one side of a matrix that is both the embedding and the output layer.

    Raises:
        InputRefusedError: ``tied``.
    """
    ends = [c.module for c in changes if isinstance(c, Delta) and c.module.rpartition(".")[2] in {EMBEDDINGS, OUTPUT}]
    if ends and tied(family, config):
        raise InputRefusedError(
            "tied",
            f"the adapter changes {', '.join(ends)}, which is one matrix for input and output in this base: it can be "
            "written neither beside the base nor into it",
            "Train without it in lora.targets; all-linear leaves it out.",
        )
