"""Assertions about an answer's text as promptfoo makes them: equal, contained, counted, alike."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.evaluation.metrics.structured import same_json
from llmops_tui.evaluation.metrics.texts import short
from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.nunjucks_values import BLANKS
from llmops_tui.inference.nunjucks_values import text as text_of

_BLANKS = re.compile(f"[{re.escape(BLANKS)}]+")
_SMALLEST = 1e-7


@dataclass(frozen=True)
class Outcome:
    """What an assertion says before it is turned round: whether it holds, its score from 0 to 1, and why not."""

    holds: bool
    reason: str
    score: float | None = None


def words_of(text: str) -> list[str]:
    """Words between what JavaScript takes for blanks; of an empty text one empty word."""
    return _BLANKS.split(text.strip(BLANKS))


def equals(text: str, value: Any) -> Outcome:
    """The answer is the text, or JSON that is the object or list."""
    if value is None or isinstance(value, dict | list):
        try:
            same = same_json(parse_json(text, constants=False), value)
        except ValueError:
            same = False
    else:
        same = text == text_of(value)
    return Outcome(same, f"{short(text)} is not {short(text_of(value))}")


def contains(text: str, value: Any, *, mode: str, case: bool) -> Outcome:
    """The answer contains the texts: ``all`` of them or ``any``."""
    wanted = [text_of(one) for one in (value if isinstance(value, list) else [value])]
    whole = text if case else text.lower()
    missing = [one for one in wanted if (one if case else one.lower()) not in whole]
    holds = len(missing) < len(wanted) if mode == "any" else not missing
    return Outcome(holds, f"does not contain {short(', '.join(missing))}")


def starts_with(text: str, value: str) -> Outcome:
    """The answer begins with a text, blanks counted."""
    return Outcome(text.startswith(value), f"does not begin with {short(value)}")


def matches(text: str, pattern: str) -> Outcome:
    """The answer matches a pattern somewhere; it is one of Python's."""
    return Outcome(re.search(pattern, text) is not None, "does not match the pattern")


def distance(text: str, value: str, threshold: float) -> Outcome:
    """The answer differs from a text by so many characters at most (Levenshtein)."""
    from rapidfuzz.distance import Levenshtein

    found = Levenshtein.distance(_units(text), _units(value))
    return Outcome(found <= threshold, f"differs in {found} characters, more than {threshold:g}")


def _units(text: str) -> Sequence[Any]:
    """Units of UTF-16, which are JavaScript's characters."""
    if text.isascii():
        return text
    raw = text.encode("utf-16-le", "surrogatepass")
    return [raw[i : i + 2] for i in range(0, len(raw), 2)]


def word_count(text: str, value: Any) -> Outcome:
    """The answer has so many words, or as many as ``min`` and ``max`` say."""
    found = len([word for word in words_of(text) if word])
    if isinstance(value, dict):
        low, high = value.get("min", -math.inf), value.get("max", math.inf)
        return Outcome(low <= found <= high, f"has {found} words")
    return Outcome(found == float(value), f"has {found} words, not {text_of(value)}")


def _grams(words: list[str], n: int) -> Counter[str]:
    return Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(text: str, references: list[str], threshold: float) -> Outcome:
    """Sentence BLEU over words in lower case; orders longer than the answer are left out (Papineni et al. 2002)."""
    if not text.strip(BLANKS):
        return Outcome(threshold <= 0, "the answer is empty", 0.0)
    found, wanted = words_of(text.lower()), [words_of(one.lower()) for one in references]
    closest = min((abs(len(one) - len(found)), len(one)) for one in wanted)[1]
    logs = []
    for n in range(1, 5):
        grams = _grams(found, n)
        if total := grams.total():
            best = max((grams & _grams(one, n)).total() for one in wanted)
            logs.append(math.log(best / total if best else _SMALLEST))
    brevity = 1.0 if len(found) > closest else math.exp(1 - closest / len(found))
    score = brevity * math.exp(sum(logs) / len(logs))
    return Outcome(score >= threshold, f"BLEU {score:.4f} is less than {threshold:g}", score)


def gleu(text: str, references: list[str], threshold: float) -> Outcome:
    """The smaller of precision and recall over one to four words, the best of all references (Wu et al. 2016).

    Raises:
        ValueError: the answer is empty: there is no such score.
    """
    if not text:
        raise ValueError("the answer is empty")
    score = max(_gleu(_bare_words(text), _bare_words(one)) for one in references)
    return Outcome(score >= threshold, f"GLEU {score:.4f} is less than {threshold:g}", score)


def _bare_words(text: str) -> list[str]:
    return [word.rstrip(".") for word in words_of(text.lower())]


def _gleu(found: list[str], wanted: list[str]) -> float:
    if found == wanted:
        return 1.0
    ours, theirs = ([_grams(words, n) for n in range(1, 5)] for words in (found, wanted))
    shared = sum((a & b).total() for a, b in zip(ours, theirs, strict=True))
    totals = [sum(grams.total() for grams in side) for side in (ours, theirs)]
    return shared / max(totals) if all(totals) else 0.0
