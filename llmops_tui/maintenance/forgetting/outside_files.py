"""A person in files outside of the workspace: the user's own, of which two can be changed, and those that work was done with."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.erasure_ledger import ledger_folder
from llmops_tui.maintenance.forgetting.found import Findings
from llmops_tui.maintenance.forgetting.search import WEIGHTS, names_person
from llmops_tui.privacy.person import Person
from llmops_tui.snippets import Snippets, load_snippets, parse_snippets, snippets_path
from llmops_tui.user_entries import EntryChange, forget_changes, noted_changes, noted_path
from llmops_tui.user_files import settings_folder, state_folder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import reason, write_atomic
from llmops_tui.workspace.layout import Workspace

_SNIPPETS, _NOTED = "snippets of yours", "what snippets, macros and keys of yours were before"
_LARGEST = 256 << 20
_ALL = 100_000
# What a text has that is no path.
_NO_PATH = {errno.ENAMETOOLONG, errno.ELOOP}


def find_in_own_files(person: Person, findings: Findings) -> list[str]:
    """Note what of the user's own files is to be changed; what stays is returned, each with what to do."""
    if fresh := _snippets_without(person):
        findings.take(_SNIPPETS, "", [fresh[0]], "redacted")
    for path in _kept_beside():
        if names_person(path, person):
            findings.take(_SNIPPETS, path.name, [_text(path)], "redacted")
    for change in noted_changes():
        findings.take(_NOTED, "", [_said(change)], "removed")
    kept, _ = load_snippets()
    staying = [] if fresh else [*_named_snippets(kept, person)]
    staying += [
        f"the macro {name}, which types the person: llmops snippet remove {name} --macro, and forget again: undo knows it"
        for name, keys in kept.macros.items()
        if person.named_in(f"{name}\n{_typed(keys)}")
    ]
    apart = {noted_path(), *_kept_beside(), *((snippets_path(),) if fresh or staying else ())}
    return [*staying, *_other_own_files(person, apart)]


def forget_in_own_files(person: Person) -> None:
    """Mark the person in snippets, and drop what undo keeps of entries that name them."""
    if fresh := _snippets_without(person):
        write_atomic(snippets_path(), fresh[1])
    for path in _kept_beside():
        if names_person(path, person):
            write_atomic(path, person.redact(_text(path))[0])
    forget_changes(lambda change: person.named_in(_said(change)), anyway=names_person(noted_path(), person))


def left_in_own_files(person: Person) -> list[str]:
    """Those of the files that can be changed that still name the person."""
    ours = (snippets_path(), *_kept_beside(), noted_path())
    return [str(path) for path in ours if names_person(path, person)]


def files_worked_with(workspace: Workspace, person: Person) -> Iterator[str]:
    """Files that jobs and imports read or wrote outside of the workspace, and that name the person."""
    seen: set[Path] = set()
    for given, what in (*_imported(workspace), *_of_jobs(workspace)):
        path = Path(given)
        if path in seen or not path.is_absolute() or workspace.root in path.parents:
            continue
        seen.add(path)
        yield from _staying(path, person, what)


def _imported(workspace: Workspace) -> Iterator[tuple[str, str]]:
    for log in DatasetStore(Catalog(workspace)).logs().values():
        for version in log:
            if version.recipe.operation == "import":
                for given, _ in version.recipe.inputs:
                    yield given, f"from which {version.ref} was imported"


def _of_jobs(workspace: Workspace) -> Iterator[tuple[str, str]]:
    event_log = EventLog(workspace)
    try:
        jobs = JobStore(event_log).all(_ALL)
    finally:
        event_log.close()
    for job in jobs:
        for text in _texts_of([job.spec["arguments"], job.result]):
            yield text, f"which the job {job.id} ({job.kind}) read or wrote"


def _texts_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts_of(one)


def _kept_beside() -> list[Path]:
    """Former files of snippets, with what could not be used of them; nothing reads them."""
    return sorted(path for path in snippets_path().parent.glob(f"{snippets_path().name}.*") if path.is_file())


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _snippets_without(person: Person) -> tuple[str, str] | None:
    """The file of snippets as it is and without the person, where a mark can stand in it and all else is the same."""
    try:
        text = snippets_path().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    fresh, counts = person.redact(text)
    (before, trouble), (after, later) = parse_snippets(text), parse_snippets(fresh)
    same = (before.texts.keys(), before.macros, trouble) == (after.texts.keys(), after.macros, later)
    return (text, fresh) if counts and same else None


def _named_snippets(kept: Snippets, person: Person) -> Iterator[str]:
    for name, text in kept.texts.items():
        if person.named_in(f"{name}\n{text}"):
            yield f"the snippet {name}: llmops snippet remove {name}, and forget again: undo knows it"


def _typed(keys: tuple[str, ...]) -> str:
    """What the keys of a macro write; other keys end a word."""
    return "".join(key if len(key) == 1 else " " for key in keys)


def _said(change: EntryChange) -> str:
    values = (
        value if isinstance(value, str) else _typed(tuple(value or ())) for value in (change.before, change.after)
    )
    return "\n".join((change.name, *values))


def _other_own_files(person: Person, apart: set[Path]) -> Iterator[str]:
    """All else in the folders of settings and of what is known of this machine."""
    for folder in (settings_folder(), state_folder()):
        for below, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if Path(below) / name != ledger_folder())
            for path in (Path(below) / name for name in sorted(names)):
                if path not in apart:
                    yield from _staying(path, person, "a file of your own settings")


def _staying(path: Path, person: Person, what: str) -> Iterator[str]:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            return
        with path.open("rb"):
            size = facts.st_size
    except (ValueError, FileNotFoundError, NotADirectoryError):
        return  # it is no path, or of what is no more
    except OSError as error:
        if error.errno not in _NO_PATH:
            yield f"{path}, {what}, cannot be searched ({reason(error)}): search it yourself"
        return
    if path.suffix in WEIGHTS:
        # They hold no texts.
        if person.named_in(str(path)):
            yield f"{path}, {what}: give it another name"
    elif size > _LARGEST:
        yield f"{path}, {what}, is too large to be searched ({size / 1e6:,.0f} MB): search it yourself"
    elif person.named_in(str(path)) or names_person(path, person):
        yield f"{path}, {what}: delete it, or take the person out of it"
