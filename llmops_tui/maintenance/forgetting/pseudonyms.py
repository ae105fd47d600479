"""Pseudonyms of a person: found with the key that they were made with, among the encrypted values of a workspace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmops_tui.datasets.privacy.replacement import Key
from llmops_tui.errors import InputRefusedError
from llmops_tui.privacy.detection import KINDS
from llmops_tui.privacy.person import Identifier, Person
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.layout import Workspace


def with_pseudonyms(workspace: Workspace, person: Person, key: Key) -> Person:
    """A person with all pseudonyms that stand for them, so that pseudonymised rows are found, too.

    Raises:
        InputRefusedError: ``key_wrong``: nothing in this workspace was pseudonymised with this key.
    """
    folder = workspace.datasets / "vaults" / key.id
    if not folder.is_dir():
        raise InputRefusedError("key_wrong", "nothing in this workspace was pseudonymised with this key")
    return Person([*person.identifiers, *_pseudonyms(folder.glob("*.json"), person, key)])


def keys_not_given(workspace: Workspace, person: Person) -> Iterator[str]:
    """The ids of keys whose pseudonyms nobody looked for: what they stand for can be read only with the key."""
    for folder in sorted((workspace.datasets / "vaults").glob("*")):
        codes = {code for path in folder.glob("*.json") for code in json.loads(read_regular(path))}
        if codes and codes.isdisjoint(person.codes):
            yield folder.name


def _pseudonyms(paths: Iterable[Path], person: Person, key: Key) -> Iterator[Identifier]:
    for path in sorted(paths):
        for code, encrypted in json.loads(read_regular(path)).items():
            value = key.decrypt(encrypted, code)
            if person.named_in(value):
                kind = next((k for k in KINDS if key.code(k, value, len(code)) == code), "name")
                yield Identifier("pseudonym", f"[{kind.upper()}-{code}]")
