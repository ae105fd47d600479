"""What turns a model's thinking on, off, up or down: variables of its template, and which of their values it tells apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmops_tui.chat_format import probes
from llmops_tui.chat_format.json_names import Arguments
from llmops_tui.chat_format.probes import USER, Probe, behind
from llmops_tui.chat_format.record import Switch

# Variables that templates of the field turn thinking with: either on or off, or in words.
TRUTHS = ("enable_thinking", "thinking", "enable_reasoning", "reasoning", "think")
_WORDS = ("reasoning_effort", "thinking_effort", "thinking_mode", "thinking_option")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# The efforts that models know whose templates write any word down.
_USUAL = ("low", "medium", "high")
_OFF = ("no_think", "disabled", "off")
_OTHERS = (*_OFF, "enabled", "on", "adaptive", "auto")
_NONE_SUCH = "qxlevel"
_QUOTED = re.compile(r"['\"](\w+)['\"]")


def read(probe: Probe) -> tuple[Switch, ...]:
    """The switches of a template, those of truth first."""
    return tuple(_read(probe))


def _read(probe: Probe) -> Iterator[Switch]:
    on: Arguments = {}
    for name in TRUTHS:
        if not _mentioned(probe, name):
            continue
        texts = _texts(probe, name, (True, False), {})
        if len(set(texts.values())) > 1:
            on = on or {name: True}
            yield Switch(name, _prompts(texts))
    for name in _WORDS:
        if not _mentioned(probe, name):
            continue
        quoted = _quoted(probe.template, name)
        words = (*EFFORTS, *_OTHERS)
        texts = _texts(probe, name, (*words, _NONE_SUCH), {})
        levels = _levels(texts, quoted) or _levels(_texts(probe, name, (*words, _NONE_SUCH), on), quoted)
        if name.endswith("effort") and _NONE_SUCH in texts.get(json.dumps(_NONE_SUCH), ""):
            levels |= set(_USUAL)
        texts.pop(json.dumps(_NONE_SUCH), None)
        if levels:
            yield Switch(name, _prompts(texts), tuple(sorted(levels, key=_rank)))


def _mentioned(probe: Probe, name: str) -> bool:
    return re.search(rf"(?<![\w.'\"]){name}(?![\w'\"])", probe.template) is not None


def _quoted(template: str, name: str) -> set[str]:
    lines = [line for line in template.splitlines() if name in line and len(line) < 300]
    known = {*EFFORTS, *_OTHERS}
    return {word for line in lines for word in _QUOTED.findall(line) if word in known}


def _texts(probe: Probe, name: str, values: tuple[Any, ...], base: Arguments) -> dict[str, str]:
    """What is written for each value, as JSON, that the template takes."""
    asked = [([probes.user()], {"prompt": True, **base, name: value}) for value in values]
    written = zip(values, probe.many(asked), strict=True)
    return {json.dumps(value): text for value, text in written if isinstance(text, str)}


def _prompts(texts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((value, behind(text, f"{USER}1")) for value, text in texts.items())


def _levels(texts: Mapping[str, str], quoted: set[str]) -> set[str]:
    """The words that mean something: to a template that refuses, or treats alike, or writes down all others."""
    texts = dict(texts)
    other = texts.pop(json.dumps(_NONE_SUCH), None)
    words = {json.loads(word): text for word, text in texts.items()}
    if other is None:
        return set(words)
    # In a template that writes the word down, each has a text of its own.
    found = {word for word, text in words.items() if text != other.replace(_NONE_SUCH, word)}
    if found or _NONE_SUCH in other:
        # One that it names may be what it does anyway.
        found |= words.keys() & quoted
    return found


def _rank(word: str) -> tuple[int, str]:
    return (0 if word in _OFF else EFFORTS.index(word) + 1 if word in EFFORTS else len(EFFORTS) + 1), word


def is_off(value: object) -> bool:
    """Whether a value of a switch turns thinking off."""
    return value is False or value == "none" or value in _OFF
