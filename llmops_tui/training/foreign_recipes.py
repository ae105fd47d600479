"""Read a recipe file: our own, or one of axolotl, LLaMA-Factory or Unsloth, of which every key is carried or named."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_yaml, text_of
from llmops_tui.training import foreign_axolotl, foreign_factory, foreign_unsloth
from llmops_tui.training.foreign_keys import Translation, confirm
from llmops_tui.training.recipe import Recipe, parse


def read_recipe(path: Path, accepted: Collection[str] = ()) -> tuple[Recipe, list[str]]:
    """A recipe from a file, and what became of each key of another program's configuration.

    ``accepted`` are keys whose loss changes what is learned, and was confirmed; ``all`` stands for all of them.

    Raises:
        InputRefusedError: ``bad_recipe``, or ``foreign_recipe``: a key would have to be confirmed.
    """
    made = read_foreign(path)
    if made is None:
        if accepted:
            raise InputRefusedError(
                "foreign_recipe", f"--accept {', '.join(accepted)}: {path.name} is a recipe, and has nothing to confirm"
            )
        return parse(text_of(path, errors="replace"), str(path)), []
    if not made.found.get("data"):
        raise InputRefusedError(
            "bad_recipe", f"{path}: it has no dataset", "Add its datasets with their names in this workspace."
        )
    recipe = made.finish(path)
    return recipe, confirm(path, made, accepted)


def read_foreign(path: Path) -> Translation | None:
    """A configuration of another program, translated; none where a file is none.

    Raises:
        InputRefusedError: ``bad_recipe``: it is one that is not read.
    """
    text = text_of(path, errors="replace")
    if path.suffix in foreign_unsloth.ENDINGS:
        found = foreign_unsloth.arguments_of(foreign_unsloth.source_of(text, path.suffix))
        made = None if found is None else foreign_unsloth.translate(found)
    else:
        try:
            body = parse_yaml(text)
        except yaml.YAMLError:
            body = None
        made = None
        if isinstance(body, dict) and "base" not in body:
            body = {str(key): value for key, value in body.items()}
            if "base_model" in body:
                made = foreign_axolotl.translate(body)
            elif "model_name_or_path" in body:
                made = foreign_factory.translate(body)
            elif {"model", "train_dataset"} <= set(body):
                raise InputRefusedError(
                    "bad_recipe",
                    f"{path.name} is a configuration of LLaMA-Factory's new trainer (v1), which is not read",
                    "Write it for the other one, with model_name_or_path, or begin with llmops train new.",
                )
    if made is not None:
        made.put("name", _name(path.stem))
    return made


def _name(stem: str) -> str:
    kept = "".join(c if (c.isascii() and c.isalnum()) or c in "._-" else "-" for c in stem).strip("-._")
    return kept[:64] or "recipe"
