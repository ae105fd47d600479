"""``llmops backup --verify``: verify a backup or a series of backups."""

from __future__ import annotations

from pathlib import Path

import typer

from llmops_tui.cli.output import Session
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.user_files import with_home


def verify_backups(session: Session, place: Path | None, passphrase: str) -> None:
    """Read a backup, or a series of them, back; exit 1 where anything is not whole."""
    from llmops_tui.maintenance.archive import verify
    from llmops_tui.maintenance.series import read_passphrase
    from llmops_tui.maintenance.series_check import BackupState, verify_series

    if place is None:
        place = Path(session.settings.backup_folder) if session.settings.backup_folder else None
        file = session.settings.backup_passphrase_file
        passphrase = passphrase or (read_passphrase(with_home(file)) if file and place else "")
    if place is None:
        raise LlmopsError(
            "usage", "no backup is named", "llmops backup FILE --verify, or a FOLDER", exit_code=ExitCode.USAGE
        )
    place = with_home(place)
    if place.is_dir():
        found = verify_series(place, passphrase, session.progress("reading"))
    else:
        found = [BackupState(place, len(verify(place, session.progress("reading"), passphrase).files), ())]
    first = next((one for one in found if not one.whole), None)
    newest = next((one for one in reversed(found) if one.whole), None)
    data = {
        "backups": [one.as_dict() for one in found],
        "first_damaged": str(first.path) if first else None,
        "newest_whole": str(newest.path) if newest else None,
    }

    def human() -> str:
        lines = [
            f"{one.path.name}: " + ("; ".join(one.trouble) or f"intact, {counted(one.files, 'file')}") for one in found
        ]
        if first is not None:
            whole = f"the newest intact backup is {newest.path.name}" if newest else "no backup is intact"
            lines.append(f"the first damaged backup is {first.path.name}; {whole}")
            lines.append(f"make a new full backup: llmops backup {place}")
        return "\n".join(lines)

    session.emit(data, human)
    if first is not None:
        raise typer.Exit(int(ExitCode.FAILED))
