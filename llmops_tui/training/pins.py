"""What a run was started with: dataset versions and base by their hashes; and whether they are still those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.training.bases import as_computed
from llmops_tui.training.recipe import Recipe

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.models.registry import Model

Pins = tuple[tuple[str, str], ...]
"""Dataset versions as (ref, SHA-256)."""


def with_versions(recipe: Recipe, refs: Sequence[str], evaluation: str = "") -> Recipe:
    """A recipe that names these versions of its datasets, in their order, and not whatever their names stand for later."""
    data = [source.model_copy(update={"dataset": ref}) for source, ref in zip(recipe.data, refs, strict=True)]
    measured = recipe.evaluation.model_copy(update={"dataset": evaluation or recipe.evaluation.dataset})
    return recipe.model_copy(update={"data": data, "evaluation": measured})


def pin(recipe: Recipe, datasets: DatasetStore) -> tuple[Recipe, Pins, Pins]:
    """A recipe by versions as its names stand now, those it learns from, and the one it is measured on where it names one.

    What it leaves to this machine's processor is in it, too.

    Raises:
        NotFoundError: there is no such dataset.
    """
    data = tuple((v.ref, v.sha256) for v in (datasets.get(source.dataset) for source in recipe.data))
    named = [recipe.evaluation.dataset] if recipe.evaluation.dataset else []
    measured = tuple((v.ref, v.sha256) for v in map(datasets.get, named))
    return (
        with_versions(as_computed(recipe), [ref for ref, _ in data], "".join(ref for ref, _ in measured)),
        data,
        measured,
    )


def check_data(who: str, pins: Iterable[tuple[str, str]], datasets: DatasetStore) -> None:
    """Refuse to go on where a dataset version is no longer the one that a run was started with.

    Raises:
        InputRefusedError: ``data_changed``.
    """
    for ref, digest in pins:
        try:
            found = datasets.get(ref).sha256
        except NotFoundError:
            found = ""
        if found != digest:
            now = f"has SHA-256 {found[:16]}… now" if found else "is not there any more"
            raise InputRefusedError(
                "data_changed",
                f"{who} was started with {ref} (SHA-256 {digest[:16]}…), which {now}",
                "Restore that version from a backup, or start a new run of the recipe: llmops train start.",
            )


def check_base(who: str, base: Model, digest: str) -> None:
    """Refuse to go on where a name stands for another base than the one that a run was started with.

    Raises:
        InputRefusedError: ``base_changed``.
    """
    if base.sha256 != digest:
        raise InputRefusedError(
            "base_changed",
            f"{who} was started with the base {base.name!r} of SHA-256 {digest[:16]}…; the model of this name is now "
            f"SHA-256 {base.sha256[:16]}…, in {base.path}",
            "Register the former files under this name again, or start a new run: llmops train start.",
        )
