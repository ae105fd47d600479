"""Entries of the user's own files by name, snippets, macros and keys: what they are, and what they were before a change.

What they were is kept beside the machine's facts, not in a workspace, which may come from somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json, text_of
from llmops_tui.keymap_file import read_keymap, write_keymap
from llmops_tui.snippets import Snippets, load_snippets, save_snippets
from llmops_tui.user_files import state_folder
from llmops_tui.workspace.files import write_atomic

SNIPPET, MACRO, KEYS = "snippet", "macro", "keys"
_MOST = 200
_FIELDS = ("kind", "name", "before", "after")
# A text, the keys of a macro, or nothing where there is no such entry.
Value = str | list[str] | None


@dataclass(frozen=True)
class EntryChange:
    """An entry that was changed.

    Attributes:
        kind: ``snippet``, ``macro``, or ``keys`` of an action.
        name: its name; the id of the action.
        before: what it was; none where it was not there.
        after: what it is; none where it was removed.
    """

    kind: str
    name: str
    before: Value
    after: Value


def entry(kind: str, name: str) -> Value:
    """What an entry is now; none where there is none of that name."""
    if kind == KEYS:
        return read_keymap()[0].get(name)
    kept, _ = load_snippets()
    if kind == SNIPPET:
        return kept.texts.get(name)
    keys = kept.macros.get(name)
    return None if keys is None else list(keys)


def set_entry(kind: str, name: str, value: Value) -> None:
    """Make an entry what it was, or with none remove it; all others stay.

    Raises:
        InputRefusedError: ``bad_entry``: that is no value of such an entry.
    """
    if kind == KEYS and not isinstance(value, list):
        keymap, trouble = read_keymap()
        keymap.pop(name, None)
        write_keymap(keymap if value is None else {**keymap, name: value}, spoiled=bool(trouble))
        return
    kept, _ = load_snippets()
    texts, macros = dict(kept.texts), dict(kept.macros)
    if value is None:
        (texts if kind == SNIPPET else macros).pop(name, None)
    elif kind == SNIPPET and isinstance(value, str):
        texts[name] = value
    elif kind == MACRO and isinstance(value, list):
        macros[name] = tuple(value)
    else:
        raise InputRefusedError("bad_entry", f"{kind} {name} cannot be {value!r:.60}", "Nothing was changed.")
    save_snippets(replace(kept, texts=texts, macros=macros))


def changes_between(before: Snippets, after: Snippets) -> list[EntryChange]:
    """What became of snippets and macros, by one who changed their file."""
    found: list[EntryChange] = []
    for kind, were, are in ((SNIPPET, before.texts, after.texts), (MACRO, before.macros, after.macros)):
        for name in {**were, **are}:
            was, now = (None if value is None else _plain(value) for value in (were.get(name), are.get(name)))
            if was != now:
                found.append(EntryChange(kind, name, was, now))
    return found


def _plain(value: str | tuple[str, ...]) -> Value:
    return value if isinstance(value, str) else list(value)


def note_changes(at: float, changes: Collection[EntryChange]) -> None:
    """Keep what was changed at a time, beside the newest of before."""
    noted = _noted()
    noted[str(at)] = [[one.kind, one.name, one.before, one.after] for one in changes]
    newest = sorted(noted, key=float)[-_MOST:]
    path = noted_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(path, json.dumps({when: noted[when] for when in newest}))


def change_at(at: float, kind: str, name: str) -> EntryChange | None:
    """A change of that time; none where it is not known."""
    found = (_change(one) for one in _noted().get(str(at), []))
    return next((one for one in found if one is not None and (one.kind, one.name) == (kind, name)), None)


def noted_changes() -> list[EntryChange]:
    """All changes that are kept."""
    return [one for some in _noted().values() for one in map(_change, some) if one is not None]


def forget_changes(which: Callable[[EntryChange], bool], *, anyway: bool = False) -> None:
    """Keep of these changes nothing: they cannot be taken back any more. ``anyway``: also of what cannot be read."""
    noted = _noted()
    left = {
        when: [one for one in some if (made := _change(one)) is not None and not which(made)]
        for when, some in noted.items()
    }
    if anyway or left != noted:
        write_atomic(noted_path(), json.dumps({when: some for when, some in left.items() if some}))


def _change(one: object) -> EntryChange | None:
    # It may have been written by hand.
    if not isinstance(one, list) or len(one) != len(_FIELDS):
        return None
    return EntryChange(str(one[0]), str(one[1]), _value(one[2]), _value(one[3]))


def _value(given: object) -> Value:
    if isinstance(given, list):
        return [str(key) for key in given]
    return None if given is None else str(given)


def noted_path() -> Path:
    """The file of what was changed."""
    return state_folder() / "entry-changes.json"


def _noted() -> dict[str, list[object]]:
    with suppress(OSError, ValueError, InputRefusedError):
        found = parse_json(text_of(noted_path()))
        if isinstance(found, dict):
            return {when: list(some) for when, some in found.items() if _is_time(when) and isinstance(some, list)}
    return {}


def _is_time(text: str) -> bool:
    with suppress(ValueError):
        return float(text) > 0
    return False
