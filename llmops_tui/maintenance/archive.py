"""Archives: the content of a backup file, verified against its manifest."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.maintenance.encryption import EncryptedReader, is_encrypted
from llmops_tui.maintenance.records import ManifestRecord, OutsideModel
from llmops_tui.workspace.audit import AnchorRecord
from llmops_tui.workspace.migrations import LATEST

MANIFEST = "manifest.json"
FORMAT = 2
# Not worth keeping: what is live, made again by itself, or a copy already.
LEFT_OUT = ("logs/", "backups/", "answers.db", "api-key")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a backup holds: the SHA-256 and size of each file, and models that lie outside of the workspace."""

    made_at: float
    version: str
    schema: int
    workspace: str
    files: dict[str, tuple[str, int]]
    outside: list[OutsideModel]
    left_out: list[str]
    # The workspace's id; empty in backups from before it was kept.
    id: str = ""
    # Files whose bytes are in an earlier backup of the same folder, by that one's name.
    elsewhere: dict[str, str] = field(default_factory=dict)
    # How many backups were made since one that needs no other, this one among them; 0 for one that needs none.
    increments: int = 0
    # What was noticed when it was made; not kept in it.
    notes: list[str] = field(default_factory=list)
    # The newest entry of the audit that it holds; none where there was none.
    audit: AnchorRecord | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files.values())

    def as_dict(self) -> ManifestRecord:
        """For JSON."""
        return {
            "format": FORMAT,
            "made_at": self.made_at,
            "version": self.version,
            "schema": self.schema,
            "workspace": self.workspace,
            "files": self.files,
            "outside": self.outside,
            "left_out": self.left_out,
            "id": self.id,
            "elsewhere": self.elsewhere,
            "increments": self.increments,
            "audit": self.audit,
        }


@contextlib.contextmanager
def opened(path: Path, passphrase: str = "") -> Iterator[tarfile.TarFile]:
    """A backup's archive, decrypted where it is encrypted.

    Raises:
        InputRefusedError: ``passphrase_needed`` or ``passphrase_wrong``.
        OSError, tarfile.TarError: it cannot be read.
    """
    if not is_encrypted(path):
        with tarfile.open(path, "r:") as archive:
            yield archive
        return
    if not passphrase:
        raise InputRefusedError(
            "passphrase_needed", f"{path} is encrypted", "Give its passphrase with --passphrase-file."
        )
    with (
        io.BufferedReader(EncryptedReader(path, passphrase), _CHUNK) as plain,
        tarfile.open(fileobj=plain, mode="r:") as archive,
    ):
        yield archive


def read_manifest(path: Path, passphrase: str = "") -> Manifest:
    """The manifest of a backup.

    Raises:
        InputRefusedError: ``not_a_backup``, ``backup_newer``, ``passphrase_needed`` or ``passphrase_wrong``.
    """
    try:
        with opened(path, passphrase) as archive:
            member = archive.extractfile(MANIFEST)
            raw = parse_json(member.read()) if member is not None else {}
        if raw["format"] > FORMAT or raw["schema"] > LATEST:
            raise InputRefusedError("backup_newer", f"{path} was made by llmops {raw['version']}", "Update llmops.")
        files = {str(name): (str(digest), int(size)) for name, (digest, size) in raw["files"].items()}
        elsewhere = {str(name): str(archive) for name, archive in raw.get("elsewhere", {}).items()}
        return Manifest(
            float(raw["made_at"]),
            str(raw["version"]),
            int(raw["schema"]),
            str(raw["workspace"]),
            files,
            list(raw["outside"]),
            list(raw["left_out"]),
            str(raw.get("id", "")),
            elsewhere,
            int(raw.get("increments", bool(elsewhere))),
            audit=_anchor(raw.get("audit")),
        )
    except FileNotFoundError as error:
        raise InputRefusedError("no_such_file", f"{path} does not exist", "Check the path.") from error
    except (tarfile.TarError, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise InputRefusedError(
            "not_a_backup", f"{path} is not a complete backup: {error}", "Use another backup."
        ) from error


def _anchor(raw: Any) -> AnchorRecord | None:
    return None if raw is None else {"seq": int(raw["seq"]), "sha256": str(raw["sha256"])}


def verify(
    path: Path, progress: Callable[[float], None] | None = None, passphrase: str = "", *, own: bool = False
) -> Manifest:
    """Read a whole backup and hold every file against the manifest; with ``own`` not what lies in earlier ones.

    Raises:
        InputRefusedError: ``backup_damaged``; the message names the file.
    """
    manifest = read_manifest(path, passphrase)
    for done, (name, _source, digest) in enumerate(members(path, manifest, passphrase=passphrase, own=own)):
        if digest != manifest.files[name][0]:
            place = path.with_name(manifest.elsewhere.get(name, path.name)) if not own else path
            raise InputRefusedError("backup_damaged", f"{place}: {name} is damaged", "Use another backup.")
        if progress is not None:
            progress((done + 1) / len(manifest.files))
    return manifest


def members(
    path: Path, manifest: Manifest, folder: Path | None = None, *, passphrase: str = "", own: bool = False
) -> Iterator[tuple[str, Path | None, str]]:
    """Each file of a backup with the hash of what was read; written below ``folder`` where one is given.

    Files that lie in earlier backups are read from those, unless only its ``own`` are wanted.

    Raises:
        InputRefusedError: ``backup_damaged``: a file is missing, or one is there that the manifest does not name.
    """
    wanted: dict[Path, set[str]] = {path: manifest.files.keys() - manifest.elsewhere.keys()}
    for name, earlier in manifest.elsewhere.items():
        if name not in manifest.files or Path(earlier).name != earlier:
            raise InputRefusedError(
                "backup_damaged", f"{path}: {name!r} does not belong in a backup", "Use another backup."
            )
        if not own:
            wanted.setdefault(path.with_name(earlier), set()).add(name)
    for archive, names in wanted.items():
        if archive != path and not archive.exists():
            raise InputRefusedError(
                "backup_damaged",
                f"{path} requires {archive.name} in the same folder, which is missing",
                "Restore that file, or use another backup.",
            )
        yield from _members_of(archive, names, folder, passphrase, all_of_it=archive == path)


def _members_of(
    path: Path, names: set[str], folder: Path | None, passphrase: str, *, all_of_it: bool
) -> Iterator[tuple[str, Path | None, str]]:
    missing = set(names)
    try:
        with opened(path, passphrase) as archive:
            for member in archive:
                if member.name == MANIFEST or (not all_of_it and member.name not in names):
                    continue
                source = archive.extractfile(member)
                unfit = not _harmless(member.name) or member.name.startswith(LEFT_OUT)
                if member.name not in missing or source is None or unfit:
                    raise InputRefusedError(
                        "backup_damaged", f"{path}: {member.name!r} does not belong in a backup", "Use another backup."
                    )
                missing.discard(member.name)
                target = folder / member.name if folder is not None else None
                yield member.name, target, _read(source, target)
    except tarfile.TarError as error:
        raise InputRefusedError("backup_damaged", f"{path}: {error}", "Use another backup.") from error
    if missing:
        raise InputRefusedError("backup_damaged", f"{path}: {min(missing)} is missing", "Use another backup.")


def _read(source: IO[bytes], target: Path | None) -> str:
    digest = hashlib.sha256()
    if target is None:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _harmless(name: str) -> bool:
    """Whether a path stays below the folder it is unpacked in."""
    parts = Path(name).parts
    return bool(parts) and not Path(name).is_absolute() and ".." not in parts
