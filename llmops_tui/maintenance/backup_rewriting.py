"""Backups written anew: whoever is in the ledger of erasures is taken out of them, the newest backup first.

A backup may stand on earlier ones, never on later ones. Each is written anew as one that needs no other and then put in its own
place, so that at any moment every backup is whole: those that are done need nothing, the others need only older ones.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance.archive import read_manifest
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.restore import unpack
from llmops_tui.maintenance.series import read_passphrase, series_of_settings
from llmops_tui.settings import load_settings
from llmops_tui.user_files import with_home
from llmops_tui.workspace.layout import Workspace

Tell = Callable[[float, str], None]


def rewrite_backups(workspace: Workspace, tell: Tell = lambda _share, _what: None) -> list[Path]:
    """Write the backups of the settings' folder anew, without those whom the ledger has; returns them.

    Raises:
        InputRefusedError: ``erasure_begun``: one is to be completed here first; ``backups_unreadable``: the folder or one of
            them cannot be read; ``erasure_sealed``, ``in_the_way``: somebody cannot be taken out of one, which is as
            it was. Those before it are done.
        LlmopsError: ``disk_full``: the one it happened to is as it was.
    """
    if begun := Ledger(workspace).begun():
        raise InputRefusedError(
            "erasure_begun",
            f"{begun[0]['id']} was interrupted and is not complete here",
            "First: llmops privacy resume",
        )
    settings, _ = load_settings()
    file = settings.backup_passphrase_file
    passphrase = read_passphrase(with_home(file)) if file else ""
    done: list[Path] = []
    for folder, files, trouble in series_of_settings(workspace):
        if trouble:
            raise InputRefusedError(
                "backups_unreadable", f"{folder} cannot be read: {trouble}", "Mount it, and try again."
            )
        for number, path in enumerate(files):
            tell(number / len(files), f"writing {path.name} anew")
            rewrite_backup(path, passphrase if path.name.endswith(".enc") else "")
            done.append(path)
    tell(1.0, "done")
    return done


def rewrite_backup(path: Path, passphrase: str = "") -> None:
    """Write a backup anew, without those whom the ledger of its workspace has; it keeps its name, moment and place."""
    manifest = read_manifest(path, passphrase)
    facts = path.stat()
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
        folder = Path(name) / "workspace"
        unpack(path, manifest, folder, passphrase=passphrase, all_forgotten=True)
        (folder / ".unpacking").unlink(missing_ok=True)
        backup(Workspace(folder), path, passphrase=passphrase, as_of=manifest)
        shutil.rmtree(folder, ignore_errors=True)
    # Whether one is due is told by this.
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
