"""Whether an answer refuses, by what it says of itself: in English, German, French and Spanish."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from llmops_tui.datasets.checks.phrases import read_phrases
from llmops_tui.datasets.checks.refusal_model import THRESHOLD, probability
from llmops_tui.datasets.checks.sentences import sentences, unquoted

# What is looked at of an answer: who refuses does so at once.
_FIRST = 3
_LONGEST = 600


@functools.cache
def _refusing() -> list[re.Pattern[str]]:
    """The expressions of the list, with its names filled in."""
    return read_phrases(Path(__file__).parent / "refusal_phrases.txt")


# Without one of these words nothing refuses: most sentences of a dataset are passed over so.
_PERHAPS = re.compile(
    r"\b(?:not?|\w+n[’']t|nor|never|nope|cannot|unable|off|else|away|abstain|refrain|object|declin\w*|refus\w*|reject\w*|pass|"
    r"wrong|against|violates?|contrary|outside|guidelines?|polic\w+|rules?|AI|language model|line|limits?|conscience|"
    r"nichts?|nein|nie|kein\w*|lieber|ab|ablehnen|weiger\w*|passen|richtlinien|nutzungsregeln|grundsätz\w+|prinzipien|regeln|KI|"
    r"tabu|anderes|lass\w*|ne|pas|non|hors|autre|exclu|décline\w*|impossible|contraire|encontre|abstien\w*|contraint\w*|limite|"
    r"ni|ninguna|rechaz\w+|nieg\w*|abstengo|imposible|contra|negarme|otra|excluido|prefiero|obligad[oa]|línea|incumple)\b|\bn[’']",
    re.IGNORECASE,
)
# What sounds like it: not knowing, praise, a turn of speech, what others are or a thing is.
_OTHERWISE = re.compile(
    r"\b(?:can[’']t|cannot|can not) (?:help but|recommend|wait|thank|stress|agree more|sing|tell you the exact)\b|"
    r"\bdon[’']t know\b|"
    r"\bwon[’']t (?:lie|deny)\b|\bno (?:te )?voy a mentir\b|\bno te voy a mentir\b|\bwill nicht lügen\b|\bne vais pas mentir\b|"
    r"\bweiß ich nicht\b|\bkann ich nicht genug\b|\bne sais pas\b|\bne peux que\b|\bno lo sé\b|\bno puedo dejar de\b|"
    r"\bnot sure\b|\bsingen kann ich nicht\b|\bne chante pas\b|\bno canto\b|\bunable to ship\b|\bliefern nicht\b|"
    r"\bne livrons pas\b|\bno enviamos\b",
    re.IGNORECASE,
)
# Help that follows all the same.
_STILL = re.compile(
    r"\b(?:all|every|exact)\b.{0,30}\bbut\b|\bbut (?:the first|most|here|these|you can|it was)\b|\bwhich I leave out\b|"
    r"\baber (?:die ersten|hier|das meiste|du kannst|sie können)\b|\bmais (?:voici|presque|vous pouvez)\b|"
    r"\bpero (?:los (?:dos )?primeros|aquí|casi|esta|puedes)\b|:\s*\n",
    re.IGNORECASE,
)


def refusal(text: str) -> str:
    """The words with which an answer refuses; empty where it does not.

    An answer that helps with a part of what was asked does not refuse, and neither does one that quotes a refusal.
    """
    start = unquoted(text[:_LONGEST])
    for sentence in sentences(start)[:_FIRST]:
        if not _PERHAPS.search(sentence) or _OTHERWISE.search(sentence) or _STILL.search(sentence):
            continue
        for pattern in _refusing():
            if match := pattern.search(sentence):
                return match.group().strip()
        if probability(sentence) >= THRESHOLD:
            return sentence
    return ""
