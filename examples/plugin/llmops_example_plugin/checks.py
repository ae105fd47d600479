"""A check of datasets, with its fix."""

from __future__ import annotations

from llmops_tui.datasets.checks.base import Check
from llmops_tui.datasets.records import Row, map_texts, texts


class Shouting(Check):
    """Texts in capital letters."""

    id = "shouting"
    title = "Text in capital letters"
    why = "The model would learn to shout."
    fix = "write them in small letters"

    def inspect(self, number: int, row: Row) -> None:
        """Find the first."""
        for place, text in texts(self.kind, row):
            if len(text) > 3 and text.isupper():
                self.hit(number, f"{place}: {text[:60]!r}")
                return

    def repair(self, row: Row) -> Row:
        """Small letters, where a text has no others."""
        repaired: Row = map_texts(row, lambda text: text.lower() if text.isupper() else text)
        return repaired
