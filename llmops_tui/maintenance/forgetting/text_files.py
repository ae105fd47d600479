"""Files of a workspace that name a person: results, logs, batch files, drafts; read whole, changed one at a time."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.maintenance.erasure_ledger import FILE as LEDGER
from llmops_tui.maintenance.forgetting.change import Change, is_json
from llmops_tui.privacy.person import Person
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.catalog_file import connect_memory
from llmops_tui.workspace.checksum_scope import CHECKSUMS_FILE
from llmops_tui.workspace.layout import MARKER, Workspace
from llmops_tui.workspace.sandbox import quote_name, quote_text
from llmops_tui.workspace.written import write_noted

_AT_ONCE = 4 << 20
# Live state, or hashes alone; and databases, whose rows are searched.
_APART = {CHECKSUMS_FILE, MARKER, LEDGER, "api-key"}
_DATABASES = re.compile(r"\.(db|duckdb)(-wal|-shm|\.wal)?$")
_LOG = re.compile(r"\.log(\.\d+|\.head)?$")
# What could not be replayed or ingested, what a lost database left, and what a killed process did.
_LEFT = re.compile(r"(^|/)(refused-[^/]*|[^/]*\.(corrupt|lost)-[^/]*|\.[^/]*\.(tmp|part|anew)|[^/]*\.part)$")
# The files of a version of an index, whose documents are searched as such.
_INDEX = re.compile(r"indexes/[^/]+/\d+-[0-9a-f]+")
# Encrypted values of pseudonyms, by code.
_VAULTS = "datasets/vaults/"
# Tokens by number stand beside each text there: without the text they would still say it.
_TOKENS = "/probabilities.jsonl"
_WEIGHTS = (".gguf", ".safetensors", ".bin", ".pt", ".npy", ".f16", ".u64")


@dataclass(frozen=True)
class NamedFile:
    """A file that names a person, by its path below the workspace; what it says, and what becomes of it.

    ``fate``: ``redacted``, ``overwritten`` in place as logs are, ``removed``, or empty where it stays, ``why``.
    """

    name: str
    text: str
    mentions: int
    fate: str
    why: str = ""


def searched_files(workspace: Workspace) -> list[str]:
    """Every file that may have texts as they are, hidden ones too; rows of datasets and databases are searched as such."""
    found = []
    for folder, folders, names in os.walk(workspace.root):
        below = Path(folder).relative_to(workspace.root).as_posix()
        prefix = "" if below == "." else below + "/"
        folders[:] = sorted(
            f for f in folders if not (prefix == "datasets/" and _is_rows(f)) and not _INDEX.fullmatch(prefix + f)
        )
        for name in sorted(names):
            path = prefix + name
            apart = name.endswith((".lock", *_WEIGHTS)) or path in _APART or _is_database(path)
            if not apart and _is_regular(workspace.root / path):
                found.append(path)
    return found


def _is_rows(folder: str) -> bool:
    # Content by its hash, its indexes and vectors; vaults have encrypted values.
    return len(folder) == 64 or folder in {"search", "vectors", "rejected"}


def _is_database(path: str) -> bool:
    return bool(_DATABASES.search(path)) and "/" not in path and not _LEFT.search(path)


def _is_regular(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def named_file(workspace: Workspace, name: str, person: Person) -> NamedFile | None:
    """What a file says of a person; none where that is nothing."""
    path = workspace.root / name
    if person.named_in(name.rpartition("/")[2]):
        gone = _fate(name, path)[0] == "removed"
        return NamedFile(
            name, name, 1, "removed" if gone else "", "" if gone else "it is named so: rename or remove it"
        )
    if name.startswith(_VAULTS):
        kept = len(person.codes & _vault(path).keys())
        return NamedFile(name, "", kept, "redacted") if kept else None
    mentions, first = 0, ""
    with contextlib.suppress(OSError, EOFError, zlib.error):
        for text in _texts(path, person):
            hits = list(person.find(text))
            mentions += len(hits)
            first = first or (text[max(0, hits[0].start - 100) : hits[0].end + 100] if hits else "")
    return NamedFile(name, first, mentions, *_fate(name, path)) if mentions else None


def _fate(name: str, path: Path) -> tuple[str, str]:
    if _LEFT.search(name):
        return "removed", ""
    if path.suffix != ".gz" and (name.startswith("logs/") or _LOG.search(name)):
        return "overwritten", ""
    if name.startswith("models/"):
        return "", "it belongs to a model; change it yourself, or remove the model"
    if name.startswith("backups/") or name.endswith(_TOKENS):
        return "removed", ""
    return ("redacted", "") if _is_text(path) else ("", "it is no text; remove what it belongs to")


def _is_text(path: Path) -> bool:
    try:
        _content(path).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return False
    return True


def _content(path: Path) -> bytes:
    """What a file says: of one that is compressed what was compressed."""
    raw = read_regular(path)
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def _texts(path: Path, person: Person) -> Iterator[str]:
    """The content of a file that may name a person, in pieces that overlap by what a mention may take."""
    import duckdb

    if path.suffix == ".parquet":
        # Half a file, as a killed writer leaves it, has no rows: its bytes are searched.
        with contextlib.suppress(duckdb.Error):
            yield from _cells(path)
            return
    overlap = 4 * person.longest
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        tail = b""
        while part := file.read(_AT_ONCE):
            data = tail + part
            tail = data[-overlap:]
            if person.may_be_in(data):
                yield data.decode("utf-8", "replace")


def _cells(path: Path) -> Iterator[str]:
    connection = connect_memory()
    try:
        source = f"read_parquet({quote_text(str(path))})"
        names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
        chosen = ", ".join(f"CAST({quote_name(name)} AS VARCHAR)" for name in names) or "NULL"
        cursor = connection.execute(f"SELECT {chosen} FROM {source}")
        while rows := cursor.fetchmany(1000):
            yield from (str(value) for row in rows for value in row if value is not None)
    finally:
        connection.close()


def _vault(path: Path) -> dict[str, str]:
    """The encrypted values of pseudonyms by code; none where the file has none."""
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def redacted(path: Path, person: Person) -> bytes:
    """The content of a file of text without the person, as it is to be written: deterministic, so that it can be said before."""
    if _VAULTS in path.as_posix():
        # Without its value a pseudonym is final.
        return json.dumps({code: value for code, value in _vault(path).items() if code not in person.codes}).encode()
    change = Change(person, "redact")
    text = _content(path).decode("utf-8")
    if path.suffix == ".jsonl":
        fresh = "\n".join(change.json_text(line) for line in text.split("\n"))
    else:
        fresh = change.json_text(text) if is_json(text) else change.text(text)
    data = fresh.encode("utf-8")
    return gzip.compress(data, mtime=0) if path.suffix == ".gz" else data


def erase_file(workspace: Workspace, named: NamedFile, person: Person) -> None:
    """Do to a file what is to become of it; the caller dropped its checksum."""
    path = workspace.root / named.name
    if named.fate == "removed":
        path.unlink(missing_ok=True)
    elif named.fate == "overwritten":
        overwrite(path, person)
    elif named.fate == "redacted":
        write_noted(path, redacted(path, person))
        if named.name.startswith("files/") and path.suffix == ".jsonl":
            _note_size(path)


def _note_size(path: Path) -> None:
    """Let the record of a client's file say how large it is now."""
    record = path.with_suffix(".json")
    with contextlib.suppress(OSError, ValueError, TypeError):
        body = json.loads(read_regular(record))
        write_noted(record, json.dumps({**body, "bytes": path.stat().st_size}))


def overwrite(path: Path, person: Person) -> None:
    """Overwrite what names a person with signs of the same length: a log that others append to stays the same file."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = b""
        while part := os.pread(descriptor, _AT_ONCE, len(data)):
            data += part
        text = data.decode("utf-8", "surrogateescape")
        at = place = 0
        for mention in person.find(text):
            place += len(text[at : mention.start].encode("utf-8", "surrogateescape"))
            size = len(text[mention.start : mention.end].encode("utf-8", "surrogateescape"))
            sign = mention.identifier.mark.encode()
            os.pwrite(descriptor, sign.ljust(size, b"*")[:size] if len(sign) <= size else b"*" * size, place)
            at, place = mention.end, place + size
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
