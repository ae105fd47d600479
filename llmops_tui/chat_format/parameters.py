"""Marks of arguments that a template writes one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from llmops_tui.chat_format import probes
from llmops_tui.chat_format.json_names import Arguments
from llmops_tui.chat_format.marks import shared_end, shared_start
from llmops_tui.chat_format.probes import Probe
from llmops_tui.chat_format.record import Parameters, ValueMarks

# Stands for the key where that is in the mark behind the value once more.
KEY = "\0"
# A value of each kind, and how it may be written.
_KINDS: tuple[tuple[Any, str], ...] = (
    (47110815, "47110815"),
    (True, "true|True"),
    (["valitem"], r"\[\s*['\"]valitem['\"]\s*\]"),
    ({"inner": 1}, r"\{\s*['\"]inner['\"]:\s*1\s*\}"),
    (None, "null|None"),
)


def read(text: str, start: int, arguments: Arguments) -> tuple[int, int, Parameters] | None:
    """Where two arguments, both texts, stand in a text, and their marks; none where they are not both there.

    Args:
        text: what was rendered.
        start: where the name of the call ends.
        arguments: the two arguments.
    """
    (key, value), (key_2, value_2) = arguments.items()
    places = [text.find(key, start)]
    for word in (value, key_2, value_2):
        places.append(text.find(word, places[-1] + 1) if places[-1] >= 0 else -1)
    if min(places) < 0 or places != sorted(places):
        return None
    before = text[start : places[0]]
    inner = text[places[0] + len(key) : places[1]]
    middle = text[places[1] + len(value) : places[2]]
    rest = text[places[3] + len(value_2) :]
    again = key in middle
    middle, rest = middle.replace(key, KEY), rest.replace(key_2, KEY, 1) if again else rest
    begin = shared_end(before, middle)
    behind = middle[: len(middle) - len(begin)]
    after = shared_start(behind, rest)
    end = places[3] + len(value_2) + len(after.replace(KEY, key_2))
    marks = Parameters(begin, (ValueMarks(inner, after, text=True),), behind[len(after) :], again)
    return places[0] - len(begin), end, marks


def variants(probe: Probe, marks: Parameters, given: Callable[[Arguments], Any]) -> tuple[ValueMarks, ...]:
    """The marks of values of each kind, those of texts first."""
    found = list(marks.values)
    text_marks = found[0]
    for value, written in _KINDS:
        arguments = {"keyalpha": value, "keybravo": "valbravo"}
        turn = probe.calling([probes.call(0, given(arguments))])
        region = probes.behind(probe.text([probes.user(), turn], tools=probes.tools(arguments)), probes.FUNCTIONS[0])
        at = region.find(f"{marks.before}keyalpha")
        if at < 0:
            continue
        at += len(marks.before) + len("keyalpha")
        after = text_marks.after.replace(KEY, "keyalpha")
        matches = [m for m in re.compile(written).finditer(region, at) if region.startswith(after, m.end())]
        if not matches:
            continue
        inner = region[at : matches[0].start()]
        if inner == text_marks.before or any(known.before == inner for known in found):
            continue
        found.append(ValueMarks(inner, text_marks.after, text=False))
    return tuple(found)
