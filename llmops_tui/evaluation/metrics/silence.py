"""Whether an answer abstains: says that the text does not tell, in English, German, French and Spanish, by expressions.

What a text itself denies ("refunds are not given after 30 days") says something; so a denial counts where it is of telling, and
of a text, a passage or whoever answers. What may be both ("the report does not include it") is to be held against the text.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from llmops_tui.datasets.checks.phrases import read_phrases
from llmops_tui.datasets.checks.refusals import refusal
from llmops_tui.datasets.checks.sentences import sentences

_FILE = Path(__file__).with_name("silence_phrases.txt")
# Without one of these no sentence says so; most are passed over by that.
_PERHAPS = re.compile(
    r"\b(?:not|no|nothing|none|nowhere|never|cannot|unable|silent|unclear|unknown|lacks?|insufficient|fails?|skips?|omits?|beyond|outside|empty|open|missing|absent|need|stops?|nichts?|keine?\w{0,2}|schweig\w*|"
    r"ne|pas|aucune?|rien|muet\w*|silencieux|ning[uú]n\w*|nada|silencio|callan?)\b|n[’']",
    re.IGNORECASE,
)


@functools.cache
def _sayings() -> list[re.Pattern[str]]:
    return read_phrases(_FILE)


def tells_nothing(sentence: str) -> bool:
    """Whether a sentence says that the text does not tell, or that whoever answers found nothing there."""
    return _PERHAPS.search(sentence) is not None and any(one.search(sentence) for one in _sayings())


def abstains(answer: str) -> str:
    """The words by which an answer abstains: it begins by saying that nothing is told, or it refuses; empty where it answers.

    Who answers first, and says behind it what is not told, has answered.
    """
    first = next(iter(sentences(answer)), "")
    return first if tells_nothing(first) else refusal(answer)
