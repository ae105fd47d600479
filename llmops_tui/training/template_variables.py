"""Variables of a chat template that a recipe sets: checked, and written into the template as what holds by default.

In the template they go with the model wherever it is served, and a request may still say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from llmops_tui.datasets.training_fields import OURS
from llmops_tui.inference.template_renderer import Variables


def _checked(given: Variables) -> Variables:
    for name, value in given.items():
        if not name.isidentifier() or not name.isascii():
            raise ValueError(f"{name[:40]!r} is no name of a variable")
        if name in OURS:
            raise ValueError(f"{name} is set from the data")
        json.dumps(value, allow_nan=False)
    return given


TemplateVariables = Annotated[Variables, AfterValidator(_checked)]
"""Variables of a chat template by name, each with a value that JSON has."""


def with_defaults(template: str, variables: Variables) -> str:
    """A template in which variables have these values unless they are given."""
    if not variables:
        return template
    lines = [
        f"{{% set {name} = {name} if {name} is defined else {_literal(value)} %}}" for name, value in variables.items()
    ]
    # A newline behind a statement would be taken out of what the template writes.
    guard = "{{ '' }}" if template.startswith("\n") else ""
    return "".join(lines) + guard + template


def _literal(value: Any) -> str:
    """A value as Jinja writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(inner) for inner in value) + "]"
    names = {True: "true", False: "false", None: "none"}
    return names[value] if value is None or isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
