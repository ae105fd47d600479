"""What llama.cpp takes beside the trainer where it generates the answers that are learned from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference import memory_reservation
from llmops_tui.inference.options import LoadOptions
from llmops_tui.training.examples import Examples
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.reinforcement import NO_SERVING, engine_size

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.workspace.layout import Workspace


@dataclass(frozen=True)
class Generator:
    """Bytes of each device that the engine takes, by the device's name, and what is to be said of it."""

    sizes: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def look_at_generator(recipe: Recipe, workspace: Workspace, serving: Model | None, examples: Examples) -> Generator:
    """What the engine needs that generates; nothing where the trainer's own model does."""
    if recipe.facts.examples != "prompts" or recipe.reinforcement.generator != "engine":
        return Generator()
    if serving is None:
        return Generator(findings=[Finding("error", *NO_SERVING)])
    longest = max(len(row["prompt_ids"]) for row in (*examples.train, *examples.held_out))
    context, parallel = engine_size(recipe.reinforcement, recipe.effective_batch, longest)
    try:
        planned = memory_reservation.plan(
            workspace, serving, LoadOptions(context=context, parallel=parallel, cache_bytes=0)
        )
    except InputRefusedError as error:
        return Generator(findings=[Finding("error", error.code, error.message, error.hint)])
    told = ", ".join(f"{size / 1e9:.1f} GB of {name} memory" for name, size in planned.sizes.items() if size)
    message = f"llama.cpp generates with {serving.name} and takes about {told} beside the trainer"
    return Generator(planned.sizes, [Finding("info", "generator", message)])
