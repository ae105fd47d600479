"""On which line of a YAML text each value stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from llmops_tui.foreign_text import parse_yaml

if TYPE_CHECKING:
    from yaml.nodes import Node

Place = tuple[str | int, ...]
"""A place in a value: the keys and numbers that lead to it."""
Lines = Mapping[Place, int]
"""The line of each key, counted from 1; an alias stands where its anchor is."""


def parse_with_lines(text: str) -> tuple[Any, dict[Place, int]]:
    """The value of a YAML text, and on which line each key and member stands; ``yes``, ``no`` and ``on`` are texts in it.

    Raises:
        yaml.YAMLError: as :func:`llmops_tui.foreign_text.parse_yaml`.
    """
    value = parse_yaml(text, core=True)
    lines: dict[Place, int] = {}
    # It was looked at as a whole: it neither nests too deep nor contains itself.
    node = yaml.compose(text, yaml.SafeLoader)
    if node is not None:
        _walk(node, (), lines, set())
    return value, lines


def line_of(lines: Lines, place: Place) -> int:
    """The line of a place, or of the nearest place above it; 1 where the text is empty."""
    for end in range(len(place), -1, -1):
        if (found := lines.get(place[:end])) is not None:
            return found
    return 1


def _walk(node: Node, place: Place, lines: dict[Place, int], seen: set[int]) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*place, str(key.value))
            lines.setdefault(below, key.start_mark.line + 1)
            _walk(value, below, lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _walk(value, (*place, number), lines, seen)
