"""Going on from what another run learned: which adapter or weights, pinned by their hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.regular_files import read_regular
from llmops_tui.training.recipe_parts import FOLDERS, WEIGHTS_OF
from llmops_tui.workspace.files import sha256_file

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.training.pins import Pins
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.records import RunResult

# What an adapter's own configuration says of itself, by the field of a recipe that has to say the same.
_SAME = {"rank": "r", "alpha": "lora_alpha", "dora": "use_dora", "rslora": "use_rslora"}


class _Run(Protocol):
    """What is asked of a run."""

    @property
    def name(self) -> str: ...
    @property
    def recipe(self) -> Recipe: ...
    @property
    def base_sha256(self) -> str: ...
    @property
    def result(self) -> RunResult | None: ...
    @property
    def folder(self) -> Path: ...
    @property
    def start(self) -> Pins: ...


class _Runs(Protocol):
    """Where runs are found by their names."""

    def get(self, name: str) -> _Run: ...


@dataclass(frozen=True)
class Start:
    """What a run goes on from: the run's name, the folder of what it learned, the hash of its tensors, and of its model."""

    name: str
    folder: Path
    sha256: str
    model_sha256: str


def start_of(recipe: Recipe, store: _Runs, base: Model) -> Start | None:
    """What a recipe goes on from; none where it begins anew.

    Raises:
        InputRefusedError: ``start``: the run is not done, is of another base or method of tuning, or its adapter is another.
        NotFoundError: there is no such run.
    """
    if not recipe.start:
        return None
    run = store.get(recipe.start)
    if run.result is None:
        raise _refused(f"run {run.name} is not done", "llmops train list shows which are.")
    if run.base_sha256 != base.sha256:
        raise _refused(
            f"run {run.name} was trained on {run.recipe.base} (SHA-256 {run.base_sha256[:16]}…), and the base of this recipe is "
            f"{base.name} (SHA-256 {base.sha256[:16]}…)",
            f"base: {run.recipe.base}",
        )
    if run.recipe.tuning != recipe.tuning:
        raise _refused(f"run {run.name} has tuning: {run.recipe.tuning}, and this recipe {recipe.tuning}")
    if run.recipe.tokens != recipe.tokens:
        raise _refused(f"run {run.name} has other new tokens: {', '.join(run.recipe.tokens) or 'none'}")
    folder = run.folder / FOLDERS[recipe.tuning]
    weights = folder / WEIGHTS_OF[recipe.tuning]
    if not weights.is_file():
        raise _refused(f"{weights}, which run {run.name} wrote, is not there any more", "Restore it from a backup.")
    if recipe.tuning == "lora":
        _compare(recipe, run, folder)
    return Start(run.name, folder, sha256_file(weights), str(run.result.get("sha256") or ""))


def start_pins(recipe: Recipe, store: _Runs, base: Model) -> Pins:
    """What a recipe goes on from, as the run's name and the hash of its tensors; empty where it begins anew."""
    found = start_of(recipe, store, base)
    return () if found is None else ((found.name, found.sha256),)


def checked_start(run: _Run, store: _Runs, base: Model) -> Start | None:
    """What a run goes on from, where it still is what it was when the run was started.

    Raises:
        InputRefusedError: ``start_changed``, and what :func:`start_of` raises.
    """
    found = start_of(run.recipe, store, base)
    check_start(f"run {run.name}", found, run.start)
    return found


def check_start(who: str, found: Start | None, pins: Pins) -> None:
    """Refuse a start that is another than what was noted, ``pins``.

    Raises:
        InputRefusedError: ``start_changed``.
    """
    digest = "".join(digest for _, digest in pins)
    if found is not None and found.sha256 != digest:
        raise InputRefusedError(
            "start_changed",
            f"{who} began from run {found.name}, whose tensors had SHA-256 {digest[:16]}…, and have "
            f"{found.sha256[:16]}… now",
            "Restore its folder from a backup, or begin anew: llmops train start, or llmops train sweep.",
        )


def _compare(recipe: Recipe, run: _Run, folder: Path) -> None:
    """Refuse an adapter that is not as the recipe says."""
    own = parse_json(read_regular(folder / "adapter_config.json"))
    other = [
        f"lora.{name} is {getattr(recipe.lora, name):g} in the recipe and {own.get(key):g} in the adapter"
        for name, key in _SAME.items()
        if float(getattr(recipe.lora, name)) != float(own.get(key) or 0)
    ]
    other += [
        f"lora.{name} is another than in run {run.name}"
        for name in ("targets", "modules_to_save")
        if sorted(getattr(recipe.lora, name)) != sorted(getattr(run.recipe.lora, name))
    ]
    if recipe.lora.init != "default":
        other.append(f"lora.init: {recipe.lora.init} is the beginning of a new adapter")
    if other:
        raise _refused(f"the adapter of run {run.name} cannot be gone on from: {'; '.join(other)}", "Set them alike.")


def _refused(why: str, hint: str = "") -> InputRefusedError:
    return InputRefusedError("start", f"start: {why}", hint)
