"""What a person types for a field of a recipe, as a value of the field's type."""

from __future__ import annotations

from typing import Any, get_args

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_yaml
from llmops_tui.training.recipe import fields, unknown_field

_SWITCHES = {
    "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False, "": False,
}  # fmt: skip


def from_text(path: str, text: str) -> Any:
    """What was typed for a field, as its type: numbers, yes and no, lists with commas.

    Raises:
        InputRefusedError: ``bad_recipe``: there is no such field, or that is no value.
    """
    known = dict(fields())
    if path not in known:
        raise unknown_field(path)
    kind = known[path].annotation
    if path == "data":
        sources = (part.strip().partition("*") for part in text.split(",") if part.strip())
        return [{"dataset": name.strip(), "weight": weight.strip() or 1.0} for name, _, weight in sources]
    if kind is bool:
        return _switch(path, text)
    if getattr(kind, "__origin__", None) is dict or path == "reinforcement.rewards":
        return _read_value(path, text) if text.strip() else getattr(kind, "__origin__", dict)()
    if getattr(kind, "__origin__", None) is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is str or get_args(kind):
        return text.strip()
    return _read_value(path, text) if text.strip() else text


def _read_value(path: str, text: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputRefusedError(
            "bad_recipe", f"{path}: {text[:60]!r} is not a valid value: {' '.join(str(error).split())}"
        ) from error


def _switch(path: str, text: str) -> bool:
    said = text.strip().lower()
    if said not in _SWITCHES:
        raise InputRefusedError("bad_recipe", f"{path}: {text[:60]!r} is neither yes nor no", "Write yes or no.")
    return _SWITCHES[said]
