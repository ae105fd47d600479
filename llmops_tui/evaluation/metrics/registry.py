"""How a suite's entry becomes a metric, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import pydantic

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Metric, MetricEntry
from llmops_tui.evaluation.metrics.built_in import METRICS as BUILT_IN
from llmops_tui.evaluation.metrics.custom import PLUGINS, Custom, Function

METRICS: dict[str, type[Metric]] = {**BUILT_IN, "python": Custom}


def make_metric(entry: Any, where: str = "metrics") -> Metric:
    """A metric from a suite's entry: a type, or a mapping with one.

    A metric of an installed package is named by ``{type: python, entry: NAME}``. Where no package brings it any more the
    entry is still a metric, whose ``problem`` says so: what was kept can be read.

    Raises:
        InputRefusedError: ``bad_metric``: it is not known, or a setting of it is wrong.
    """
    given = {"type": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict) or not isinstance(given.get("type"), str):
        raise InputRefusedError("bad_metric", f"{where}: {entry!r} is not a metric", "Write for example {type: exact}.")
    name = given["type"]
    kind = METRICS.get(name)
    if kind is None:
        raise InputRefusedError("bad_metric", f"{where}: {name!r} is not a metric", _meant(name))
    made = _checked(kind, given, f"{where}: {name}")
    theirs = PLUGINS.get(made.entry) if isinstance(made, Custom) else None
    if isinstance(made, Custom) and theirs is not None and not isinstance(theirs, Function):
        settings = {**made.settings, "type": made.entry, "name": made.called}
        return _checked(theirs, settings, f"{where}: {made.entry}")
    return made


def entry_of(metric: Metric) -> MetricEntry:
    """What a suite writes for a metric: :func:`make_metric` makes the same again, in any process."""
    settings = metric.model_dump(mode="json")
    if type(metric) in METRICS.values():
        return settings
    given = {name: value for name, value in settings.items() if name not in {"type", "name"}}
    return {"type": "python", "entry": metric.type, "name": metric.name, "settings": given}


def forbidden(names: Iterable[str], kinds: Mapping[str, str]) -> bool:
    """Whether the expected text of a case with scores of these ``names`` is what an answer must not say.

    ``kinds`` are the types of metrics by what they are called; one that it leaves out is called by its type.
    """
    types = [METRICS[kind] for name in names if (kind := kinds.get(name, name)) in METRICS]
    return any(t.forbids for t in types) and all(t.forbids for t in types if t.needs_expected)


def _meant(name: str) -> str:
    if PLUGINS.find(name) is not None:
        return f"It is in an installed package: {{type: python, entry: {name}}}."
    close = get_close_matches(name, METRICS, 1)
    return f"Did you mean {close[0]}?" if close else f"The metrics are {', '.join(METRICS)}."


def _checked(kind: type[Metric], given: dict[str, Any], where: str) -> Metric:
    try:
        return kind.model_validate(given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputRefusedError(
            "bad_metric", f"{where}: {place}: {first['msg']}", f"Its fields are {', '.join(kind.model_fields)}."
        ) from error
