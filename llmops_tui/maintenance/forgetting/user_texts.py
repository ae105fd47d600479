"""Files of the user's own, beside all workspaces, that name a person: snippets, and what entries were before a change."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json, parse_toml
from llmops_tui.maintenance.erasure_ledger import ledger_folder
from llmops_tui.maintenance.forgetting.change import Change
from llmops_tui.maintenance.forgetting.search import names_person
from llmops_tui.privacy.person import Person
from llmops_tui.regular_files import read_regular
from llmops_tui.snippets import snippets_path
from llmops_tui.user_entries import changes_path
from llmops_tui.user_files import settings_folder, state_folder
from llmops_tui.workspace.files import write_atomic


@dataclass(frozen=True)
class UserText:
    """A file that names a person, and what it is to be; none where it stays, as it could not be read then."""

    path: Path
    text: str
    anew: bytes | None

    @property
    def staying(self) -> str:
        """What to do about it; empty where it is changed here."""
        return "" if self.anew is not None else f"{self.path}, a file of your settings: take the person out of it"


def user_texts(person: Person) -> Iterator[UserText]:
    """The files that name a person."""
    for path in _files():
        if not names_person(path, person):
            continue
        text = read_regular(path).decode("utf-8", "replace")
        yield UserText(path, text, _redacted(path, text, person) if _is_ours(path) else None)


def erase_user_texts(person: Person) -> None:
    """Write those anew that can be."""
    for one in list(user_texts(person)):
        if one.anew is not None:
            write_atomic(one.path, one.anew)


def _files() -> Iterator[Path]:
    for root in dict.fromkeys((settings_folder(), state_folder())):
        for folder, folders, names in os.walk(root):
            # Keys of ledgers are random bytes.
            folders[:] = sorted(name for name in folders if Path(folder, name) != ledger_folder())
            for name in sorted(names):
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    if stat.S_ISREG(path.lstat().st_mode):
                        yield path


def _is_ours(path: Path) -> bool:
    """Whether llmops itself wrote all of it; snippets that were not understood lie beside theirs."""
    return path == changes_path() or (path.parent == snippets_path().parent and path.name.startswith("snippets.toml"))


def _redacted(path: Path, text: str, person: Person) -> bytes | None:
    change, is_table = Change(person, "redact"), path != changes_path()
    fresh = change.text(text) if is_table else change.json_text(text)
    with contextlib.suppress(ValueError, InputRefusedError):
        if path == snippets_path():
            parse_toml(fresh)
        elif not is_table:
            parse_json(fresh)
        return fresh.encode()
    return None
