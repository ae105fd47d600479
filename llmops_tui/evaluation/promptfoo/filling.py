"""Prompts and values filled in with a test's variables, in the steps in which promptfoo does it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.promptfoo import files
from llmops_tui.evaluation.promptfoo.keys import refused
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.nunjucks_values import json_text, text
from llmops_tui.inference.template_renderer import TemplateRenderer, Variables
from llmops_tui.inference.wire import ChatMessage

_OPEN = re.compile(r"\{%[^%]*$|\{\{[^}]*$|\{#[^#]*$", re.MULTILINE)
_PLAIN = re.compile(r"\{\{\s*(\w+)\s*\}\}", re.ASCII)
_NAMED = re.compile(r"\{\{\s*([^{}\s|]+)\s*(?:\|[^}]+)?\}\}|\{%\s*(?:if|for)\s+([^{}\s]+)\s*.*?%\}")
_ROUNDS = 5
# As many values of several lists as a run is ever asked of one test.
_MOST_CASES = 100_000
_ROLES = {"system", "user", "assistant"}
_MEDIA = {
    ".pdf", ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".svg", ".tif", ".tiff", ".ico", ".avif", ".heic", ".heif",
    ".mp3", ".wav", ".ogg", ".m4a", ".mp4", ".webm", ".mov", ".avi", ".mkv",
}  # fmt: skip


def combinations(variables: Variables, folder: Path, where: str) -> Iterator[Variables]:
    """Each set of values: a list of texts, and each file of a pattern, stands for several."""
    choices = []
    for name, value in variables.items():
        if files.is_file_name(value):
            found = files.found_files(folder, value, f"{where}.vars.{name}")
            choices.append([f"{files.SCHEME}{path}" for path in found])
        elif isinstance(value, list) and value and isinstance(value[0], str):
            choices.append(value)
        else:
            choices.append([value])
    if (count := math.prod(map(len, choices))) > _MOST_CASES:
        why = f"its lists together make {count:,} cases, more than {_MOST_CASES:,}"
        raise refused(f"{where}.vars", why, "Give the values that are asked together as tests of their own.")
    for chosen in itertools.product(*choices):
        yield dict(zip(variables, chosen, strict=True))


def with_files(variables: Variables, folder: Path, where: str) -> Variables:
    """Values with the files they name read in, and values within values put in where they are named plainly."""
    made = {name: _read(value, folder, f"{where}.vars.{name}") for name, value in variables.items()}
    made = {name: re.sub(r"\n\Z", "", value) if isinstance(value, str) else value for name, value in made.items()}
    for _ in range(_ROUNDS):
        changed = False
        for name, value in made.items():
            found = _PLAIN.search(value) if isinstance(value, str) else None
            if found is not None and found.group(1) in made:
                made[name] = value[: found.start()] + _inserted(made[found.group(1)], found) + value[found.end() :]
                changed = True
        if not changed:
            break
    return made


def _inserted(value: Any, at: re.Match[str]) -> str:
    """A value as JavaScript's ``replace`` puts it in: some signs behind a dollar stand for parts of the text."""
    parts = {"$": "$", "&": at.group(), "`": at.string[: at.start()], "'": at.string[at.end() :]}
    return re.sub(r"\$([$&`'])", lambda sign: parts[sign.group(1)], text(value))


def _read(value: Any, folder: Path, where: str) -> Any:
    if not files.is_file_name(value):
        if isinstance(value, str) and value.startswith("package:"):
            raise refused(where, f"{value} is code, and reading a configuration runs none")
        return value
    files.refuse_code(value, where)
    path = folder / value.removeprefix(files.SCHEME)
    if path.suffix.lower() in _MEDIA:
        raise refused(where, f"{value}: files of {path.suffix[1:]} are not read into prompts", "Name a text file.")
    content = files.read_text(path, where)
    if path.suffix in {".yaml", ".yml"}:
        return json_text(files.parsed(content, where))
    return content.strip()


class Filler:
    """Renders templates of one configuration; one process for all of them."""

    def __init__(self) -> None:
        self._renderer = TemplateRenderer()

    def close(self) -> None:
        """End the process."""
        self._renderer.close()

    def filled(self, source: str, variables: Variables, where: str) -> str:
        """A template with values.

        Raises:
            InputRefusedError: ``bad_suite``: it uses what would mean something else here; it says what.
        """
        if "{{" not in source and "{%" not in source and "{#" not in source:
            return source
        try:
            return self._renderer.render(source, variables, "nunjucks")
        except InputRefusedError as error:
            raise refused(where, error.message, "Write the prompt as one of llmops, or put the text in.") from error

    def prompt(self, source: str, variables: Variables, where: str) -> list[ChatMessage]:
        """The conversation that a prompt makes."""
        try:
            body = parse_json(source, constants=False)
        except ValueError:
            values = {name: self._value(value, variables, where) for name, value in variables.items()}
            made = self._unless_open(source, values, where)
        else:
            made = json_text(self._within(body, variables, where))
        return _conversation(made, where)

    def _value(self, value: Any, variables: Variables, where: str) -> Any:
        """A value that may be a template itself; one that names what is not there stays as it is."""
        if not isinstance(value, str) or _names_nothing(value, variables):
            return value
        return self._unless_open(value, variables, where)

    def _unless_open(self, source: str, variables: Variables, where: str) -> str:
        """A text with a brace that opens and does not close in its line is no template at all."""
        raw = re.search(r"\{%\s*raw\s*%\}", source) and re.search(r"\{%\s*endraw\s*%\}", source)
        return source if _OPEN.search(source) and not raw else self.filled(source, variables, where)

    def _within(self, body: Any, variables: Variables, where: str) -> Any:
        if isinstance(body, str):
            return self.filled(body, variables, where)
        if isinstance(body, list):
            return [self._within(one, variables, where) for one in body]
        if isinstance(body, dict):
            return {name: self._within(one, variables, where) for name, one in body.items()}
        return body


def _names_nothing(template: str, variables: Variables) -> bool:
    bare = re.sub(r"\{#[\s\S]*?#\}", "", template)
    for found in _NAMED.finditer(bare):
        root = re.match(r"[A-Za-z_]\w*", found.group(1) or found.group(2))
        if root is not None and root.group() != "env" and variables.get(root.group()) is None:
            return True
    return False


def _conversation(made: str, where: str) -> list[ChatMessage]:
    """The turns of a prompt: of a list of them in JSON or YAML, else one of a user."""
    bare = made.strip()
    turns: Any = None
    if bare.startswith("- role:"):
        turns = files.parsed(made, where)
    elif bare.startswith("["):
        try:
            turns = parse_json(bare)
        except ValueError:
            turns = None
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) and "role" in turn for turn in turns):
        return [ChatMessage(role="user", content=made)]
    return [_turn(turn, f"{where}, turn {number}") for number, turn in enumerate(turns, 1)]


def _turn(turn: JsonObject, where: str) -> ChatMessage:
    if set(turn) - {"role", "content"}:
        others = ", ".join(sorted(set(turn) - {"role", "content"}))
        raise refused(where, f"{others}: turns have a role and a text here", "Remove it.")
    if turn.get("role") not in _ROLES or not isinstance(turn.get("content"), str):
        raise refused(where, "a turn is of system, user or assistant, and has a text", "Write parts of a text as one.")
    return ChatMessage(role=turn["role"], content=turn["content"])
