"""``llmops privacy``: find and forget a person, receipts, and the report on personal data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.maintenance.erasure_records import ErasureRecord, How
    from llmops_tui.privacy.person import Person

app = typer.Typer(help="Find and forget a person; report on personal data.")
_WORD = "forget"
Who = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WHO...", help="Names, addresses, numbers, pseudonyms or ids of one person; id:4711 states the kind."
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from", help="Read them from a file, a line each, or - for standard input: other users see arguments."
    ),
]
KeyFile = Annotated[Path | None, typer.Option("--key", help="A key for pseudonyms: finds those of the person, too.")]


@app.command()
def find(
    context: typer.Context,
    who: Who = None,
    source: From = None,
    key: KeyFile = None,
    near: Annotated[
        bool, typer.Option("--near", help="Also show what may mean the person: surnames alone, names without accents.")
    ] = False,
    redact: Annotated[
        bool, typer.Option("--redact", help="Plan for marks in rows and traces instead of removing them.")
    ] = False,
) -> None:
    """Find a person everywhere and show what forgetting them would do; changes nothing."""
    from llmops_tui.maintenance.forgetting.plan import find_person, with_perhaps
    from llmops_tui.maintenance.forgetting.told import plan_lines

    session = session_of(context)
    tell = _progress(session)
    planned = find_person(
        session.workspace, _person(session, who, source, key), "redact" if redact else "remove", tell=tell
    )
    plan = (with_perhaps(session.workspace, planned, tell=tell) if near else planned).as_dict()
    session.emit(plan, lambda: "\n".join(map(safe_line, plan_lines(plan))))


@app.command()
def forget(
    context: typer.Context,
    who: Who = None,
    source: From = None,
    key: KeyFile = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Put marks such as [NAME] into rows and traces instead of removing them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation; for scripts.")] = False,
    backups: Annotated[
        bool, typer.Option("--backups", help="Also write the backups of the settings' folder anew, without the person.")
    ] = False,
) -> None:
    """Show what would go, ask, and erase a person from the workspace. Exit 1 if something still names them."""
    from llmops_tui.maintenance.backup_rewriting import rewrite_backups
    from llmops_tui.maintenance.forgetting.erase import forget as erase
    from llmops_tui.maintenance.forgetting.plan import find_person
    from llmops_tui.maintenance.forgetting.told import erasure_lines, plan_lines

    session = session_of(context)
    person = _person(session, who, source, key)
    how: How = "redact" if redact else "remove"
    tell = _progress(session)
    if not yes:
        plan = find_person(session.workspace, person, how, tell=tell).as_dict()
        session.say("\n".join(map(safe_line, plan_lines(plan))))
        if not plan["found"] and not backups:
            session.emit({**plan, "erasure": None}, lambda: "nothing was changed")
            return
        if not sys.stdin.isatty() or source == Path("-"):
            session.emit({**plan, "erasure": None}, lambda: "nothing was changed; --yes forgets")
            return
        _ask()
    done = erase(session.workspace, person, how, tell=tell)
    rewritten = rewrite_backups(session.workspace, tell) if backups else []
    data = {"done": True, "erasure": done, "backups": [str(path) for path in rewritten]}

    def human() -> str:
        lines = erasure_lines(done) if done is not None else ["nothing in this workspace names this person"]
        return "\n".join(map(safe_line, [*lines, *(f"written anew: {path}" for path in rewritten)]))

    session.emit(data, human)
    if done is not None and done["receipt"] is not None and done["receipt"]["searched"]["left"]:
        raise typer.Exit(int(ExitCode.FAILED))


@app.command()
def resume(context: typer.Context) -> None:
    """Complete erasures that were interrupted."""
    from llmops_tui.maintenance.forgetting.erase import resume as carry_on

    session = session_of(context)
    _emit_erasures(session, carry_on(session.workspace, tell=_progress(session)), "no erasure was interrupted")


@app.command()
def again(context: typer.Context) -> None:
    """Forget everybody of the ledger again, as after importing older data; restore does it by itself."""
    from llmops_tui.maintenance.forgetting.erase import forget_again

    session = session_of(context)
    done = forget_again(session.workspace, tell=_progress(session))
    _emit_erasures(session, done, "nobody who was forgotten is named anywhere")


@app.command()
def receipts(
    context: typer.Context,
    who: Who = None,
    source: From = None,
) -> None:
    """Show the receipts of erasures; with WHO whether this person was forgotten."""
    from llmops_tui.maintenance.erasure_ledger import Ledger, fingerprint, ledger_key

    session = session_of(context)
    found = Ledger(session.workspace).all()
    if who or source:
        key = ledger_key()
        person = _person(session, who, source, None)
        meant = {fingerprint(one, key) for one in person.identifiers} if key is not None else set()
        found = [one for one in found if meant & set(one["fingerprints"])]
    _emit_erasures(session, found, "no erasure")


def _emit_erasures(session: Session, erasures: list[ErasureRecord], nothing: str) -> None:
    from llmops_tui.maintenance.forgetting.told import erasure_lines

    lines = [line for erasure in erasures for line in erasure_lines(erasure)]
    session.emit({"erasures": erasures}, lambda: "\n".join(map(safe_line, lines)) or nothing)


def _person(session: Session, who: list[str] | None, source: Path | None, key: Path | None) -> Person:
    from llmops_tui.privacy.person import Person

    given = list(who or [])
    if source is not None:
        text = sys.stdin.read() if source == Path("-") else with_home(source).read_text(encoding="utf-8")
        given += text.splitlines()
    person = Person.read(given)
    if key is None:
        return person
    from llmops_tui.datasets.privacy.replacement import Key
    from llmops_tui.maintenance.forgetting.pseudonyms import with_pseudonyms

    return with_pseudonyms(session.workspace, person, Key.load(with_home(key)))


def _ask() -> None:
    sys.stderr.write(f"Type {_WORD} to erase this; it cannot be undone: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != _WORD:
        raise LlmopsError("interrupted", "nothing was changed", exit_code=ExitCode.INTERRUPTED)


def _progress(session: Session) -> Callable[[float, str], None]:
    show = session.progress("working")
    return (lambda _share, _what: None) if show is None else (lambda share, _what: show(share))


@app.command()
def report(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="Write the Markdown into a new file.")] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Search all versions of datasets, not the newest of each.")
    ] = False,
) -> None:
    """Report which personal data is where, since when, used for what, and what becomes of it; as Markdown, or as JSON."""
    from llmops_tui.maintenance.privacy_report import as_markdown, make_report
    from llmops_tui.workspace.files import write_atomic

    session = session_of(context)
    made = make_report(session.workspace, session.settings, all_versions=all_versions, tell=_progress(session))
    text = as_markdown(made)
    if out is not None:
        if out.exists():
            raise LlmopsError("file_exists", f"{out} exists", "Give another file.", exit_code=ExitCode.FAILED)
        write_atomic(out, text)
    session.emit(
        {"report": made, "file": str(out) if out else None}, lambda: f"written to {out}" if out else text.rstrip()
    )
