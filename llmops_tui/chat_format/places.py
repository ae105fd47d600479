"""Where the calls of the probes stand in a rendered text, and in which style they are written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from llmops_tui.chat_format import parameters
from llmops_tui.chat_format.json_names import Arguments
from llmops_tui.chat_format.probes import FUNCTIONS, IDS
from llmops_tui.chat_format.record import Gap, Parameters, Style

_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Place:
    """Where a call stands in a rendered text.

    Attributes:
        gaps: places of its name, id and arguments, in order; of the style ``object`` the whole object alone, as arguments.
        keys: members of the object: name, arguments, id; of the style ``object``.
    """

    style: Style
    gaps: tuple[tuple[int, int, Gap], ...]
    keys: tuple[str, str, str] = ("", "", "")
    as_text: bool = False
    quote: str = ""
    parameters: Parameters | None = None

    @property
    def start(self) -> int:
        """Where the first of it begins."""
        return self.gaps[0][0]

    @property
    def end(self) -> int:
        """Where the last of it ends."""
        return self.gaps[-1][1]


def locate(text: str, n: int, arguments: Arguments) -> Place | None:
    """Where the n-th call stands in a text, and how it is written; none where it is not."""
    name = FUNCTIONS[n]
    named = text.rfind(name) if n else text.find(name)
    at = text.find("keyalpha", named)
    if at < 0:
        # The name may stand behind the arguments.
        at = text.rfind("keyalpha")
    if named < 0 or at < 0:
        return None
    return (
        _as_json(text, at, n, arguments)
        or _as_python(text, n, arguments)
        or _as_bare(text, at, n, arguments)
        or _as_parameters(text, at, n, arguments)
    )


def _decoded(text: str, at: int) -> tuple[Any, int] | None:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    return value, end


def _as_json(text: str, at: int, n: int, arguments: Arguments) -> Place | None:
    found: tuple[int, int, bool] | None = None
    start = at
    while found is None and (start := max(text.rfind("{", 0, start), text.rfind('"', 0, start))) >= 0:
        read = _decoded(text, start)
        if read is None or read[1] < at:
            continue
        value, as_text = read[0], isinstance(read[0], str)
        if as_text:
            value = (_decoded(value, 0) or (None, 0))[0]
        if value == arguments:
            found = (start, read[1], as_text)
        elif isinstance(value, dict):
            return None
    if found is None:
        return None
    whole = _enclosing(text, found[0], n, arguments)
    if whole is not None:
        return replace(whole, as_text=found[2])
    return Place("json", (*_names(text, found[0], n), (found[0], found[1], Gap("arguments"))), as_text=found[2])


def _enclosing(text: str, at: int, n: int, arguments: Arguments) -> Place | None:
    """The object that has both the name and the arguments, where there is one."""
    start = at
    while (start := text.rfind("{", 0, start)) >= 0:
        read = _decoded(text, start)
        if read is None or read[1] < at or not isinstance(read[0], dict):
            continue
        name, written, own_id = _member(read[0], FUNCTIONS[n]), None, _member(read[0], IDS[n])
        for value in (arguments, json.dumps(arguments)):
            written = written or _member(read[0], value)
        if written is None:
            continue
        if name is None:
            # The function's name is the key of its arguments.
            if list(read[0]) != [FUNCTIONS[n]]:
                continue
            written = ""
        return Place("object", ((start, read[1], Gap("arguments")),), (name or "", written, own_id or ""))
    return None


def _member(value: Arguments, wanted: Any) -> str | None:
    for key, inner in value.items():
        if inner == wanted:
            return key
        if isinstance(inner, dict) and (deeper := _member(inner, wanted)) is not None:
            return f"{key}.{deeper}"
    return None


def _names(text: str, before: int, n: int) -> tuple[tuple[int, int, Gap], ...]:
    """Places of the name and the id of a call before its arguments, from the last in which the name stands."""
    found: list[tuple[int, int, Gap]] = []
    others = [text.rfind(word, 0, before) for word in ("valbravo", "valdelta", FUNCTIONS[1 - n])]
    start = max(0, *others)
    for word, what in ((FUNCTIONS[n], Gap("name")), (IDS[n], Gap("id"))):
        found += [(m.start(), m.end(), what) for m in re.finditer(re.escape(word), text[:before]) if m.start() >= start]
    return tuple(sorted(found, key=lambda one: one[0]))


def _as_python(text: str, n: int, arguments: Arguments) -> Place | None:
    found = re.search(rf"(?<!\w){FUNCTIONS[n]}\((?:keyalpha\s*=.*?)\)", text)
    if found is None or any(str(value) not in found.group() for value in arguments.values()):
        return None
    name = (found.start(), found.start() + len(FUNCTIONS[n]), Gap("name"))
    return Place("python", (name, (name[1], found.end(), Gap("arguments"))))


def _as_bare(text: str, at: int, n: int, arguments: Arguments) -> Place | None:
    first = re.escape(str(arguments["keyalpha"]))
    found = re.compile(rf"\{{keyalpha:(.{{1,8}}?){first}\1,keybravo:\1{re.escape(arguments['keybravo'])}\1\}}").match(
        text, at - 1
    )
    if found is None:
        return None
    names = _names(text, found.start(), n)
    return Place("bare", (*names, (found.start(), found.end(), Gap("arguments"))), quote=found.group(1))


def _as_parameters(text: str, at: int, n: int, arguments: Arguments) -> Place | None:
    names = _names(text, at, n)
    if not names:
        return None
    read = parameters.read(text, names[-1][1], arguments)
    if read is None:
        return None
    start, end, marks = read
    return Place("parameters", (*names, (start, end, Gap("arguments"))), parameters=marks)
