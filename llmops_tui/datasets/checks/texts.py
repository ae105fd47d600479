"""Checks of texts: encoding errors, control characters, template markers, toxicity, injections, personal data."""

from __future__ import annotations

import re
from functools import cache
from itertools import chain
from pathlib import Path

from llmops_tui.datasets.checks.base import Check
from llmops_tui.datasets.privacy.replacement import beside_texts, replace_in_row
from llmops_tui.datasets.records import Row, map_texts, texts
from llmops_tui.privacy.detection import find_personal
from llmops_tui.privacy.replacement import mark, readable

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ufffe\uffff]")
# Characters without width that hide text; the joiners that scripts and emoji need are left alone between letters.
_HIDDEN = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_MARKS = re.compile(
    r"<\|[a-z_0-9]{2,40}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
    r"|<\uff5c[^>]{1,40}\uff5c>"
)
_INJECTION = re.compile(
    r"(?i)\b(?:ignore|disregard|forget|override)\b[^.\n]{0,30}\b(?:previous|prior|above|earlier|all|your|system)\b[^.\n]{0,20}"
    r"\b(?:instructions?|prompts?|rules|guidelines|directions|messages?)\b"
    r"|\byou are now (?:dan|an? (?:unrestricted|unfiltered|jailbroken))|\b(?:developer|god|dan|jailbreak) mode\b"
    r"|\b(?:reveal|print|show|repeat|output|leak)\b[^.\n]{0,30}\b(?:system|hidden|initial|secret) "
    r"(?:prompt|instructions?|message)"
    r"|\bdo anything now\b|\bpretend (?:that )?you (?:have no|are not bound by|are free of)\b|\bend of (?:system )?prompt\b"
    r"|^\s*(?:###\s*)?(?:system|new instructions?)\s*:\s*you\b",
    re.MULTILINE,
)


def command_in(text: str) -> str:
    """Words of a text that try to command a model; empty where it has none."""
    match = _INJECTION.search(text)
    return match.group()[:80] if match else ""


class Mojibake(Check):
    """Texts that were decoded wrongly."""

    id = "mojibake"
    title = "Wrongly decoded text"
    why = "Letters such as Ã¼ come from UTF-8 read as something else; the model would learn to write them."
    fix = "decode them correctly, as ftfy does"

    def inspect(self, number: int, row: Row) -> None:
        """Ask ftfy whether a text looks broken."""
        import ftfy

        for place, text in texts(self.kind, row):
            if not text.isascii() and ftfy.is_bad(text):
                self.hit(number, f"{place}: {text[:60]!r}")
                return

    def repair(self, row: Row) -> Row:
        """Fix the encoding, and nothing else."""
        import ftfy

        repaired: Row = map_texts(row, ftfy.fix_encoding)
        return repaired


class ControlCharacters(Check):
    """Characters nobody sees."""

    id = "control-characters"
    title = "Control and hidden characters"
    why = "They are tokens like any other, may hide text from a reader, and disturb terminals and tokenizers."
    fix = "remove them"

    def inspect(self, number: int, row: Row) -> None:
        """Find the first."""
        for place, text in texts(self.kind, row):
            match = _CONTROL.search(text) or (None if text.isascii() else _HIDDEN.search(text))
            if match:
                self.hit(number, f"{place}: U+{ord(match.group()):04X} at character {match.start() + 1:,}")
                return

    def repair(self, row: Row) -> Row:
        """Take them out."""
        repaired: Row = map_texts(row, lambda text: _HIDDEN.sub("", _CONTROL.sub("", text)))
        return repaired


class TemplateMarks(Check):
    """Marks of chat templates inside texts."""

    id = "template-tokens"
    title = "Template markers inside text"
    why = "Markers such as <|im_start|> become control tokens, and split a conversation at their position."
    fix = "remove them"

    def inspect(self, number: int, row: Row) -> None:
        """Find the first."""
        for place, text in texts(self.kind, row):
            match = _MARKS.search(text) if ("<" in text or "[" in text) else None
            if match:
                self.hit(number, f"{place}: {match.group()}")
                return

    def repair(self, row: Row) -> Row:
        """Take them out."""
        repaired: Row = map_texts(row, lambda text: _MARKS.sub("", text))
        return repaired


class Injections(Check):
    """Texts that try to command a model."""

    id = "injection"
    title = "Possible prompt injections"
    why = "Texts that tell a model to drop its instructions train it to obey them, or come from an attack."
    fix = "remove these rows"

    def inspect(self, number: int, row: Row) -> None:
        """Search for the usual words."""
        for place, text in texts(self.kind, row):
            if said := command_in(text):
                self.hit(number, f"{place}: {said!r}")
                return


@cache
def _offensive() -> re.Pattern[str]:
    words = (Path(__file__).parent / "offensive_words.txt").read_text(encoding="utf-8").split()
    return re.compile(rf"(?i)\b(?:{'|'.join(map(re.escape, words))})(?:s|es|ed|ing|er|ers)?\b")


def offensive_words(text: str) -> list[str]:
    """The words of the list that stand in a text."""
    return [match.group() for match in _offensive().finditer(text)]


class Offensive(Check):
    """Offensive words, by a list."""

    id = "offensive"
    title = "Offensive words"
    why = "Based on a short list of English insults and obscenities: other words are not found, and quotations are."
    fix = "remove these rows"

    def inspect(self, number: int, row: Row) -> None:
        """Search for the words of the list."""
        for place, text in texts(self.kind, row):
            found = offensive_words(text)
            if found:
                word = found[0]
                self.hit(number, f"{place}: {word[0]}{'*' * (len(word) - 1)}")
                return


class PersonalData(Check):
    """Personal data and secrets."""

    id = "personal-data"
    title = "Personal data and secrets"
    why = "A model repeats what it learned. Addresses, numbers, names and keys must not get into its weights."
    fix = "replace them with placeholders such as [EMAIL]"

    def inspect(self, number: int, row: Row) -> None:
        """Find the first."""
        found: list[str] = []
        for _place, text in chain(texts(self.kind, row), beside_texts(row)):
            found += [span.kind for span in find_personal(readable(text))]
        if found:
            self.hit(number, ", ".join(dict.fromkeys(found)))

    def repair(self, row: Row) -> Row:
        """Take it out."""
        return replace_in_row(row, mark)[0]
