"""How a command of llmops may go on: nouns, verbs, options, and the names that it is about."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args

# What the noun of a command is about, by the kinds of things.
_KINDS = {
    "data": ("dataset",), "prompt": ("prompt", "version"), "model": ("model",), "train": ("recipe", "run"),
    "eval": ("suite", "evaluation"), "job": ("job",), "serve": ("model",), "generate": ("model",), "embed": ("model",),
    "rerank": ("model",), "classify": ("model",), "lineage": ("dataset", "version", "model", "run", "evaluation"),
}  # fmt: skip
_OPTIONS = {"--model": ("model",), "--prompt": ("prompt", "version"), "--data": ("dataset",), "--dataset": ("dataset",)}


@dataclass(frozen=True)
class Completion:
    """One way to go on: the word, and what it does."""

    word: str
    help: str = ""


@dataclass(frozen=True)
class Line:
    """A command as far as it is written: the finished words, and the one that is being written, which may be empty."""

    words: tuple[str, ...]
    last: str

    @classmethod
    def of(cls, text: str) -> Line:
        """Split as a shell does; an open quote is closed at the end."""
        text = text.removeprefix("llmops ").lstrip() if text.startswith("llmops ") else text.lstrip()
        for closing in ("", "'", '"'):
            try:
                words = shlex.split(text + closing)
            except ValueError:
                continue
            if not text or text[-1].isspace():
                return cls(tuple(words), "")
            return cls(tuple(words[:-1]), words[-1] if words else "")
        return cls((), text)


def complete(text: str, names: Callable[[tuple[str, ...]], list[tuple[str, str]]]) -> list[Completion]:
    """How the word at the end may go on, those that begin with it; ``names`` gives things of kinds with a note each.

    It imports the module of the command that is written: in a thread the first time.
    """
    line = Line.of(text)
    return [c for c in _possible(line, names) if c.word.startswith(line.last) and c.word != line.last]


def replaced(text: str, word: str) -> str:
    """The text with its last word replaced, and a blank behind it."""
    words = Line.of(text).words
    starts = (n for n in range(len(text), -1, -1) if n == 0 or text[n - 1].isspace())
    start = next((n for n in starts if Line.of(text[:n]) == Line(words, "")), 0)
    return f"{text[:start].lstrip()}{shlex.quote(word)} "


def _possible(line: Line, names: Callable[[tuple[str, ...]], list[tuple[str, str]]]) -> list[Completion]:
    from llmops_tui.cli.commands import COMMANDS, loaded

    if not line.words:
        return [Completion(name, entry.help) for name, entry in COMMANDS.items()]
    noun, *rest = line.words
    if noun not in COMMANDS:
        return []
    command: Any = loaded(noun)
    verbs = getattr(command, "commands", {})
    if verbs:
        if not rest:
            return [Completion(name, _first(verb)) for name, verb in verbs.items()]
        if rest[0] not in verbs:
            return []
        command, rest = verbs[rest[0]], rest[1:]
    if line.last.startswith("-"):
        return [
            Completion(name, found.help or "")
            for found in command.params
            for name in found.opts
            if name.startswith("--")
        ]
    before = rest[-1] if rest else ""
    option = next((p for p in command.params if before in p.opts and not getattr(p, "is_flag", False)), None)
    if option is not None:
        return _choices(option) or [Completion(*name) for name in names(_OPTIONS.get(before, ()))]
    return [Completion(*name) for name in names(_KINDS.get(noun, ()))]


def _choices(option: Any) -> list[Completion]:
    """The values of an option that takes one of a few."""
    annotation = getattr(getattr(option, "type_descriptor", None), "annotation", None)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [Completion(str(member.value)) for member in annotation]
    return [Completion(str(value)) for value in get_args(annotation) if isinstance(value, str)]


def _first(command: Any) -> str:
    return str(command.help or "").strip().split("\n")[0]
