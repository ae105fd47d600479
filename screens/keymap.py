"""The user's keymap: a TOML table of action ids and keys, checked before it is used, and written by the settings screen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llmops_tui.keymap_file import keymap_path, read_keymap, write_keymap
from screens.action import Action
from screens.actions import ACTIONS, ALWAYS, BY_ID
from screens.key_names import key_name


def load_keymap(path: Path | None = None) -> tuple[dict[str, str], list[str]]:
    """The keymap that can be used, and what was wrong in the file."""
    path = path or keymap_path()
    table, trouble = read_keymap(path)
    if trouble:
        return {}, [trouble]
    good, problems = check_keymap(table)
    return good, [f"{path}: {problem}" for problem in problems]


def save_keymap(keymap: dict[str, str], path: Path | None = None) -> Path | None:
    """Write a keymap; as :func:`write_keymap`, where the former file may have something that cannot be used."""
    return write_keymap(keymap, path, spoiled=bool(load_keymap(path)[1]))


def textual_keymap(keymap: dict[str, str]) -> dict[str, str]:
    """A checked keymap in the form Textual takes, which knows each action by up to two bindings."""
    out = {}
    for action_id, keys in keymap.items():
        plain, always = BY_ID[action_id].keys_by_reach(keys)
        default_plain, default_always = BY_ID[action_id].keys_by_reach(BY_ID[action_id].keys)
        # Both bindings are set, so that no default key stays; one that gets no keys takes the other's.
        if default_plain:
            out[action_id] = plain or always
        if default_always:
            out[action_id + ALWAYS] = always or plain
    return out


def check_keymap(keymap: dict[str, str], actions: Iterable[Action] = ACTIONS) -> tuple[dict[str, str], list[str]]:
    """The part of a user's keymap that can be used, and what is wrong with the rest.

    An id that does not exist is refused, and so is a key that is none, and one that another action of the same screen, or of
    the whole app, has already. Signs such as ``alt+.`` become the names that keys have here.
    """
    known = {action.id: action for action in actions}
    good: dict[str, str] = {}
    problems: list[str] = []
    for action_id, keys in keymap.items():
        if action_id not in known:
            problems.append(f"{action_id}: unknown action")
            continue
        named = {key: key_name(key) for key in _written(keys)}
        if unknown := [key for key, name in named.items() if not name]:
            problems.append(f"{action_id}: {', '.join(unknown)} is no key")
            continue
        usable = ",".join(named.values())
        clash = _clash(known[action_id], usable, {**{i: a.keys for i, a in known.items()}, **good}, known)
        if clash:
            problems.append(f"{action_id}: {clash}")
            continue
        good[action_id] = usable
    return good, problems


def taken_by(action: Action, key: str, keymap: dict[str, str], actions: Iterable[Action] = ACTIONS) -> Action | None:
    """Another action of the same screen, or of the whole app, that has a key; none where it is free for this one."""
    for other in actions:
        shared = other.scope == action.scope or "app" in {other.scope, action.scope}
        if other.id != action.id and shared and key in keys_of(other, keymap):
            return other
    return None


def keys_of(action: Action, keymap: dict[str, str]) -> list[str]:
    """The keys of an action: the user's, or those it has by itself."""
    return [key.strip() for key in keymap.get(action.id, action.keys).split(",") if key.strip()]


def _written(keys: str) -> list[str]:
    """Keys as they stand in the file; a comma that is one stands alone between two, at an end, or behind a plus."""
    found: list[str] = []
    empty = False
    for part in keys.split(","):
        if part.strip():
            found.append(part.strip())
        elif found and found[-1].endswith("+") and not found[-1].endswith("++"):
            found[-1] += ","
            continue
        elif empty:
            found.append(",")
        empty = not part.strip() and not empty
    return found


def _clash(action: Action, keys: str, current: dict[str, str], known: dict[str, Action]) -> str:
    wanted = {key.strip() for key in keys.split(",") if key.strip()}
    if not wanted:
        return "no key is given"
    for other_id, other_keys in current.items():
        other = known[other_id]
        if other_id == action.id or (other.scope != action.scope and "app" not in {other.scope, action.scope}):
            continue
        both = wanted & {key.strip() for key in other_keys.split(",")}
        if both:
            return f"{', '.join(sorted(both))} is taken by {other_id}"
    return ""
