"""Prompts as promptfoo's configurations have them: chats in JSON whose texts are Nunjucks.

A configuration may have several prompts, which are compared; each is a system and a user text here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import yaml

from llmops_tui.foreign_text import JsonObject, parse_json, parse_yaml
from llmops_tui.prompts.foreign_settings import Turn, read_turns
from llmops_tui.prompts.plain_templates import parts_of, variable_name, with_marks

# What is a value or an operator of Nunjucks where it stands alone, or promptfoo's own, and no variable.
_WORDS = frozenset(
    {"true", "false", "none", "null", "undefined", "not", "and", "or", "in", "is", "if", "else", "env", "loop"}
)
_FILE = ("file://", "package:")
# What promptfoo takes for the name of a file, with a function in it, or for a prompt that is kept elsewhere.
_ELSEWHERE = re.compile(
    r"(?:portkey|langfuse|helicone)://\S+|exec:.+|[^\s{}]+\.(?:txt|md|j2|jsonl?|ya?ml|csv|[cm]?[jt]s|py)(?::\w+)?"
)
_NAMED = re.compile(r"\{\{\s*(\w+)\s*\}\}", re.ASCII)


@dataclass(frozen=True)
class ReadPrompt:
    """One prompt of a configuration; ``settings`` is a record of what its turns say beside its texts."""

    system: str
    user: str
    settings: JsonObject


def write_configuration(given: Sequence[Turn], label: str, values: Mapping[str, str]) -> str:
    """A configuration with one prompt, and one test with a value for each of its variables, empty where none is known.

    Raises:
        ValueError: the templates have more than variables, or a value would be read as something else.
    """
    turns = [
        {"role": role, "content": _as_nunjucks(text) if is_template else with_marks(text.replace("\0", ""))}
        for role, text, is_template in given
    ]
    texts = [text for _, text, is_template in given if is_template]
    names = dict.fromkeys(part for text in texts for part, is_name in parts_of(text) if is_name)
    body: dict[str, object] = {
        "description": f"{label} of llmops",
        # More than one line, or promptfoo might take it for the name of a file.
        "prompts": [{"label": label, "raw": json.dumps(turns, ensure_ascii=False, indent=2)}],
        # A configuration names who is asked; this one repeats the prompt, until another is named.
        "providers": ["echo"],
        "tests": [{"vars": {name: _as_value(name, values.get(name, ""), names) for name in names}}],
    }
    return str(yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100_000))


def read_configuration(text: str) -> tuple[list[ReadPrompt], tuple[str, ...]]:
    """Each prompt with the examples that stand in it as turns, and what else the configuration says, by the names of its keys.

    Raises:
        ValueError, TypeError: a prompt is a file, or more than a text of each; with its place.
    """
    body = parse_yaml(text)
    if not isinstance(body, dict) or not body.get("prompts"):
        raise ValueError("it has no prompts")
    given = body["prompts"]
    if isinstance(given, dict):
        given = list(given)
    found = [
        _read(one, f"prompts[{number}]") for number, one in enumerate([given] if isinstance(given, str) else given)
    ]
    return found, tuple(sorted(str(name) for name in body.keys() - {"prompts", "description"}))


def _read(given: object, where: str) -> ReadPrompt:
    raw = given.get("raw") or given.get("id") if isinstance(given, dict) else given
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"{where}: it has no text")
    if raw.startswith(_FILE) or _ELSEWHERE.fullmatch(raw.strip()) or (isinstance(given, dict) and "raw" not in given):
        raise ValueError(f"{where}: {raw[:80]} is a file, or kept elsewhere: import that one, or put its text in")
    try:
        turns = parse_yaml(raw) if raw.lstrip().startswith("- role:") else parse_json(raw)
    except ValueError:
        turns = None
    if not (isinstance(turns, list) and turns and all(isinstance(turn, dict) and "role" in turn for turn in turns)):
        return ReadPrompt("", _from_nunjucks(raw, where), {})
    texts: list[tuple[str, str]] = []
    for number, turn in enumerate(turns, 1):
        role = "system" if turn["role"] == "developer" else turn["role"]
        if turn.keys() != {"role", "content"}:
            raise ValueError(f"{where}: turn {number} has more than a role and a content")
        if not isinstance(turn["content"], str):
            raise TypeError(f"{where}: turn {number} has content that is no text")
        texts.append((str(role), _from_nunjucks(turn["content"], where)))
    return ReadPrompt(*read_turns(texts, f"{where}: turn"))


def _as_nunjucks(text: str) -> str:
    made = ""
    for part, is_name in parts_of(text):
        if is_name and part in _WORDS:
            raise ValueError(f"{part} is a word of promptfoo's templates, and cannot be a variable there")
        made += f"\0{part}\0" if is_name else part.replace("\0", "")
    return with_marks(made)


def _from_nunjucks(text: str, where: str) -> str:
    try:
        parts = parts_of(text.replace("\0", ""))
        return with_marks("".join(f"\0{variable_name(part)}\0" if is_name else part for part, is_name in parts))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _as_value(name: str, value: str, names: Collection[str]) -> str:
    """A value that promptfoo takes as it stands: one may name a file, and another value that it has."""
    if value.startswith(_FILE):
        raise ValueError(f"the value of {name} begins with {value[:8]}, which promptfoo reads as a file")
    if found := next((one for one in _NAMED.finditer(value) if one[1] in names), None):
        raise ValueError(f"the value of {name} has {found[0]}, in whose place promptfoo puts the value of {found[1]}")
    return value
