"""Jinja texts that are no more than text and variables: taken apart, and put together, for files of other programs."""

from __future__ import annotations

import re

from llmops_tui.prompts.partials import without_marks

_JINJA = re.compile(r"\{\{(?P<inner>.*?)\}\}|(?P<other>\{%.*?%\}|\{#.*?#\})", re.DOTALL)
# At the end of a text comes what begins a variable.
_MARKS = re.compile(r"\{\{|\{%|\{#|\{\Z")
# What is a value or an operator of Jinja where it stands alone, and no variable.
_WORDS = frozenset({"true", "false", "none", "True", "False", "None", "not", "self"})
_QUOTED = re.compile(r"""(?P<sign>['"])(?P<text>[^'"\\]*)(?P=sign)""")


def variable_name(name: str) -> str:
    """A name of another program's variable as one here.

    Raises:
        ValueError: it is a word of Jinja.
    """
    if name in _WORDS:
        raise ValueError(f"{name} is a word of Jinja, and cannot be a variable here")
    return name


def with_marks(text: str) -> str:
    """A text whose variables stand between NULs as Jinja; what Jinja would take for its own is written as text."""
    parts = text.split("\0")
    made = ""
    for plain, name in zip(parts[::2], [*parts[1::2], ""], strict=True):
        # The end of the whole text begins nothing.
        whole = plain if name else f"{plain}\0"
        made += _MARKS.sub(lambda match: "{{ '" + match[0] + "' }}", whole).rstrip("\0")
        made += f"{{{{ {name} }}}}" if name else ""
    return made


def parts_of(text: str) -> list[tuple[str, bool]]:
    """A Jinja text as texts and names of variables, one after the other; no text stands beside another.

    The texts of partials are texts as any other: the comments around them are left out.

    Raises:
        ValueError: it has more than texts and plain variables.
    """
    made: list[tuple[str, bool]] = []

    def add(plain: str) -> None:
        if made and not made[-1][1]:
            plain = made.pop()[0] + plain
        if plain:
            made.append((plain, False))

    text = without_marks(text)
    at = 0
    for match in _JINJA.finditer(text):
        add(text[at : match.start()])
        at = match.end()
        inner = (match["inner"] or "").strip()
        if match["other"] is None and inner.isidentifier() and inner not in _WORDS:
            made.append((inner, True))
        elif match["other"] is None and (quoted := _QUOTED.fullmatch(inner)) is not None:
            add(quoted["text"])
        else:
            raise ValueError(f"{match[0]} is more than a variable")
    add(text[at:])
    return made
