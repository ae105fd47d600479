"""The file of the user's own keys: ``[keys]`` with lines such as ``"playground.run" = "f5,ctrl+r"``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmops_tui.user_files import settings_folder


def keymap_path() -> Path:
    """Where it is."""
    return settings_folder() / "keymap.toml"


def read_keymap(path: Path | None = None) -> tuple[dict[str, str], str]:
    """The keys by the ids of actions, as they are in the file, and what is wrong with it; nothing is known of actions here."""
    path = path or keymap_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, ""
    except (OSError, UnicodeDecodeError) as error:
        return {}, f"{path}: {error}"
    # Most users have none, and the first frame need not wait for what reads one.
    import tomllib

    from llmops_tui.foreign_text import parse_toml

    try:
        table = parse_toml(text).get("keys", {})
    except tomllib.TOMLDecodeError as error:
        return {}, f"{path}: {error}"
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        return {}, f"{path}: [keys] must contain strings"
    return table, ""


def write_keymap(keymap: Mapping[str, str], path: Path | None = None, *, spoiled: bool = False) -> Path | None:
    """Write it; ``spoiled``: what is in the file cannot be used, in whole or in part.

    Returns:
        Where the former file was put, if it held what would be lost: comments, or something that cannot be used. Else None.
    """
    import tomli_w

    from llmops_tui.settings import keep_beside
    from llmops_tui.workspace.files import write_atomic

    path = path or keymap_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = None
    if path.exists() and (spoiled or "#" in path.read_text(encoding="utf-8", errors="replace")):
        kept = keep_beside(path)
    write_atomic(path, tomli_w.dumps({"keys": dict(keymap)}))
    return kept
