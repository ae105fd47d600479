"""Variations of cases for robustness: typos, case, whitespace, order, swapped groups, paraphrases."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from llmops_tui.datasets.noise import NOISES, noisy
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.suite import Variation

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def vary(case: Case, variation: Variation, seed: int, paraphrases: tuple[str, ...] = ()) -> Iterator[Case]:
    """The variations of a case; none where the variation finds nothing to change."""
    if variation.kind == "paraphrase":
        for number, text in enumerate(paraphrases, 1):
            yield _changed(case, variation, f"paraphrase {number}", lambda _old, text=text: text)
        return
    if variation.kind == "swap":
        yield from _swaps(case, variation)
        return
    chance = random.Random(f"{seed}:{case.key}:{variation.kind}")  # noqa: S311  a seed decides, nothing is secret
    changes: dict[str, Callable[[str], str]] = {
        **{noise: partial(noisy, noise=noise, rate=variation.rate, chance=chance) for noise in NOISES},
        "order": partial(_reordered, chance=chance),
    }
    made = _changed(case, variation, variation.kind, changes[variation.kind])
    if _texts(made) != _texts(case):
        yield made


def _texts(case: Case) -> tuple[Any, Any]:
    return case.variables, case.messages


def _changed(case: Case, variation: Variation, name: str, change: Any) -> Case:
    """A copy of a case whose texts are changed: one variable, or all, or the last thing the user says."""
    variables = {
        key: change(value) if isinstance(value, str) and variation.variable in {"", key} else value
        for key, value in case.variables.items()
    }
    messages = list(case.messages)
    last = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=None)
    if last is not None:
        messages[last] = {**messages[last], "content": change(str(messages[last].get("content") or ""))}
    return replace(
        case,
        key=f"{case.key}~{name}",
        variables=variables,
        messages=tuple(messages),
        variation=name,
        origin=case.key,
    )


def _reordered(text: str, chance: random.Random) -> str:
    sentences = _SENTENCE.split(text)
    if len(sentences) < 2:
        return text
    moved = sentences[:]
    while moved == sentences and len(set(sentences)) > 1:
        chance.shuffle(moved)
    return " ".join(moved)


def _swaps(case: Case, variation: Variation) -> Iterator[Case]:
    """The case once for each group, with the words of all groups replaced by that group's; none where no word stands."""
    places = {word.lower(): i for words in variation.groups.values() for i, word in enumerate(words)}
    pattern = re.compile(
        rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(places, key=len, reverse=True)))})(?!\w)", re.IGNORECASE
    )
    asked = " ".join([*map(str, case.variables.values()), *(str(m.get("content")) for m in case.messages)])
    if not pattern.search(asked):
        return
    for name, words in variation.groups.items():

        def put(match: re.Match[str], words: list[str] = words) -> str:
            word = words[places[match.group().lower()]]
            return word[:1].upper() + word[1:] if match.group()[:1].isupper() else word

        def change(text: str, put: Any = put) -> str:
            return pattern.sub(put, text)

        yield _changed(case, variation, name, change)
