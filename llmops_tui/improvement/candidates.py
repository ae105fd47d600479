"""Candidates: the text of a prompt that is changed, the rest that stays, and worked examples behind the instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llmops_tui.prompts.store import content_hash

Kind = Literal["seed", "instruction", "examples", "both"]
_TAG = re.compile(r"\{\{|\{%|\{#")
_HEAD, _INPUT, _OUTPUT = "Examples:", "Input:", "Output:"


@dataclass(frozen=True)
class Example:
    """A row that is shown as an example, by its key, with what is asked and what is right."""

    key: str
    asked: str
    right: str

    @property
    def text(self) -> str:
        """As the prompt has it."""
        return f"{_INPUT} {self.asked}\n{_OUTPUT} {self.right}"


@dataclass(frozen=True)
class Frame:
    """Where the instruction stands in a prompt, and what of the prompt stays.

    It is the literal text at the beginning of the system text; of a prompt without one, of the template. A prompt that has
    no words before its first variable gets its instruction as a system text.
    """

    where: Literal["system", "template"]
    instruction: str
    tail: str
    other: str

    def with_text(self, instruction: str, examples: Sequence[Example] = ()) -> tuple[str, str]:
        """The system text and the template with another instruction, and examples behind it.

        With examples the question stands in their form, too: a small model that is asked in another one does not follow
        them. Signs of the template language in them are words: neither a model nor a row of data writes templates here.
        """
        if not examples:
            own = literal(instruction) + self.tail
            return (own, self.other) if self.where == "system" else (self.other, own)
        text = "\n\n".join([part for part in (instruction, _HEAD) if part] + [example.text for example in examples])
        if self.where == "system":
            return literal(text) + self.tail, _asking(self.other)
        return self.other, f"{literal(text)}\n\n{_asking(self.tail)}"


def _asking(template: str) -> str:
    """What asks, in the form of the examples."""
    return f"{_INPUT} {template.strip()}\n{_OUTPUT}" if template.strip() else template


def frame_of(system: str, template: str) -> Frame:
    """Where the instruction of a prompt stands."""
    where: Literal["system", "template"] = "system" if system.strip() else "template"
    text, other = (system, template) if where == "system" else (template, system)
    found = _TAG.search(text)
    head = text[: found.start()] if found else text
    if not head.strip():
        if where == "system":
            return Frame("system", "", "\n\n" + text, other)
        return Frame("system", "", "", template)
    bare = head.rstrip()
    return Frame(where, bare, head[len(bare) :] + text[len(head) :], other)


def literal(text: str) -> str:
    """A text as a template that renders to it."""
    return _TAG.sub(lambda found: "{{ '" + found.group() + "' }}", text)


def has_tags(text: str) -> bool:
    """Whether a text has signs of the template language."""
    return _TAG.search(text) is not None


@dataclass(frozen=True)
class Candidate:
    """A prompt that may be better. ``number`` counts those of one search from 0, the seed; ``parent`` is one of them.

    All candidates of a search hold the same ``settings`` beside their texts, as JSON.
    """

    number: int
    kind: Kind
    system: str
    template: str
    instruction: str
    examples: tuple[Example, ...] = ()
    parent: int = 0
    settings: str = ""

    @property
    def sha256(self) -> str:
        """The hash of its texts and settings, which is that of the prompt's version."""
        return content_hash(self.system, self.template, self.settings)

    @property
    def words(self) -> int:
        """The words of its texts: how long it is where no model has counted its tokens."""
        return len(f"{self.system} {self.template}".split())


def asked_text(variables: Mapping[str, object]) -> str:
    """What a row asks, as an example shows it: the value of a variable that is alone, else each behind its name."""
    if len(variables) == 1:
        return str(next(iter(variables.values())))
    return "\n".join(f"{name}: {value}" for name, value in variables.items())
