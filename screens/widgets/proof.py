"""The verification of an exported model as a table: green if a step gives the same answers as the adapter on its base."""

from __future__ import annotations

from typing import Any

from textual.content import Content

from llmops_tui.safe_text import safe_line
from llmops_tui.training.export.proof_table import TABLE_HEADERS, table
from llmops_tui.training.records import ProofStep


def proof_table(steps: list[ProofStep]) -> Content:
    """The proof of what was exported."""
    rows = [TABLE_HEADERS, *table(steps)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(TABLE_HEADERS))]
    parts: list[Any] = []
    for number, row in enumerate(rows):
        style = "$muted" if number == 0 else "$success" if row[0] == "✓" else "$error"
        parts.append(
            (safe_line("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()) + "\n", style)
        )
    return Content.assemble(*parts)
