"""Where the documents of an index come from: a version of a dataset, or a folder of files; and what differs there now."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from llmops_tui.counts import agree, counted
from llmops_tui.datasets.meaning.row_text import RowText
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.regular_files import kind_of_place
from llmops_tui.retrieval.documents import (
    ENDINGS,
    HTML,
    MARKDOWN,
    PDF,
    Document,
    Readers,
    UnreadableDocumentError,
    check_size,
)
from llmops_tui.retrieval.records import RefusedRecord, SourceRecord
from llmops_tui.user_files import with_home
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.layout import Workspace

_NAMED = 3
# The text of a file that was read before, by the hash of the file.
KnownText = Callable[[str], str | None]


@dataclass(frozen=True)
class FileFacts:
    """A file as it was when it was read."""

    sha256: str
    size: int
    mtime_ns: int


@dataclass
class Corpus:
    """The documents of a source, read one after the other; what cannot be taken is noted meanwhile.

    Attributes:
        count: how many documents there are to read, about.
        refused: those that could not be taken.
        other_files: how many files of the folder no reader is for, by ending.
    """

    count: int
    documents: Iterator[Document]
    refused: list[RefusedRecord] = field(default_factory=list)
    other_files: Counter[str] = field(default_factory=Counter)


def source_of(catalog: Catalog, given: str, of: str = "", id_column: str = "") -> SourceRecord:
    """What a user names as a source: a dataset by ``name``, ``name@3`` or ``name@tag``, or a folder by its path.

    Raises:
        InputRefusedError: it is neither, or both; or a folder was given columns.
        NotFoundError: there is no such version.
    """
    path = with_home(given)
    store = DatasetStore(catalog)
    named = given.partition("@")[0] in store.logs()
    as_path = os.sep in given or given.startswith(("~", "."))
    if named and not as_path:
        if path.is_dir():
            raise InputRefusedError(
                "two_sources", f"{given} is a dataset and a folder", f"For the folder: --from ./{given}"
            )
        return _of_version(store.get(given), of, id_column)
    if not path.is_dir():
        told = "is not a folder" if path.exists() else "is neither a dataset nor a folder"
        raise InputRefusedError("no_source", f"{given} {told}", "llmops data list shows the datasets.")
    if of or id_column:
        raise InputRefusedError("no_columns", f"{given} is a folder, which has no columns", "Leave out --of and --id.")
    return {"kind": "folder", "place": str(path.resolve()), "version": 0, "sha256": "", "of": "", "id_column": ""}


def _of_version(version: DatasetVersion, of: str, id_column: str) -> SourceRecord:
    text = RowText(version.kind, version.columns, of)
    if id_column and id_column not in {column.name for column in version.columns}:
        names = ", ".join(column.name for column in version.columns)
        raise InputRefusedError("unknown_column", f"{version.ref} has no column {id_column!r}", f"It has {names}.")
    return {
        "kind": "dataset",
        "place": version.dataset,
        "version": version.number,
        "sha256": version.sha256,
        "of": text.of,
        "id_column": id_column,
    }


def newest_source(catalog: Catalog, source: SourceRecord) -> SourceRecord:
    """The same source as it is now: of a dataset its newest version.

    Raises:
        InputRefusedError: a folder is gone. NotFoundError: a dataset is.
    """
    if source["kind"] == "dataset":
        return _of_version(DatasetStore(catalog).get(source["place"]), source["of"], source["id_column"])
    return source_of(catalog, source["place"])


def told_source(source: SourceRecord) -> str:
    """A source in words."""
    if source["kind"] == "folder":
        return source["place"]
    return f"{source['place']}@{source['version']}"


def read_corpus(catalog: Catalog, source: SourceRecord, readers: Readers, known: KnownText) -> Corpus:
    """The documents of a source."""
    if source["kind"] == "dataset":
        version = DatasetStore(catalog).get(f"{source['place']}@{source['version']}")
        corpus = Corpus(version.rows, iter(()))
        corpus.documents = _rows(version, source, corpus)
        return corpus
    files, others, refused = _files(catalog.workspace, Path(source["place"]))
    corpus = Corpus(len(files), iter(()), refused, others)
    corpus.documents = _documents(files, readers, known, corpus)
    return corpus


def _rows(version: DatasetVersion, source: SourceRecord, corpus: Corpus) -> Iterator[Document]:
    text = RowText(version.kind, version.columns, source["of"])
    named: dict[str, int] = {}
    empty = 0
    for batch in version.read():
        for number, row in batch:
            name = str(number)
            if source["id_column"]:
                name = str(row.get(source["id_column"]) or "")
                if not name or (before := named.setdefault(name, number)) != number:
                    told = f"row {number:,} has no" if not name else f"rows {before:,} and {number:,} have the same"
                    raise InputRefusedError(
                        "bad_id_column", f"{told} {source['id_column']}", "Name documents by another column, or by row."
                    )
            if said := text.text(row):
                yield Document(name, said)
            else:
                empty += 1
    if empty:
        corpus.refused.append(
            {"document": counted(empty, "row"), "why": f"{agree(empty, 'it has', 'they have')} no text"}
        )


def _files(workspace: Workspace, folder: Path) -> tuple[dict[str, Path], Counter[str], list[RefusedRecord]]:
    """The files of a folder that a reader is for, by name; of the others how many have each ending; and what is refused."""
    found: dict[str, Path] = {}
    others: Counter[str] = Counter()
    refused: list[RefusedRecord] = []

    def refuse(path: Path, why: str) -> None:
        called = path.relative_to(folder).as_posix()
        refused.append({"document": called.encode(errors="replace").decode(), "why": why})

    def unreadable(error: OSError) -> None:
        refuse(Path(str(error.filename)), f"its files cannot be listed: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = _entered(workspace, Path(place), folders, refuse)
        for name in sorted(names):
            path = Path(place) / name
            if name.startswith("."):
                continue
            if path.suffix.lower() not in ENDINGS:
                others[path.suffix.lower() or "without an ending"] += 1
                continue
            called = path.relative_to(folder).as_posix()
            if not called.isprintable():
                refuse(path, "its name is no text")
            elif kind := kind_of_place(path):
                refuse(path, f"it is {kind}, and no file")
            else:
                found[called] = path
    return found, others, refused


def _entered(workspace: Workspace, place: Path, folders: list[str], refuse: Callable[[Path, str], None]) -> list[str]:
    """What is hidden is meant for programs; the workspace holds copies of texts, also of this index."""
    own = workspace.root.resolve()
    found = sorted(name for name in folders if not name.startswith(".") and (place / name).resolve() != own)
    for path in (place / name for name in found):
        if path.is_symlink():
            refuse(path, "it is a link to a folder")
    return found


def _documents(files: Mapping[str, Path], readers: Readers, known: KnownText, corpus: Corpus) -> Iterator[Document]:
    for name, path in files.items():
        kind = ENDINGS[path.suffix.lower()]
        facts, digest = None, ""
        try:
            facts = path.stat()
            check_size(path, facts.st_size)
            digest = sha256_file(path)
            # Reading a PDF takes long, and what it says depends on its bytes alone.
            before = known(digest) if kind == PDF else None
            text, title = (before, "") if before is not None else readers.read(path)
        except (UnreadableDocumentError, OSError) as error:
            told = (error.strerror if isinstance(error, OSError) else "") or str(error)
            refused: RefusedRecord = {"document": name, "why": told}
            if facts is not None:
                refused |= {"file_sha256": digest, "size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
            corpus.refused.append(refused)
            continue
        yield Document(
            name,
            text,
            structured=kind in {MARKDOWN, HTML},
            paged=kind == PDF,
            title=title,
            file_sha256=digest,
            size=facts.st_size,
            mtime_ns=facts.st_mtime_ns,
        )


def source_differs(
    catalog: Catalog,
    source: SourceRecord,
    files: Callable[[], Mapping[str, FileFacts]],
    excluded: AbstractSet[str],
    refused: Sequence[RefusedRecord],
) -> list[str]:
    """What differs in a source from what it was, in words; ``files`` were read, others ``excluded`` or ``refused``."""
    if source["kind"] == "dataset":
        return _dataset_differs(catalog, source)
    folder = Path(source["place"])
    if not folder.is_dir():
        return [f"the folder {folder} is gone"]
    now, _, _ = _files(catalog.workspace, folder)
    before = files()
    apart = {one["document"]: one for one in refused}
    told = [
        ("changed", [n for n, facts in before.items() if n in now and _changed(now[n], facts)]),
        ("new", [n for n in now if n not in before and n not in apart and n not in excluded]),
        ("that could not be taken changed", [n for n in now if n in apart and _mended(now[n], apart[n])]),
        ("gone", [n for n in before if n not in now]),
    ]
    return [f"{counted(len(names), 'file')} {what}: {_some(names)}" for what, names in told if names]


def _mended(path: Path, refused: RefusedRecord) -> bool:
    """Whether a file that could not be taken is another one now, so that it may be."""
    if "size" not in refused:
        # It was a link or the like, and is a file now.
        return True
    if refused["file_sha256"]:
        return _changed(path, FileFacts(refused["file_sha256"], refused["size"], refused["mtime_ns"]))
    # It was too large, or nobody could read it: its rights may have changed alone.
    try:
        check_size(path, path.stat().st_size)
        path.open("rb").close()
    except (UnreadableDocumentError, OSError):
        return False
    return True


def _changed(path: Path, before: FileFacts) -> bool:
    try:
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) == (before.size, before.mtime_ns):
            return False
        return now.st_size != before.size or sha256_file(path) != before.sha256
    except OSError:
        return True


def _dataset_differs(catalog: Catalog, source: SourceRecord) -> list[str]:
    try:
        log = DatasetStore(catalog).log(source["place"])
    except NotFoundError:
        return [f"the dataset {source['place']} is gone"]
    newest = log[0]
    if newest.sha256 == source["sha256"]:
        return []
    if newest.number == source["version"]:
        # Somebody was forgotten in it.
        return [f"{newest.ref} has other rows now"]
    return [f"{newest.ref} is there; the index is of @{source['version']}"]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"
