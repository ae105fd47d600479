"""``llmops backup``, ``restore``, ``check``, ``gc`` and ``lineage``: losing nothing, and knowing where things came from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.backup_verify import verify_backups
from llmops_tui.cli.output import Session, session_of
from llmops_tui.errors import ExitCode, LlmopsError, sentences

if TYPE_CHECKING:
    from llmops_tui.keeping.records import RestoreRecord

_Passphrase = Annotated[
    Path | None, typer.Option(help="A file of yours whose first line encrypts it, or opens it again.")
]


def backup(
    context: typer.Context,
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|FOLDER",
            help="A file, whose older one is replaced when the new one is whole; or a folder for a series.",
        ),
    ] = None,
    models: Annotated[bool, typer.Option(help="With the models of the workspace, or without.")] = True,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Also where files are not as they were sealed; to a new file.")
    ] = False,
    passphrase_file: _Passphrase = None,
    keep_last: Annotated[int, typer.Option("--keep", min=0, help="In a folder: how many stay; 0: all.")] = 0,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="In a folder: what an earlier one has is not copied again.")
    ] = False,
    full_every: Annotated[
        int | None,
        typer.Option(min=0, help="With --incremental: each how many-th needs no other; 10, and 0: only the first."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Make none: read back all of a file or a folder, the settings' own without one."),
    ] = False,
    due: Annotated[
        bool, typer.Option("--due", help="As the settings say, and only when one is due; for cron.")
    ] = False,
) -> None:
    """Copy the workspace into one file, while others write, and read it back."""
    from llmops_tui.keeping.backup import backup as make
    from llmops_tui.keeping.series import FULL_EVERY, Made, backup_as_set, backup_into, is_due, read_passphrase

    session = session_of(context)
    passphrase = read_passphrase(passphrase_file) if passphrase_file is not None else ""
    folder = place is not None and place.expanduser().is_dir()
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
        unfit = {"a place": place, "--passphrase-file": passphrase, "--damaged": damaged, **unfit}
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
        raise LlmopsError("usage", "where to?", "llmops backup FILE, or a FOLDER", exit_code=ExitCode.USAGE)
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
        lines = [f"{file}: {len(manifest.files):,} files, {manifest.size / 1e6:,.1f} MB, read back and whole"]
        earlier = sorted(set(manifest.elsewhere.values()))
        lines += (
            [f"{len(manifest.elsewhere):,} of them lie in {', '.join(earlier)}, not read again now"] if earlier else []
        )
        lines += [f"taken away: {path.name}" for path in made.removed]
        lines += [f"not in it: model {m['name']}, which lies in {m['path']}" for m in manifest.outside]
        lines += [f"not in it: {', '.join(manifest.left_out)}"] if manifest.left_out else []
        lines += [f"note: {note}" for note in manifest.notes]
        return "\n".join(lines)

    session.emit(data, human)


def _refuse(unfit: Mapping[str, object]) -> None:
    """Refuse what was given and does not go with the rest, by name."""
    for name, given in unfit.items():
        if given:
            raise LlmopsError(
                "usage", f"{name} does not go with that", "See: llmops backup --help", exit_code=ExitCode.USAGE
            )


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that llmops backup wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would happen is shown.")] = False,
    passphrase_file: _Passphrase = None,
) -> None:
    """Put a backup in the place of the workspace; the old one is kept beside it."""
    from llmops_tui.keeping.restore import preview
    from llmops_tui.keeping.restore import restore as put_back
    from llmops_tui.keeping.series import read_passphrase
    from llmops_tui.workspace.layout import find_workspace
    from llmops_tui.workspace.trust import HOW, distrust

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
    told = f"the old one is kept in {kept}" if kept is not None else "there was none before"
    trusted = not distrust(workspace)
    told += "" if trusted else f"\nits remote models, keys and commands are off until you say so. {HOW}"
    session.emit(
        data | {"done": True, "kept": str(kept) if kept else None, "trusted": trusted},
        lambda: f"restored to {workspace.root}; {told}",
    )


def _preview_text(data: RestoreRecord) -> str:
    gone, missing = data["taken_away"], data["missing_models"]
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(data["made_at"]))
    lines = [
        f"made {made} by llmops {data['version']} of {data['from']}",
        f"brings {data['new']} files that are not there, and replaces {data['replaced']}",
    ]
    lines += [f"would be gone: {', '.join(gone[:10])}" + (" …" if len(gone) > 10 else "")] if gone else []
    lines += [f"model {m['name']} is not in it and not at {m['path']}" for m in missing]
    return "\n".join(
        [*lines, f"nothing was changed; with --yes it goes to {data['to']}, and the old one is kept beside it"]
    )


def check(
    context: typer.Context,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take everything as it is now for right, from now on.")
    ] = False,
) -> None:
    """Hold every file, row, hash and reference against what was kept; exit 1 where anything is wrong."""
    from llmops_tui.keeping.check import check as look

    session = session_of(context)
    report = look(session.workspace, accept=accept, progress=_progress(session))

    def human() -> str:
        lines = [f"{f.level}: {f.place}: {sentences(f.text, f.remedy)}" for f in report.findings]
        looked = ", ".join(f"{number:,} {what}" for what, number in report.looked_at.items())
        word = f"{len(report.errors)} wrong" if report.errors else "clean"
        return "\n".join([*lines, f"{word}: {looked}"])

    session.emit(report.as_dict(), human)
    if report.errors and not accept:
        raise typer.Exit(int(ExitCode.FAILED))


def gc(
    context: typer.Context,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without it only what would go, and why, is shown.")
    ] = False,
    days: Annotated[float, typer.Option(help="How long logs, folders of jobs and kept answers stay.", min=0)] = 30.0,
    clock_is_right: Annotated[
        bool,
        typer.Option("--clock-is-right", help="Also where nothing was recorded here for so long that it may be wrong."),
    ] = False,
) -> None:
    """Clear away what nothing refers to any more."""
    from llmops_tui.keeping.gc import collect, plan

    session = session_of(context)
    removals = (collect if yes else plan)(session.workspace, session.settings, days, clock_is_right=clock_is_right)
    size = sum(r.size for r in removals)

    def human() -> str:
        table = session.rows(["what", "MB", "why"], [[r.what, round(r.size / 1e6, 2), r.why] for r in removals])
        end = f"{size / 1e6:,.1f} MB {'freed' if yes else 'would be freed; --yes does it'}"
        return f"{table}\n{end}" if removals else "nothing to clear away"

    session.emit({"done": yes, "size_bytes": size, "removals": [r.as_dict() for r in removals]}, human)


def lineage(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="A dataset, prompt, model, run or trace; or the beginning of a hash.")],  # noqa: A002
) -> None:
    """Show where a thing came from and what was made of it."""
    from llmops_tui.keeping.lineage import draw, trace_lineage

    session = session_of(context)
    found = trace_lineage(session.catalogue, session.journal, id)
    session.emit(found.as_dict(), lambda: "\n".join(branches + text for branches, _, text in draw(found)))


def _progress(session: Session) -> Callable[[float, str], None] | None:
    """A line on the terminal that is written over, where somebody watches."""
    show = session.progress("working")
    return None if show is None else lambda share, _what: show(share)
