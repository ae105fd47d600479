"""A judge that needs no model."""

from __future__ import annotations

from llmops_tui.evaluation.judges import Judge, Question


class Shorter(Judge):
    """Prefers the shorter answer."""

    def decide(self, question: Question, first: str, second: str) -> float | None:
        """By the share of characters that the second answer has; nothing where both are empty."""
        del question
        both = len(first) + len(second)
        return len(second) / both if both else None
