"""What a search tries: the values of recipe fields, checked against the recipe's own schema before the first trial."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict, cast

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_yaml, text_of
from llmops_tui.training.field_names import meant
from llmops_tui.training.recipe import Changes, Recipe, changed, fields
from llmops_tui.training.recipe_input import from_text


class Span(TypedDict, total=False):
    """What a field is tried with: one of ``choices``, or what lies from ``low`` to ``high``, in steps or by orders."""

    choices: list[Any]
    low: float
    high: float
    step: float
    log: bool


Space = dict[str, Span]
_PARTS = frozenset({"choices", "low", "high", "step", "log"})
# Combinations that are looked at before a search; of more some are drawn.
_MOST_COMBINED = 512
# What decides which rows, weights and devices there are, and so what a search holds, is one thing for all trials.
_NOT_SEARCHED = frozenset({"name", "base", "data", "trackers", "devices", "fsdp", "target", "start", "tokens"})
_RANGE = re.compile(r"^(?P<low>\S+)\s*\.\.\s*(?P<high>\S+)(?:\s+step\s+(?P<step>\S+))?(?P<log>\s+log)?$")


def default_space(recipe: Recipe, *, numbers: bool = False) -> Space:
    """A space around a recipe: what matters most for LoRA; with ``numbers`` no lists of values, which cmaes cannot move."""
    rate, rank = recipe.optimizer.learning_rate, recipe.lora.rank
    low, high = max(2, rank // 2), rank * 2
    return {
        "optimizer.learning_rate": {"low": rate / 5, "high": min(0.1, rate * 5), "log": True},
        "lora.rank": {"low": low, "high": high} if numbers else {"choices": sorted({low, rank, high})},
        "optimizer.max_grad_norm": {"low": 0.3, "high": 1.0} if numbers else {"choices": [0.3, 1.0]},
    }


def read_space(path: Path) -> Space:
    """A space from YAML: each field with a list of values, or with low, high, and log or step.

    Raises:
        InputRefusedError: ``bad_space``.
    """
    try:
        body = parse_yaml(text_of(path))
    except yaml.YAMLError as error:
        raise InputRefusedError("bad_space", f"{path} is not valid YAML: {error}") from error
    if not isinstance(body, dict) or not body:
        raise InputRefusedError(
            "bad_space",
            f"{path} has no field",
            "Example: optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}",
        )
    return check_space({name: {"choices": given} if isinstance(given, list) else given for name, given in body.items()})


def searchable() -> Iterator[tuple[str, Any]]:
    """Fields of a recipe that can be searched, with pydantic's description of each."""
    return ((path, info) for path, info in fields() if path not in _NOT_SEARCHED)


def check_space(space: Space) -> Space:
    """A space whose fields exist and whose values are meant for them.

    Raises:
        InputRefusedError: ``bad_space``.
    """
    known = dict(fields())
    found: Space = {}
    for name, given in space.items():
        if name not in known:
            raise InputRefusedError("bad_space", f"{name} is not a field of a recipe" + meant(name, list(known)))
        if name in _NOT_SEARCHED:
            raise InputRefusedError("bad_space", f"{name} is the same in all trials, and cannot be searched")
        if not isinstance(given, dict) or not ({"low", "high"} <= set(given) or given.get("choices")):
            raise InputRefusedError("bad_space", f"{name} requires a list of values, or low and high")
        if others := sorted(set(given) - _PARTS):
            raise InputRefusedError("bad_space", f"{name}: {others[0]} is none of {', '.join(sorted(_PARTS))}")
        found[name] = _numbers(name, given, known[name].annotation)
    return found


def _numbers(name: str, given: Span, kind: Any) -> Span:
    """A span with the numbers of its field's type."""
    if "choices" in given:
        if beside := sorted(set(given) - {"choices"}):
            raise InputRefusedError("bad_space", f"{name} has choices, beside which {beside[0]} says nothing")
        return given
    if kind not in {int, float}:
        raise InputRefusedError("bad_space", f"{name} is no number: give a list of values")
    try:
        numbers = {part: kind(float(cast("Any", given)[part])) for part in ("low", "high", "step") if part in given}
    except (TypeError, ValueError) as error:
        raise InputRefusedError("bad_space", f"{name}: low, high and step are numbers") from error
    if numbers["low"] >= numbers["high"]:
        raise InputRefusedError("bad_space", f"{name}: low is not below high")
    if given.get("log") and "step" in numbers:
        raise InputRefusedError("bad_space", f"{name}: log and step exclude each other")
    if given.get("log") and numbers["low"] <= 0:
        raise InputRefusedError("bad_space", f"{name}: by orders of magnitude low must be above 0")
    return cast("Span", {**given, **numbers})


def span_from_text(path: str, text: str) -> Span:
    """What is typed for a field: values with commas, or ``LOW..HIGH``, followed by ``step N`` or ``log``.

    Raises:
        InputRefusedError: ``bad_space`` or ``bad_recipe``.
    """
    if (match := _RANGE.match(text.strip())) is not None:
        given: dict[str, Any] = {part: match[part] for part in ("low", "high", "step") if match[part]}
        return check_space({path: cast("Span", given | ({"log": True} if match["log"] else {}))})[path]
    kind = dict(fields()).get(path)
    listed = getattr(getattr(kind, "annotation", None), "__origin__", None) in {list, dict}
    # Values of a field that is a list itself have commas of their own.
    parts = [part for part in text.split("|" if listed else ",") if part.strip()]
    return check_space({path: {"choices": [from_text(path, part.strip()) for part in parts]}})[path]


def span_text(span: Span) -> str:
    """A span as it is typed."""
    if "choices" in span:
        return ", ".join(_typed(value) for value in span["choices"])
    step = f" step {span['step']:g}" if "step" in span else ""
    return f"{span['low']:g}..{span['high']:g}{step}" + (" log" if span.get("log") else "")


def _typed(value: Any) -> str:
    return (
        "yes" if value is True else "no" if value is False else f"{value:g}" if isinstance(value, float) else str(value)
    )


def check_trials(recipe: Recipe, space: Space) -> None:
    """Refuse a space some of whose trials could not be run: a combination that the recipe's schema does not allow.

    Of a range its ends stand for what lies between; of very many combinations some are looked at.

    Raises:
        InputRefusedError: ``bad_space``, with the settings of the first such trial.
    """
    values = {
        name: span["choices"] if "choices" in span else [span["low"], span["high"]] for name, span in space.items()
    }
    count = 1
    for some in values.values():
        count *= len(some)
    combined: Iterator[tuple[Any, ...]] = itertools.product(*values.values())
    if count > _MOST_COMBINED:
        chance = random.Random(0)  # noqa: S311
        ends = [tuple(some[place] for some in values.values()) for place in (0, -1)]
        drawn = [tuple(chance.choice(some) for some in values.values()) for _ in range(_MOST_COMBINED)]
        combined = iter([*ends, *drawn])
    for settings in combined:
        chosen = dict(zip(values, settings, strict=True))
        try:
            changed(recipe, chosen)
        except InputRefusedError as error:
            raise InputRefusedError(
                "bad_space",
                f"the trial with {settings_told(chosen)} could not be run: {error.message.removeprefix('the recipe: ')}",
                "Leave out one of these values, or search the fields in two sweeps.",
            ) from error


def settings_told(chosen: Changes) -> str:
    """Settings in a line, by the last part of their names."""
    texts = {name: f"{value:.3g}" if isinstance(value, float) else _typed(value) for name, value in chosen.items()}
    return ", ".join(f"{name.rpartition('.')[2]} {text}" for name, text in texts.items())
