"""Whether the variables that a version's settings speak of stand in its texts.

Only Jinja knows what a template needs, in a process of its own. Here names are looked for within its marks: one that stands in
none is surely no variable, and whoever wrote it meant another.
"""

from __future__ import annotations

import re

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject

# What is no code first; a text in quotes may hold the end of a mark.
_MARK = re.compile(
    r"\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}"
    r"""|\{(?:\{(?P<value>(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?)\}|%(?P<act>(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?)%)\}""",
    re.DOTALL,
)
_QUOTED = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")


def named_in(text: str) -> set[str]:
    """All names within the marks of a template, its variables among them."""
    found: set[str] = set()
    for mark in _MARK.finditer(text):
        found |= {*_NAME.findall(_QUOTED.sub(" ", mark["value"] or mark["act"] or ""))}
    return found


def unnamed(system: str, template: str, settings: JsonObject) -> list[str]:
    """The variables of settings that neither text has."""
    known = named_in(system) | named_in(template) if settings.get("variables") else set()
    return [one for one in settings.get("variables") or () if one not in known]


def refuse_unnamed(name: str, system: str, template: str, settings: JsonObject) -> None:
    """Refuse settings that speak of variables which the texts beside them do not have.

    Raises:
        InputRefusedError: ``bad_settings``.
    """
    asked = str((settings.get("examples") or {}).get("variable") or "")
    if asked and asked not in named_in(template):
        told = f"the examples of {name} are to be asked by the variable {asked}, which its user template does not have"
        hint = "Name another, or none: a question is then asked as it stands. Else each example would be the same question."
        raise InputRefusedError("bad_settings", told, hint)
    if unknown := unnamed(system, template, settings):
        told = f"the settings of {name} speak of {', '.join(unknown)}, which no text of it has as a variable"
        raise InputRefusedError(
            "bad_settings", told, f"Write {{{{ {unknown[0]} }}}} into a text, or take it out of the settings."
        )
