"""Replacement of personal data and secrets in a text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable

import orjson

from llmops_tui.privacy.detection import KINDS, find_personal

_PASSES = 4
_ESCAPED = re.compile(r"((?:\\u[0-9a-fA-F]{4})+)|\\(.)", re.DOTALL)
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_HALF = re.compile("[\ud800-\udfff]")


def replace_in_text(
    text: str, stand_in: Callable[[str, str], str], kinds: tuple[str, ...] = KINDS
) -> tuple[str, Counter[str]]:
    """A text with everything personal replaced by ``stand_in(kind, value)``, and how much of each kind there was.

    It is looked through again until nothing is found, since what is left may only then look like something.
    """
    counts: Counter[str] = Counter()
    for _ in range(_PASSES):
        spans = find_personal(text, kinds)
        if not spans:
            break
        for span in reversed(spans):
            text = text[: span.start] + stand_in(span.kind, text[span.start : span.end]) + text[span.end :]
            counts[span.kind] += 1
    return text, counts


def readable(text: str) -> str:
    """A text as it is searched: one that is JSON without its escapes, behind which a name or a line end is not seen.

    Arguments of calls are such texts, in which many programs write all but ASCII as numbers. JSON in JSON is read, too.
    """
    if text[:1] not in {"[", "{"} or "\\" not in text:
        return text
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    for _ in range(_PASSES):
        if "\\" not in text:
            break
        text = _ESCAPED.sub(_said, text)
    return text


def _said(escaped: re.Match[str]) -> str:
    if escaped[1]:
        return _HALF.sub("\ufffd", str(json.loads(f'"{escaped[1]}"')))
    return _SHORT.get(escaped[2], escaped[2])


def mark(kind: str, _value: str) -> str:
    """What stands for something that was taken out, such as ``[EMAIL]``."""
    return f"[{kind.upper()}]"
