"""Noise in texts: typing mistakes, other case, other blanks. No model; the chance that is given decides all of it."""

from __future__ import annotations

import random
import re
from typing import Literal, get_args

Noise = Literal["typos", "upper", "lower", "blanks"]
NOISES: tuple[Noise, ...] = get_args(Noise)
_WORD = re.compile(r"\w+", re.UNICODE)


def noisy(text: str, noise: Noise, rate: float, chance: random.Random) -> str:
    """A text with one kind of noise; the same where there is nothing to change. ``rate`` is the share of words with a typo."""
    if noise == "typos":
        return with_typos(text, rate, chance)
    if noise == "upper":
        return text.upper()
    return text.lower() if noise == "lower" else re.sub(r" ", "  ", text)


def with_typos(text: str, rate: float, chance: random.Random) -> str:
    """Two neighbouring letters exchanged in a share of the words of four letters or more; in one at least."""
    words = [m for m in _WORD.finditer(text) if len(m.group()) >= 4 and m.group().isalpha()]
    if not words:
        return text
    chosen = chance.sample(words, max(1, round(rate * len(words))))
    letters = list(text)
    for match in chosen:
        # Not the first letter: people mistype inside words.
        at = match.start() + chance.randrange(1, len(match.group()) - 1)
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)
