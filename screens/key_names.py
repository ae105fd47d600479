"""Keys as people write them, by the names that Textual has for them."""

from __future__ import annotations

import unicodedata

from textual.keys import KEY_NAME_REPLACEMENTS, Keys

_HELD = {"ctrl", "alt", "shift", "super", "hyper", "meta"}
_SHORT = {"esc": "escape", "return": "enter", "pgup": "pageup", "pgdn": "pagedown", "del": "delete", "ins": "insert"}
_NAMED = {key.value.rpartition("+")[2] for key in Keys if key.value.isascii()} | {"space"}


def key_name(written: str) -> str:
    """The name of a key that is written with its sign, such as ``alt+.``, or with its name already; empty for what is none.

    Several strokes one after another stand with blanks between.
    """
    strokes = [_stroke(stroke) for stroke in written.split()]
    return " ".join(strokes) if strokes and all(strokes) else ""


def _stroke(written: str) -> str:
    held, _, last = written.rpartition("+")
    if written == "+" or written.endswith("++"):
        held, last = held.removesuffix("+"), "+"
    beside = [one.strip().lower() for one in held.split("+")] if held else []
    if len(last) == 1 and last.isalpha():
        # As terminals tell them: with shift the capital by itself, with ctrl the small letter.
        if beside == ["shift"]:
            return last.upper()
        last = last.lower() if "ctrl" in beside else last
    name = _name(last)
    return "+".join([*beside, name]) if name and _HELD.issuperset(beside) else ""


def _name(last: str) -> str:
    if len(last) == 1:
        if last.isalnum():
            return last
        found = unicodedata.name(last, "").lower().replace("-", "_").replace(" ", "_")
        return KEY_NAME_REPLACEMENTS.get(found, found)
    name = _SHORT.get(last.lower(), last.lower())
    if name in _NAMED or name in KEY_NAME_REPLACEMENTS.values():
        return name
    try:
        return _name(unicodedata.lookup(name.replace("_", " ")))
    except KeyError:
        return ""
