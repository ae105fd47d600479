"""``llmops audit``: who changed what others rely on, whether that is still as it was written, and what served when."""

from __future__ import annotations

import datetime as dt
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.moments import moment_words

if TYPE_CHECKING:
    from llmops_tui.workspace.audit import AnchorRecord, AuditEntry

app = typer.Typer(
    help="The audit: keys made and revoked, servers begun and ended; verified, exported, asked for a moment."
)
Since = Annotated[str, typer.Option("--since", metavar="DAY", help="The first day, such as 2027-03-01.")]
Until = Annotated[str, typer.Option("--until", metavar="DAY", help="The last day.")]
_HOUR = re.compile(r"\d{1,2}:\d{2}")


@app.command("list")
def list_entries(
    context: typer.Context,
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(help="Maximum number of entries.", min=1)] = LIMIT,
) -> None:
    """List the entries, newest first; they name things by ids and hashes."""
    session = session_of(context)
    found = _entries(session, since, until)[::-1]
    shown = found[:limit]
    rows = [
        [one.seq, _moment(one.at), one.kind, one.subject[:20], _facts(one), one.by]
        for one in shown
    ]  # fmt: skip
    told = {"entries": [_record(one) for one in shown], "total": len(found), "truncated": len(found) > len(shown)}
    session.emit(told, lambda: session.rows(["no", "when", "what", "of", "facts", "by"], rows, len(found)))


@app.command()
def verify(
    context: typer.Context,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="BACKUP", help="A backup that keeps an anchor of it; repeatable."),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="The file with the passphrase of encrypted backups.")
    ] = None,
) -> None:
    """Check that no entry was changed or taken out. Exit 1 if one was."""
    from llmops_tui.regular_files import read_regular_text
    from llmops_tui.workspace.audit import anchor, problems

    session = session_of(context)
    _look_for_missing(session)
    connection = session.event_log.connection()
    passphrase = read_regular_text(passphrase_file).strip() if passphrase_file is not None else ""
    anchors = {str(path): _anchor_of(path, passphrase) for path in against or ()}
    wrong = problems(connection, anchors)
    newest = anchor(connection)
    data = {"entries": newest["seq"] if newest else 0, "anchors": len(anchors), "problems": wrong, "newest": newest}

    def human() -> str:
        if wrong:
            return "\n".join(wrong)
        told = "" if anchors else "; --against BACKUP also finds a rewritten end"
        return f"{counted(newest['seq'] if newest else 0, 'entry', 'entries')}, all as they were written{told}"

    session.emit(data, human)
    if wrong:
        raise typer.Exit(1)


@app.command()
def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="A new file of JSON Lines.")],
    since: Since = "",
    until: Until = "",
) -> None:
    """Write entries with their hashes into a file, one a line; whoever has it can check the chain."""
    import json

    from llmops_tui.user_files import with_home
    from llmops_tui.workspace.files import write_atomic

    session = session_of(context)
    path = with_home(to)
    if path.exists():
        raise InputRefusedError("file_exists", f"{path} exists", "Give another file.")
    found = _entries(session, since, until)
    write_atomic(path, "".join(json.dumps(_record(one), sort_keys=True) + "\n" for one in found))
    session.emit(
        {"file": str(path), "entries": len(found)}, lambda: f"{counted(len(found), 'entry', 'entries')}: {path}"
    )


@app.command()
def at(
    context: typer.Context,
    moment: Annotated[
        str,
        typer.Argument(
            metavar="TIME", help="Such as '2027-03-03 14:05', 2027-03-03T14:05:00Z, 14:05 of today, or now."
        ),
    ],
) -> None:
    """Show what answered at a moment: prompts by label, aliases, experiments, servers that ran, and what answers came from.

    Exit 1 if the audit, which says so, is not as it was written.
    """
    from llmops_tui.deployment.moments import in_force_at
    from llmops_tui.traces.served import served_at

    session = session_of(context)
    when = _parsed(moment)
    found = served_at(session.catalog, session.event_log, when)
    rows = [
        [
            one.model,
            (one.sha256 or "")[:12],
            one.source,
            _moment(one.since),
            _moment(one.until) if one.until is not None else one.end,
            one.requests,
        ]
        for one in found
    ]
    force = in_force_at(session.catalog, session.event_log, when)
    in_force = [
        [
            one.name,
            one.what,
            (one.sha256 or "")[:12],
            one.model or "",
            (one.model_sha256 or "")[:12],
            _moment(one.since),
            one.audit,
        ]
        for one in force
    ]
    wrong = _tell_damage(session)
    data = {
        "at": when,
        "in_force": [one.as_record() for one in force],
        "served": [one.as_record() for one in found],
        "problems": wrong,
    }

    def human() -> str:
        parts = []
        if in_force:
            headers = ["in force", "what", "sha256", "answered by", "model sha256", "since", "audit"]
            parts.append(session.rows(headers, in_force))
        if rows:
            parts.append(session.rows(["model", "sha256", "how it is known", "from", "to", "answers"], rows))
        return "\n\n".join(parts) if parts else f"nothing answered at {_moment(when)}"

    session.emit(data, human)
    if wrong:
        raise typer.Exit(1)


def _entries(session: Session, since: str, until: str) -> list[AuditEntry]:
    from llmops_tui.workspace.audit import entries

    begin = _day(since) if since else 0.0
    end = _day(until) + 86_400 if until else float("inf")
    _look_for_missing(session)
    _tell_damage(session)
    return list(entries(session.event_log.connection(), begin, end))


def _tell_damage(session: Session) -> list[str]:
    """Say what is wrong with the audit, before anybody relies on what is read from it."""
    from llmops_tui.workspace.audit import problems

    wrong = problems(session.event_log.connection(), {})
    if wrong:
        told = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        session.say(
            f"the audit is not as it was written, and what it says may be wrong: {told}. See llmops audit verify."
        )
    return wrong


def _look_for_missing(session: Session) -> None:
    """Add what a killed process left out; the audit is there to be read where that cannot be done, too."""
    from llmops_tui.deployment.missing_entries import add_missing_entries

    try:
        add_missing_entries(session.catalog, session.event_log)
    except LlmopsError as error:
        session.say(f"whether moves of labels or aliases are missing here could not be told: {error.message}")


def _anchor_of(path: Path, passphrase: str) -> AnchorRecord:
    from llmops_tui.maintenance.archive import read_manifest

    found = read_manifest(path, passphrase).audit
    if found is None:
        raise LlmopsError(
            "no_anchor", f"{path} keeps no anchor: there was no audit when it was made", "Use a newer one."
        )
    return found


def _record(entry: AuditEntry) -> dict[str, object]:
    return {**vars(entry), "facts": dict(entry.facts)}


def _facts(entry: AuditEntry) -> str:
    return " ".join(f"{name}={str(value)[:16]}" for name, value in entry.facts.items())


def _day(said: str) -> float:
    try:
        return time.mktime(time.strptime(said.strip(), "%Y-%m-%d"))
    except (ValueError, OverflowError) as error:
        raise InputRefusedError("bad_moment", f"{said[:40]!r} is no day", "Such as 2027-03-01.") from error


def _parsed(said: str) -> float:
    """A moment that was, in seconds since 1970; in local time where no zone is said.

    Raises:
        InputRefusedError: ``bad_moment``: it is none. ``moment_to_come``.
    """
    text, now = said.strip(), time.time()
    if text == "now":
        return now
    if _HOUR.fullmatch(text):
        text = f"{time.strftime('%Y-%m-%d', time.localtime(now))} {text:0>5}"
    try:
        moment = dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        hint = "Such as '2027-03-03 14:05', 2027-03-03T14:05:00Z, 14:05 of today, or now."
        raise InputRefusedError("bad_moment", f"{said[:40]!r} is no moment", hint) from error
    if moment > now:
        told = f"{_moment(moment)} is to come: it is {_moment(now)} now"
        raise InputRefusedError("moment_to_come", told, "Ask for a moment that was, or now.")
    return moment


def _moment(at: float) -> str:
    return moment_words(at)
