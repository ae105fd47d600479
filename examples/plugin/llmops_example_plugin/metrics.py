"""Two metrics: a function, and a class with settings."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score, right_or_wrong


def vowels(text: str, expected: Any, variables: dict[str, Any]) -> tuple[float, str]:
    """The share of letters that are vowels."""
    del expected, variables
    letters = [c for c in text.lower() if c.isalpha()]
    found = sum(c in "aeiou" for c in letters)
    return found / len(letters), f"{found} of {len(letters)}"


class WordsBetween(Metric):
    """The answer has from ``low`` to ``high`` words."""

    type: Literal["words-between"] = "words-between"
    low: int = 1
    high: int = 50
    binary: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it has."""
        del case
        count = len(answer.text.split())
        return right_or_wrong(self.low <= count <= self.high, f"{count} words")
