"""Copies of traces' texts outside the catalog: caches, logs, quarantined files, datasets, backups."""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from llmops_tui.counts import agree, counted
from llmops_tui.evaluation.runner.results import answer_texts
from llmops_tui.inference.asking.cache import FILE as ANSWERS
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.series import made_at, series_of_settings
from llmops_tui.maintenance.text_search import TextSearch, has_words
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import checksummed_files
from llmops_tui.workspace.checksums import LARGE
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    import duckdb

# Texts of so many traces are in memory at once.
_BATCH = 5000
_LOG = re.compile(r"\.log(\.\d+|\.head)?$")
# What could not be replayed or ingested, and what a database that was lost left behind.
_SET_ASIDE = re.compile(r"(^|/)(refused-[^/]*|[^/]*\.(corrupt|lost)-[^/]*)$")
_DAY = 86_400


@dataclass(frozen=True)
class ExternalCopies:
    """What else has the texts of some traces.

    Attributes:
        files: logs, and files that were quarantined: nothing else needs them, so they can go.
        staying: what stays, and what to do where it is not to: one line each.
    """

    files: tuple[Path, ...]
    staying: tuple[str, ...]


def quarantined_files(workspace: Workspace) -> list[str]:
    """What could not be replayed or ingested, and what a lost database left behind: paths below the workspace."""
    return [name for name in _searched(workspace) if _SET_ASIDE.search(name)]


def inspect(workspace: Workspace, ids: Sequence[str], words: str = "", *, everything: bool = False) -> ExternalCopies:
    """Search the workspace for the texts of traces; changes nothing.

    ``words`` are what the traces were chosen by, which are looked for in what was quarantined, too: that is in no list of
    traces. With ``everything`` all traces are meant, and so is all that was quarantined.
    """
    files: set[Path] = set()
    staying: dict[str, None] = {}
    busy = _at_work(workspace)
    for search, _ in texts_of(workspace, ids):
        for name in _searched(workspace):
            path = workspace.root / name
            if path in files or not search.finds_in(path):
                continue
            folder = _job_of(name)
            if not _SET_ASIDE.search(name) and not _LOG.search(name) and not name.startswith("logs/"):
                staying[f"{name}{_owner(workspace, folder)}"] = None
            elif folder in busy:
                staying[f"{name}: {folder} is running; repeat this when it has ended"] = None
            else:
                files.add(path)
        staying |= dict.fromkeys(_in_the_event_log(workspace, search))
    said = TextSearch([words])
    for name in _searched(workspace):
        path = workspace.root / name
        if _SET_ASIDE.search(name) and (everything or said.finds_in(path) or has_words(path, words)):
            files.add(path)
    made = itertools.chain.from_iterable(
        _made_of(workspace, ids[at : at + _BATCH]) for at in range(0, len(ids), _BATCH)
    )
    staying |= dict.fromkeys([*made, *_copies(workspace, ids)])
    return ExternalCopies(tuple(sorted(files)), tuple(staying))


def forget_answers(workspace: Workspace, ids: Sequence[str]) -> int:
    """Drop the kept answers that have texts of traces, or are the same as theirs; returns how many. They would be asked again."""
    if not (workspace.root / ANSWERS).exists():
        return 0
    cache = AnswerCache(workspace)
    try:
        gone = 0
        for search, outputs in texts_of(workspace, ids):
            gone += cache.forget(lambda reply, s=search, o=outputs: s.finds(reply) or not o.isdisjoint(_answers(reply)))  # type: ignore[misc]
        return gone
    finally:
        cache.close()


def forget_answers_of(workspace: Workspace, results: Path, others: Iterable[Path]) -> int:
    """Drop the kept answers of a run of an evaluation that no other run has, by the files of their results; returns how many.

    What judges said of answers, and answers without a text, are no run's by any record, and stay.
    """
    if not (workspace.root / ANSWERS).exists():
        return 0
    going = answer_texts(results)
    for other in others:
        if not going:
            return 0
        going -= answer_texts(other)
    cache = AnswerCache(workspace)
    try:
        return cache.forget(lambda reply: not going.isdisjoint(_answers(reply))) if going else 0
    finally:
        cache.close()


def other_traces(workspace: Workspace, ids: Sequence[str]) -> tuple[str, ...]:
    """What other traces have texts of these, such as later turns of a conversation, which repeat all before them: a line."""
    chosen = set(ids)
    found: set[str] = set()

    def others(after: str) -> list[Any]:
        sql = "SELECT id, concat_ws(chr(10), output, thinking, messages::VARCHAR) FROM requests WHERE id > ? ORDER BY id LIMIT ?"
        return Catalog(workspace).read(lambda db: db.execute(sql, [after, _BATCH]).fetchall())

    for search, _ in texts_of(workspace, ids):
        after = ""
        while rows := others(after):
            after = rows[-1][0]
            raw = {str(one): str(text).encode("utf-8", "replace") for one, text in rows if one not in chosen}
            if search.finds(b"\n".join(raw.values())):
                found |= {one for one, text in raw.items() if search.finds(text)}
    first = min(found, default="")
    such = agree(len(found), "", "such as ")
    return (f"{counted(len(found), 'other trace')}, {such}{first} (llmops traces remove {first})",) if found else ()


def texts_of(workspace: Workspace, ids: Sequence[str]) -> Iterator[tuple[TextSearch, set[str]]]:
    """A search for the texts of traces, and their answers whole; of a few thousand traces at a time."""
    for at in range(0, len(ids), _BATCH):
        chosen = list(ids[at : at + _BATCH])

        def work(db: duckdb.DuckDBPyConnection, chosen: list[str] = chosen) -> tuple[list[Any], list[Any], list[Any]]:
            where = "list_contains(?::VARCHAR[], {})"
            notes = [f"from {one}" for one in chosen]
            return (
                db.execute(
                    f"SELECT messages, output, thinking FROM requests WHERE {where.format('id')}", [chosen]
                ).fetchall(),
                db.execute(
                    f"SELECT correction, comment FROM feedback WHERE {where.format('request')}", [chosen]
                ).fetchall(),
                db.execute(
                    f"SELECT template, system, settings FROM prompt_versions WHERE NOT {where.format('coalesce(note, ?)')}",
                    [notes, ""],
                ).fetchall(),
            )

        asked, said, templates = Catalog(workspace).read(work)
        outputs = {str(output) for _, output, _ in asked if output}
        texts = [*outputs, *(str(thinking) for *_, thinking in asked if thinking)]
        texts += [str(text) for row in said for text in row if text]
        for messages, *_ in asked:
            for message in orjson.loads(messages or "null") or []:
                texts += list(_texts_in(message.get("content"))) if message.get("role") != "system" else []
        yield TextSearch(texts, [str(text) for row in templates for text in row if text]), outputs


def _texts_in(content: Any) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]


def _answers(reply: bytes) -> set[str]:
    choices = orjson.loads(reply).get("choices") or []
    return {str((c.get("message") or {}).get("content") or c.get("text") or "") for c in choices}


def _searched(workspace: Workspace) -> list[str]:
    """Every file that may have texts as they are: not the databases, which are asked, and not weights and rows."""
    apart = ("models/", "datasets/", "backups/")
    found = []
    for name in checksummed_files(workspace.root):
        if not name.startswith(apart) and not name.endswith((".db", ".duckdb")):
            # A log that is turned just now has another name.
            with contextlib.suppress(FileNotFoundError):
                size = (workspace.root / name).stat().st_size
                if size <= LARGE or _LOG.search(name) or _SET_ASIDE.search(name):
                    found.append(name)
    return found


def _job_of(name: str) -> str:
    parts = name.split("/")
    return parts[1] if parts[0] == "runs" and len(parts) > 2 else ""


def _at_work(workspace: Workspace) -> set[str]:
    event_log = EventLog(workspace)
    try:
        return {job.resumes or job.id for job in JobStore(event_log).all(100_000) if not job.state.final}
    finally:
        event_log.close()


def _owner(workspace: Workspace, folder: str) -> str:
    """By which command the record goes that a file belongs to."""
    if not folder:
        return ""
    sql = (
        "SELECT 'llmops eval remove ' || name FROM evaluation_runs WHERE job = ? "
        "UNION ALL SELECT 'llmops train remove ' || name FROM training_runs WHERE job = ?"
    )
    rows = Catalog(workspace).read(lambda db: db.execute(sql, [folder, folder]).fetchall())
    return f" ({', '.join(row[0] for row in rows) or f'llmops job remove {folder}'})"


def _in_the_event_log(workspace: Workspace, search: TextSearch) -> Iterator[str]:
    """What else the event log has, which no deleting of traces takes away."""
    event_log = EventLog(workspace)
    try:
        connection = event_log.connection()
        for key, body in connection.execute("SELECT key, body FROM drafts").fetchall():
            if search.finds(str(body).encode()):
                kind, _, name = key.partition(":")
                yield (
                    f"the chat {name} (llmops chat remove {shlex.quote(name)}, or a turn of it)"
                    if kind == "chat"
                    else f"a draft or open text in the app ({key}): change it there"
                )
        for job, *texts in connection.execute("SELECT id, spec, cause, message, result FROM jobs").fetchall():
            if search.finds("\n".join(str(text) for text in texts if text).encode()):
                yield f"the record of {job} (llmops job remove {job})"
    finally:
        event_log.close()


def _made_of(workspace: Workspace, ids: Sequence[str]) -> list[str]:
    """Datasets and prompts that have texts of traces in their own right."""

    def work(db: duckdb.DuckDBPyConnection) -> list[str]:
        datasets = db.execute(
            "SELECT DISTINCT dataset || '@' || number FROM dataset_versions WHERE sha256 IN "
            "(SELECT output FROM lineage WHERE list_contains(?::VARCHAR[], input)) ORDER BY 1",
            [list(ids)],
        ).fetchall()
        prompts = db.execute(
            "SELECT DISTINCT prompt FROM prompt_versions WHERE list_contains(?::VARCHAR[], note) ORDER BY 1",
            [[f"from {one}" for one in ids]],
        ).fetchall()
        return [f"dataset {name} (llmops data remove {name})" for (name,) in datasets] + [
            f"prompt {name} (llmops prompt remove {name})" for (name,) in prompts
        ]

    return Catalog(workspace).read(work)


def _copies(workspace: Workspace, ids: Sequence[str]) -> Iterator[str]:
    """Copies of the whole workspace that were made while the traces were there."""
    if not ids:
        return
    sql = "SELECT min(started_at) FROM requests WHERE list_contains(?::VARCHAR[], id)"
    first = float(Catalog(workspace).read(lambda db: db.execute(sql, [list(ids)]).fetchall())[0][0] or 0)
    for folder, files, trouble in series_of_settings(workspace):
        # A day of margin: names have the time of a clock that may have been set.
        having = [path for path in files if made_at(path) >= first - _DAY]
        if trouble:
            yield f"backups in {folder}, which cannot be read: {trouble}"
        elif having:
            names = ", ".join(path.name for path in having[:3]) + (
                f" and {len(having) - 3} more" if len(having) > 3 else ""
            )
            these, them = agree(len(having), "this one", "these"), agree(len(having), "it", "them")
            yield (
                f"{counted(len(having), 'backup')} in {folder}: {names}. Make a backup without the texts "
                f"(llmops backup {folder}), then delete {these}, or wait until newer backups replace {them}"
            )
    for path in sorted(workspace.root.parent.glob(f"{workspace.root.name}.before-*")):
        if path.is_dir() and path.stat().st_ctime >= first - _DAY:
            yield f"{path}, the workspace from before a restore: delete it when you no longer need it"
