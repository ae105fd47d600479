"""What is to be known of a run in several processes."""

from __future__ import annotations

from llmops_tui.counts import counted
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe

# What these losses weigh with is computed of each process's own rows, not of all rows of the step.
_BY_PART = {
    "kto": "the drift from the base, which kto estimates,",
    "orpo": "the mean over an answer's tokens, which orpo takes,",
}


def check_ranks(recipe: Recipe, rows: int) -> list[Finding]:
    """How the processes share a step, and what differs from one process with the same rows."""
    if recipe.ranks == 1:
        return []
    batch = recipe.batch
    found = [
        Finding(
            "info",
            "ranks",
            f"{recipe.ranks} processes train together: {recipe.ranks} × {batch.size} × {batch.accumulation} = "
            f"{counted(recipe.effective_batch, 'row')} a step",
            "The losses are those of one process with as many rows a step.",
        )
    ]
    if recipe.fsdp:
        found.append(
            Finding(
                "warn",
                "fsdp",
                f"each of the {recipe.ranks} processes reads the whole base into the host's memory before it is divided",
                f"The host needs {recipe.ranks} times the base for that. On processors this was tried, on cards not yet.",
            )
        )
    if recipe.method in _BY_PART:
        found.append(
            Finding(
                "info",
                "ranks_apart",
                f"{_BY_PART[recipe.method]} is of each process's own rows",
                "Losses differ a little from those of one process.",
            )
        )
    if rows < recipe.ranks:
        found.append(
            Finding(
                "error",
                "ranks_without_rows",
                f"{counted(rows, 'example')} for {recipe.ranks} processes: one would have none",
                "Name fewer devices.",
            )
        )
    return found
