"""Texts and rows of keys that somebody keeps by name, in a file of theirs: snippets and macros."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_toml
from llmops_tui.user_files import settings_folder

MOST = 200
LONGEST_TEXT = 20_000
MOST_KEYS = 500
_MOST_BYTES = 8_000_000
NAME_RULE = "letters, digits, - and _; up to 60"
# A name is what is found as a word in front of the cursor.
_NAME = re.compile(r"[\w-]{1,60}")
_WORD_BEFORE = re.compile(r"[\w-]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Snippets:
    """What is kept.

    Attributes:
        texts: snippets by their names.
        macros: the keys of each macro, by its name: a letter, or what Textual calls a key.
    """

    texts: dict[str, str] = field(default_factory=dict)
    macros: dict[str, tuple[str, ...]] = field(default_factory=dict)


def snippets_path() -> Path:
    """The file, with ``[snippets]`` and ``[macros]``."""
    return settings_folder() / "snippets.toml"


def load_snippets(path: Path | None = None) -> tuple[Snippets, list[str]]:
    """What can be used of the file, and what is wrong with the rest."""
    path = path or snippets_path()
    try:
        if path.stat().st_size > _MOST_BYTES:
            return Snippets(), [f"{path}: larger than {_MOST_BYTES:,} bytes; nothing of it is used"]
        found, problems = parse_snippets(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Snippets(), []
    except (OSError, UnicodeDecodeError) as error:
        return Snippets(), [f"{path}: {error}"]
    return found, [f"{path}: {problem}" for problem in problems]


def parse_snippets(text: str) -> tuple[Snippets, list[str]]:
    """The same of a text."""
    try:
        table = parse_toml(text)
    except ValueError as error:
        return Snippets(), [str(error)]
    problems: list[str] = [f"[{name}] is not known" for name in table if name not in {"snippets", "macros"}]
    texts: dict[str, str] = {}
    for name, value in _entries(table, "snippets", problems):
        if isinstance(value, str) and (problem := problem_of_text(name, value)) == "":
            texts[name] = value
        else:
            problems.append(f"snippet {name!r}: {problem if isinstance(value, str) else 'it is no text'}")
    macros: dict[str, tuple[str, ...]] = {}
    for name, value in _entries(table, "macros", problems):
        if (problem := problem_of_keys(name, value)) == "":
            macros[name] = tuple(value)  # type: ignore[arg-type]  # a list of texts, as was checked
        else:
            problems.append(f"macro {name!r}: {problem}")
    return Snippets(texts, macros), problems


def _entries(table: JsonObject, name: str, problems: list[str]) -> list[tuple[str, object]]:
    found: object = table.get(name, {})
    if not isinstance(found, dict):
        problems.append(f"[{name}] is no table")
        return []
    if len(found) > MOST:
        problems.append(f"[{name}] has {len(found):,}; the first {MOST} are used")
    return list(found.items())[:MOST]


def problem_of_text(name: str, text: str) -> str:
    """What is wrong with a snippet; empty where nothing is."""
    if not _NAME.fullmatch(name):
        return f"a name is {NAME_RULE}"
    if len(text) > LONGEST_TEXT:
        return f"it has {len(text):,} characters, and {LONGEST_TEXT:,} are the most"
    return "it has control characters" if _CONTROL.search(text) else ""


def problem_of_keys(name: str, keys: object) -> str:
    """What is wrong with a macro; empty where nothing is."""
    if not _NAME.fullmatch(name):
        return f"a name is {NAME_RULE}"
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) and 0 < len(key) <= 40 for key in keys):
        return "it is no list of keys"
    return "" if 0 < len(keys) <= MOST_KEYS else f"it has {len(keys):,} keys; from 1 to {MOST_KEYS} can be kept"


def save_snippets(kept: Snippets, path: Path | None = None) -> Path | None:
    """Write all.

    Returns:
        Where the former file was put, if it held what would be lost: comments, or something that cannot be used. Else None.

    Raises:
        InputRefusedError: ``too_many``: there are more than can be kept.
    """
    import tomli_w

    from llmops_tui.settings import keep_beside
    from llmops_tui.workspace.files import write_atomic

    if max(len(kept.texts), len(kept.macros)) > MOST:
        raise InputRefusedError("too_many", f"{MOST} are the most that are kept", "Remove one first.")
    path = path or snippets_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    former = None
    if path.exists() and (load_snippets(path)[1] or "#" in path.read_text(encoding="utf-8", errors="replace")):
        former = keep_beside(path)
    macros = {name: list(keys) for name, keys in kept.macros.items()}
    write_atomic(path, tomli_w.dumps({"snippets": kept.texts, "macros": macros}, multiline_strings=True))
    return former


def word_before(text: str) -> str:
    """The word at the end of a text, which may be the name of a snippet; empty where there is none."""
    found = _WORD_BEFORE.search(text)
    return found.group() if found is not None else ""
