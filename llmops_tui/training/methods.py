"""The training methods: what each learns from, and how it differs. Their trainers are in ``worker/trainers.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["sft", "dpo", "orpo", "kto", "pretrain", "grpo"]


@dataclass(frozen=True)
class MethodFacts:
    """One method.

    Attributes:
        kinds: the kinds of datasets that it learns from.
        examples: what it makes of a row: the answers of a conversation, a whole text, a pair of answers, one answer with a
            thumb, or a prompt that the model answers itself.
        whole_logits: whether its trainer holds the logits of all tokens at once, which is what takes the memory.
    """

    kinds: tuple[str, ...]
    examples: Literal["answers", "texts", "pairs", "thumbs", "prompts"]
    whole_logits: bool = False

    @property
    def packs(self) -> bool:
        """Whether several rows may share one sequence."""
        return self.examples in {"answers", "texts"}


METHODS: dict[str, MethodFacts] = {
    "sft": MethodFacts(("messages", "prompt-completion"), "answers"),
    "dpo": MethodFacts(("preference",), "pairs"),
    "orpo": MethodFacts(("preference",), "pairs", whole_logits=True),
    "kto": MethodFacts(("kto",), "thumbs"),
    "pretrain": MethodFacts(("text", "messages", "prompt-completion"), "texts"),
    "grpo": MethodFacts(("messages", "prompt-completion"), "prompts"),
}
