"""Files known by their first bytes: those that are read, and those that are no dataset, with what to do instead."""

from __future__ import annotations

import codecs
import zipfile
from pathlib import Path
from typing import NamedTuple

from llmops_tui.errors import InputRefusedError

HEAD_BYTES = 1 << 20
# What is read whatever the file is called.
# An Arrow stream begins with the mark of a message, which no text does.
_READ = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow", b"SQLite format 3\0": "sqlite"}


class _Foreign(NamedTuple):
    what: str
    hint: str


_UNPACK = "Unpack it, and import the files in it."
_NO_DATASET = "Import the data itself: JSONL, JSON, CSV, Excel, Parquet, Arrow, SQLite or text."
_TABLE = "Save the sheet as CSV, and import that."
_CONVERT = "Convert it to Parquet or JSONL with the program that wrote it."
_FOREIGN: dict[bytes, _Foreign] = {
    b"GGUF": _Foreign("a GGUF model", "llmops model add registers it."),
    b"\x89PNG": _Foreign("a PNG image", _NO_DATASET),
    b"\xff\xd8\xff": _Foreign("a JPEG image", _NO_DATASET),
    b"GIF8": _Foreign("a GIF image", _NO_DATASET),
    b"%PDF-": _Foreign("a PDF document", "Extract its text first, for example with pdftotext."),
    b"RIFF": _Foreign("a WAV, AVI or WebP file", _NO_DATASET),
    b"OggS": _Foreign("an Ogg file", _NO_DATASET),
    b"fLaC": _Foreign("a FLAC file", _NO_DATASET),
    b"ID3": _Foreign("an MP3 file", _NO_DATASET),
    b"\x7fELF": _Foreign("a program", _NO_DATASET),
    b"MZ\x90": _Foreign("a program", _NO_DATASET),
    b"\x93NUMPY": _Foreign("a NumPy array", _CONVERT),
    b"\x89HDF": _Foreign("an HDF5 file", _CONVERT),
    b"ORC": _Foreign("an ORC file", _CONVERT),
    b"Obj\x01": _Foreign("an Avro file", _CONVERT),
    b"FEA1": _Foreign("a Feather file of version 1", "Write it again with pyarrow, which writes version 2."),
    b"7z\xbc\xaf": _Foreign("a 7z archive", _UNPACK),
    b"Rar!": _Foreign("a RAR archive", _UNPACK),
    b"\xd0\xcf\x11\xe0": _Foreign("a file of an old Office program, such as .xls, or one with a password", _TABLE),
}
_PICKLE = _Foreign("a pickle, which is never read: loading one can run any program", _CONVERT)
_IN_ZIP = {
    "xl/workbook.bin": _Foreign("a binary Excel workbook (.xlsb)", "Save it as .xlsx, and import that."),
    "word/": _Foreign("a Word document", "Save it as text, and import that."),
    "content.xml": _Foreign("an OpenDocument file", _TABLE),
    "archive/data.pkl": _Foreign("a file of torch, which holds a pickle and is never read", _CONVERT),
}


def read_type(head: bytes) -> str:
    """The type of source that a file's first bytes tell whatever its name is; none where they do not."""
    return next((kind for magic, kind in _READ.items() if head.startswith(magic)), "")


def refuse_foreign(path: Path, head: bytes) -> None:
    """Refuse a file that is known, and is no dataset.

    Raises:
        InputRefusedError: says what it is, and what to do.
    """
    found = _foreign(path, head)
    # A text may begin with the letters of one, such as "ORC"; all of a PDF's may be letters.
    if found is not None and (head.startswith(b"%PDF-") or not _is_text(head)):
        raise InputRefusedError("file_type_refused", f"{path} is {found.what}", found.hint)


def refuse_binary(path: Path, head: bytes) -> None:
    """Refuse what would be read as text, and is none. A later line may hold NULs: a crash leaves such lines.

    Raises:
        InputRefusedError: its first line holds NUL bytes, which no text of UTF-8 does.
    """
    at = head.partition(b"\n")[0].find(b"\0")
    if at >= 0:
        raise InputRefusedError(
            "file_type_refused",
            f"{path} is not text: byte {at:,} is NUL",
            "If it is UTF-16 without a byte order mark, give --encoding utf-16-le or utf-16-be.",
        )


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _foreign(path: Path, head: bytes) -> _Foreign | None:
    if head.startswith(b"PK\x03\x04"):
        return _in_zip(path)
    if head[:2] in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}:
        return _PICKLE
    if head[8:12] == b"DUCK":
        return _Foreign("a DuckDB database", "Export its table: COPY table TO 'rows.parquet'.")
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 32:
        return _Foreign("a safetensors file", "It holds weights; llmops model add registers a model.")
    return next((what for magic, what in _FOREIGN.items() if head.startswith(magic)), None)


def _in_zip(path: Path) -> _Foreign | None:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError):
        # What is wrong with it is told where it is read.
        names = []
    for start, what in _IN_ZIP.items():
        if any(name.startswith(start) for name in names):
            return what
    return None
