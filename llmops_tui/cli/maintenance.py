"""``llmops backup``, ``restore``, ``check``, ``gc`` and ``lineage``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.backup_verify import verify_backups
from llmops_tui.cli.output import Session, session_of
from llmops_tui.counts import agree, counted
from llmops_tui.errors import ExitCode, LlmopsError, sentences
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.maintenance.records import RestoreRecord

_Passphrase = Annotated[
    Path | None,
    typer.Option(help="A private file; its first line is the passphrase that encrypts or decrypts the backup."),
]


def backup(
    context: typer.Context,
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|FOLDER",
            help="A file, replaced once the new backup is complete; or a folder for a series of backups.",
        ),
    ] = None,
    models: Annotated[bool, typer.Option(help="Include the models of the workspace.")] = True,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Back up even if files do not match their checksums; needs a new file.")
    ] = False,
    passphrase_file: _Passphrase = None,
    keep_last: Annotated[
        int, typer.Option("--keep", min=0, help="In a folder: number of backups to keep; 0: all.")
    ] = 0,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="In a folder: copy only files that earlier backups do not have.")
    ] = False,
    full_every: Annotated[
        int | None,
        typer.Option(min=0, help="With --incremental: every n-th backup is a full one; default 10; 0: only the first."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Verify existing backups instead: a file, a folder, or without one the folder of the settings.",
        ),
    ] = False,
    due: Annotated[
        bool, typer.Option("--due", help="Back up as configured in the settings, if a backup is due; for cron.")
    ] = False,
) -> None:
    """Back up the workspace to one file while it is in use, and verify the file."""
    from llmops_tui.maintenance.backup import backup as make
    from llmops_tui.maintenance.series import FULL_EVERY, Made, backup_as_set, backup_into, is_due, read_passphrase

    session = session_of(context)
    passphrase = read_passphrase(passphrase_file) if passphrase_file is not None else ""
    folder = place is not None and with_home(place).is_dir()
    of_series: dict[str, object] = {
        "--keep": keep_last,
        "--incremental": incremental,
        "--full-every": full_every is not None,
    }
    unfit: dict[str, object] = {"--damaged": damaged} if folder else of_series
    if folder and not incremental:
        unfit["--full-every"] = full_every is not None
    if verify:
        unfit = {**of_series, "--damaged": damaged, "--due": due, "--no-models": not models}
    elif due:
        unfit = {"a target": place, "--passphrase-file": passphrase, "--damaged": damaged, **unfit}
    _refuse(unfit)
    if verify:
        verify_backups(session, place, passphrase)
        return
    workspace, tell = session.workspace, _progress(session)
    if due:
        if not is_due(workspace, session.settings, time.time()):
            session.emit({"made": False}, lambda: "no backup is due")
            return
        made = backup_as_set(workspace, tell)
    elif place is None:
        raise LlmopsError("usage", "no target is given", "llmops backup FILE, or a FOLDER", exit_code=ExitCode.USAGE)
    elif folder:
        made = backup_into(
            workspace,
            place,
            keep=keep_last,
            incremental=incremental,
            full_every=FULL_EVERY if full_every is None else full_every,
            models=models,
            passphrase=passphrase,
            progress=tell,
        )
    else:
        made = Made(
            place, make(workspace, place, models=models, damaged=damaged, passphrase=passphrase, progress=tell), []
        )
    manifest, file = made.manifest, made.path
    data = manifest.as_dict() | {
        "made": True,
        "file": str(file.resolve()),
        "files": len(manifest.files),
        "size_bytes": manifest.size,
        "copied": len(manifest.files) - len(manifest.elsewhere),
        "removed": [str(path) for path in made.removed],
        "notes": manifest.notes,
    }

    def human() -> str:
        lines = [f"{file}: {counted(len(manifest.files), 'file')}, {manifest.size / 1e6:,.1f} MB, verified"]
        earlier = sorted(set(manifest.elsewhere.values()))
        shared = f"{len(manifest.elsewhere):,} of them {agree(len(manifest.elsewhere), 'is', 'are')}"
        lines += [f"{shared} in {', '.join(earlier)}, not verified again"] if earlier else []
        lines += [f"deleted: {path.name}" for path in made.removed]
        lines += [f"not included: model {m['name']}, which lies in {m['path']}" for m in manifest.outside]
        lines += [f"not included: {', '.join(manifest.left_out)}"] if manifest.left_out else []
        lines += [f"note: {note}" for note in manifest.notes]
        return "\n".join(lines)

    session.emit(data, human)


def _refuse(unfit: Mapping[str, object]) -> None:
    """Refuse what was given and does not go with the rest, by name."""
    for name, given in unfit.items():
        if given:
            raise LlmopsError(
                "usage",
                f"{name} cannot be combined with these options",
                "See: llmops backup --help",
                exit_code=ExitCode.USAGE,
            )


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup file.")],
    yes: Annotated[bool, typer.Option("--yes", help="Restore; without it only a preview is shown.")] = False,
    passphrase_file: _Passphrase = None,
) -> None:
    """Replace the workspace with a backup; the old workspace is kept next to it."""
    from llmops_tui.maintenance.restore import preview
    from llmops_tui.maintenance.restore import restore as put_back
    from llmops_tui.maintenance.series import read_passphrase
    from llmops_tui.workspace.layout import find_workspace
    from llmops_tui.workspace.trust import HOW, untrusted_reason

    session = session_of(context)
    # Nothing is made before it is decided: an empty folder would look like a workspace that is replaced.
    workspace = find_workspace(session.options.workspace)
    passphrase = read_passphrase(passphrase_file) if passphrase_file is not None else ""
    seen = preview(file, workspace, passphrase)
    data = seen.as_dict()
    if not yes:
        session.emit(data | {"done": False}, lambda: _preview_text(data))
        return
    kept = put_back(file, workspace, _progress(session), passphrase)
    told = f"the previous workspace is kept in {kept}" if kept is not None else "there was no previous workspace"
    trusted = not untrusted_reason(workspace)
    told += "" if trusted else f"\nits remote models, keys and commands are disabled until you trust it. {HOW}"
    session.emit(
        data | {"done": True, "kept": str(kept) if kept else None, "trusted": trusted},
        lambda: f"restored to {workspace.root}; {told}",
    )


def _preview_text(data: RestoreRecord) -> str:
    gone, missing = data["taken_away"], data["missing_models"]
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(data["made_at"]))
    lines = [
        f"made {made} by llmops {data['version']} of {data['from']}",
        f"adds {counted(data['new'], 'file')} and replaces {data['replaced']}",
    ]
    lines += [f"would be deleted: {', '.join(gone[:10])}" + (" …" if len(gone) > 10 else "")] if gone else []
    lines += [f"model {m['name']} is neither in the backup nor at {m['path']}" for m in missing]
    return "\n".join(
        [*lines, f"nothing was changed; --yes restores it to {data['to']} and keeps the old workspace next to it"]
    )


def check(
    context: typer.Context,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept the files as they are and record their checksums.")
    ] = False,
) -> None:
    """Verify every file, row, hash and reference of the workspace. Exit 1 if anything is wrong."""
    from llmops_tui.maintenance.check import check as inspect

    session = session_of(context)
    report = inspect(session.workspace, accept=accept, progress=_progress(session))

    def human() -> str:
        lines = [f"{f.level}: {f.place}: {sentences(f.text, f.remedy)}" for f in report.findings]
        word = f"{len(report.errors)} wrong" if report.errors else "clean"
        return "\n".join([*lines, f"{word}: {report.tally}"])

    session.emit(report.as_dict(), human)
    if report.errors and not accept:
        raise typer.Exit(int(ExitCode.FAILED))


def gc(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only a list with reasons is shown.")] = False,
    days: Annotated[float, typer.Option(help="Days to keep logs, job folders and cached answers.", min=0)] = 30.0,
    trust_clock: Annotated[
        bool,
        typer.Option(
            "--trust-clock", help="Delete by age even after a long gap in the records, which may mean a wrong clock."
        ),
    ] = False,
    clock_is_right: Annotated[bool, typer.Option("--clock-is-right", hidden=True)] = False,
) -> None:
    """Delete files that nothing refers to any more."""
    from llmops_tui.maintenance.gc import collect, plan
    from llmops_tui.maintenance.retention import apply_retention, plan_retention

    session = session_of(context)
    trusted = trust_clock or clock_is_right
    removals = (collect if yes else plan)(session.workspace, session.settings, days, clock_is_right=trusted)
    aged = (
        apply_retention(session.workspace, session.settings, clock_is_right=trusted)
        if yes
        else plan_retention(session.workspace, session.settings)
    )
    size = sum(r.size for r in removals) + sum(one.size for one in aged if not one.stays)

    def human() -> str:
        lines = [[r.what, round(r.size / 1e6, 2), r.why] for r in removals]
        lines += [
            [one.what, round(one.size / 1e6, 2), one.rule.told + (f"; stays: {one.stays}" if one.stays else "")]
            for one in aged
        ]
        table = session.rows(["what", "MB", "why"], lines)
        end = f"{size / 1e6:,.1f} MB {'freed' if yes else 'would be freed; --yes deletes them'}"
        return f"{table}\n{end}" if lines else "nothing to delete"

    data = {
        "done": yes,
        "size_bytes": size,
        "removals": [r.as_dict() for r in removals],
        "retention": [one.as_dict() for one in aged],
    }
    session.emit(data, human)


def lineage(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="A dataset, prompt, model, run or trace; or a hash prefix.")],  # noqa: A002
) -> None:
    """Show the lineage of an object: its inputs and what was derived from it."""
    from llmops_tui.maintenance.lineage import draw, trace_lineage

    session = session_of(context)
    found = trace_lineage(session.catalog, session.event_log, id)
    session.emit(found.as_dict(), lambda: "\n".join(branches + text for branches, _, text in draw(found)))


def _progress(session: Session) -> Callable[[float, str], None] | None:
    """A line on the terminal that is written over, where somebody watches."""
    show = session.progress("working")
    return None if show is None else lambda share, _what: show(share)
