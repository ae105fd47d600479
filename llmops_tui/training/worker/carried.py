"""The chat template that the results of a run carry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.datasets.tokens import ModelText
from llmops_tui.training.bases import tokenized_by
from llmops_tui.training.export.merge import Carried

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.training.runs import Run


def carried_by(base: Model, run: Run, weights: Path) -> Carried | None:
    """The chat template that a run's results carry; none where that is the base's own."""
    template = run.recipe.template(base.header.get("chat_template"))
    if template is None:
        return None
    with ModelText(tokenized_by(run.recipe, base, weights), template) as text:
        # The mark behind an answer, where the template has one; the tokenizer's own end is known without.
        stops = [text.tokenizer.tokens(stop) for stop in text.format.stops if stop in text.format.assistant.after]
        end = next((tokens[0][0] for tokens in stops if len(tokens) == 1), None)
        return Carried(template, end)
