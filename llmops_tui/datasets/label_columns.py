"""Which column of a dataset is its labels."""

from __future__ import annotations

from llmops_tui.datasets.records import Column

LABEL_NAMES = ("label", "category", "intent", "class", "target", "label_text", "sentiment")


def label_column(columns: tuple[Column, ...]) -> str:
    """The column that is named as labels are; empty where there is none."""
    return next((c.name for wanted in LABEL_NAMES for c in columns if c.name.lower() == wanted), "")
