"""The user's keymap: a TOML table of action ids and keys, checked before it is used."""

from __future__ import annotations

import tomllib
from pathlib import Path

from llmops_tui.foreign_text import parse_toml
from llmops_tui.user_files import settings_folder
from screens.actions import check_keymap


def keymap_path() -> Path:
    """The keymap file: ``[keys]`` with lines such as ``"playground.run" = "f5,ctrl+r"``."""
    return settings_folder() / "keymap.toml"


def load_keymap(path: Path | None = None) -> tuple[dict[str, str], list[str]]:
    """The keymap that can be used, and what was wrong in the file."""
    path = path or keymap_path()
    try:
        table = parse_toml(path.read_text(encoding="utf-8")).get("keys", {})
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path}: {error}"]
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        return {}, [f"{path}: [keys] must hold texts"]
    good, problems = check_keymap(table)
    return good, [f"{path}: {problem}" for problem in problems]
