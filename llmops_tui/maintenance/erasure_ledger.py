"""The ledger of erasures: what a restore of an older backup is held against, and who was forgotten is readable to nobody else.

To erase a person again from a backup that still has them, one must know whom. Hashes of the identifiers would not do: a
hash finds one spelling, and those of names and numbers are guessed in no time. So the identifiers are kept encrypted
(AES-SIV), with a key that lies with the user's own files and never in a workspace or a backup. Whoever has the workspace
alone learns how often something was erased, and when. Where the key is destroyed, nobody can tell any more, and nothing is
erased again. A copy of the ledger lies beside the key, since the one in the workspace is replaced by a restore.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from llmops_tui.datasets.privacy.replacement import Key
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.maintenance.erasure_records import ErasureRecord, How
from llmops_tui.privacy.person import Identifier, IdentifierKind, Person
from llmops_tui.regular_files import read_regular
from llmops_tui.user_files import settings_folder
from llmops_tui.workspace.files import make_private_folder, sha256_text, write_atomic
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import read_marker
from llmops_tui.workspace.written import write_noted

FILE = "erasures.json"
_FORMAT = 1


def ledger_folder() -> Path:
    """Where the key and the copies of ledgers are."""
    return settings_folder() / "erasures"


def ledger_key(*, make: bool = False) -> Key | None:
    """The key of this user's ledgers; none where there is none and none is to be made."""
    path = ledger_folder() / "key"
    return Key.load(path, make=make) if make or path.exists() else None


class Ledger:
    """The erasures of one workspace, the oldest first."""

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.root / FILE
        # A workspace that was just made has no id before its catalog is opened, and no erasures.
        self._copy = ledger_folder() / f"{read_marker(workspace).id or 'none'}.json"

    def all(self) -> list[ErasureRecord]:
        """All that are known: in the workspace, and in the copy beside the key."""
        return merged([*_read(self._path), *_read(self._copy)])

    def begun(self) -> list[ErasureRecord]:
        """Those that were begun and have not come to their end here.

        What the workspace says of itself counts: the copy may know that one came to its end in a restored backup.
        """
        here = {one["id"]: one for one in _read(self._path)}
        return [one for one in self.all() if here.get(one["id"], one)["receipt"] is None]

    def keep(self, erasure: ErasureRecord) -> None:
        """Keep an erasure as it is now, durably, in both places."""
        whole = [one for one in self.all() if one["id"] != erasure["id"]]
        self.keep_all([*whole, erasure])

    def keep_all(self, erasures: Iterable[ErasureRecord]) -> None:
        """Keep all erasures, durably, in both places: beside the key first, since that one outlives the workspace."""
        text = json.dumps({"format": _FORMAT, "erasures": sorted(erasures, key=lambda one: one["begun_at"])}, indent=1)
        make_private_folder(self._copy.parent)
        write_atomic(self._copy, text)
        write_noted(self._path, text)


def merged(erasures: Iterable[ErasureRecord]) -> list[ErasureRecord]:
    """Each erasure once, as far as any of its copies has come; the oldest first."""
    found: dict[str, ErasureRecord] = {}
    for one in erasures:
        known = found.get(one["id"])
        if known is None or (one["receipt"] is not None, len(one["again"]), len(one["remade"])) > (
            known["receipt"] is not None,
            len(known["again"]),
            len(known["remade"]),
        ):
            found[one["id"]] = one
    return sorted(found.values(), key=lambda one: one["begun_at"])


def _read(path: Path) -> list[ErasureRecord]:
    try:
        raw = parse_json(read_regular(path))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(raw, dict) or not isinstance(raw.get("erasures"), list):
        raise _damaged(path, "it is no ledger")
    if raw.get("format") != _FORMAT:
        raise InputRefusedError("ledger_newer", f"{path} was written by a later release", "Update llmops.")
    for one in raw["erasures"]:
        if not isinstance(one, dict) or not ErasureRecord.__required_keys__ <= one.keys():
            raise _damaged(path, "an erasure in it is not whole")
    return cast("list[ErasureRecord]", raw["erasures"])


def _damaged(path: Path, why: str) -> LlmopsError:
    return LlmopsError(
        "ledger_damaged",
        f"the ledger of erasures {path} cannot be read: {why}",
        "Restore that file from a backup, or from its copy beside the settings (erasures/).",
    )


def new_erasure(person: Person, how: How, key: Key, planned: dict[str, int], trained: list[str]) -> ErasureRecord:
    """The record of an erasure that begins now."""
    identifier = new_id("er")
    return {
        "id": identifier,
        "begun_at": time.time(),
        "how": how,
        "key": key.id,
        "sealed": seal(person, identifier, key),
        "fingerprints": [fingerprint(one, key) for one in person.identifiers],
        "planned": planned,
        "trained": trained,
        "remade": {},
        "receipt": None,
        "again": [],
    }


def person_of(erasure: ErasureRecord, key: Key | None) -> Person:
    """Whom an erasure is about.

    Raises:
        InputRefusedError: ``erasure_sealed``: its key is not here.
    """
    if key is None or key.id != erasure["key"]:
        raise InputRefusedError(
            "erasure_sealed",
            f"whom {erasure['id']} is about cannot be read: its key {erasure['key']} is not on this machine",
            f"Copy the file to {ledger_folder() / 'key'} from the machine that erased, or forget the person again.",
        )
    return unseal(erasure["sealed"], erasure["id"], key)


def seal(person: Person, name: str, key: Key) -> str:
    """Whom something of this name is about, as the holder of the key alone can read it."""
    said = json.dumps([[one.kind, one.value] for one in person.identifiers], ensure_ascii=False)
    return key.encrypt(said, name)


def unseal(sealed: str, name: str, key: Key) -> Person:
    """Who was sealed under a name.

    Raises:
        InputRefusedError: ``key_wrong``: with another key, or it was changed.
    """
    raw = json.loads(key.decrypt(sealed, name))
    return Person(Identifier(cast("IdentifierKind", kind), value) for kind, value in raw)


def fingerprint(identifier: Identifier, key: Key) -> str:
    """What tells an identifier from another, and nothing of it: its HMAC with the key, in 26 letters and digits."""
    return key.code(f"forgotten-{identifier.kind}", identifier.value, 26)


def tombstone(key: Key, digest: str) -> str:
    """What stands for the hash of content that is gone.

    A hash of content of which one row is unknown can be guessed; its HMAC cannot, without the key.
    """
    code = key.code("tombstone", digest, 32)
    return f"erased-{hmac.new(code.encode(), digest.encode(), 'sha512').hexdigest()[:57]}"


def receipt_hash(body: object) -> str:
    """The SHA-256 of a receipt without its hash, by its canonical JSON."""
    return sha256_text(json.dumps(body, sort_keys=True))
