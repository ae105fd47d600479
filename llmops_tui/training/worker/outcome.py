"""What training a run comes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmops_tui.training.recipe import Recipe


@dataclass(frozen=True)
class Outcome:
    """What a run came to: steps done, the adapter's folder, the losses, and the recipe as it was run at last.

    ``loss`` is that of the last step; ``eval_loss`` that of the adapter, none where it was not measured.
    """

    steps: int
    adapter: Path
    loss: float | None
    eval_loss: float | None
    recipe: Recipe
    peak_bytes: int


class StoppedAfterSaveError(Exception):
    """The run was asked to stop at a checkpoint, and has written it; ``state`` is stopped or paused."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state
