"""Errors of the operating system, DuckDB and SQLite about files, as errors with cause and remedy.

The borders of the engine ask: the command line, a job's worker, the app. What is none of these is a fault of ours.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError, LlmopsError

_LOOK = "llmops check reports what is wrong; restore damaged files from a backup (llmops restore FILE)."
_HINTS = {
    errno.EACCES: "Change its permissions (chmod u+rw), or ask its owner.",
    errno.EPERM: "Change its permissions (chmod u+rw), or ask its owner.",
    errno.EISDIR: f"There is a folder in place of a file. {_LOOK}",
    errno.ENOTDIR: f"There is no folder at a path that must be a folder. {_LOOK}",
    errno.ENOENT: _LOOK,
    errno.ELOOP: f"There is a link in place of a file. {_LOOK}",
    errno.EINVAL: f"There is no regular file at a path that must be a file. {_LOOK}",
    errno.ENXIO: f"There is no regular file at a path that must be a file. {_LOOK}",
}
_FULL = {errno.ENOSPC, errno.EDQUOT}
# How DuckDB names a file that it cannot read.
_NAMED = re.compile(r"""[Ff]ile:? (?P<quote>["'])(?P<path>.+?)(?P=quote)""")
# What its reader of Parquet says of what it read, without a name: as other libraries' errors, of no kind of DuckDB's, and
# with these beginnings as of its own. What else has the word, such as a query with an unknown name, says nothing of a file.
_OF_ITS_LIBRARIES = re.compile(
    r"TProtocolException|TTransportException|Out of buffer$|don't know what type|Payload value bigger"
    r"|Failed to decompress|Input is invalid/unsupported|Prefetch registered"
)
_OF_PARQUET = re.compile(
    r"(Invalid Input|IO) Error: (Parquet (metadata|file)|\w+ converted type|(\w+ |Failed to )[Dd]ecompress)"
)
# As Python, orjson and DuckDB say it.
_HALF = re.compile(r"surrogates not allowed|^Invalid Input Error: Python Conversion Failure: .* surrogate ")
_WHICH = re.compile(r"'\\u[0-9a-f]{4}'")
_TRACEBACK = "LLMOPS_TRACEBACK"
_NAMES = "llmops check names the file; restore damaged files from a backup (llmops restore FILE)."


def explain_system_error(error: BaseException, place: str = "the system") -> LlmopsError | None:
    """The error in words of ours; none where it says nothing of a file. ``place`` stands for a file that has no name.

    An error of ours is given back as it is.
    """
    if isinstance(error, LlmopsError):
        return error
    if (half := half_of_character(error)) is not None:
        return half
    if isinstance(error, OSError):
        return _of_the_system(error, place)
    import sqlite3

    if isinstance(error, sqlite3.DatabaseError):
        return LlmopsError("database_failed", f"a database of the workspace failed: {error}", _LOOK)
    duckdb: Any = sys.modules.get("duckdb")
    if duckdb is not None and isinstance(error, duckdb.Error):
        return _of_duckdb(str(error), own=type(error) is not duckdb.Error)
    return None


def half_of_character(error: BaseException) -> LlmopsError | None:
    """What it means that a text could not be written because it has half of a character; none where that is not so.

    JSON may have one as an escape, and so has an argument whose bytes are no UTF-8: Python takes both, and no database does.
    """
    if not _HALF.search(str(error)):
        return None
    found = _WHICH.search(str(error))
    which = f", {found[0]}" if found else ""
    return InputRefusedError(
        "bad_text", f"a text has half of a character{which}", "Write it in UTF-8, and in JSON both halves of an escape."
    )


def _of_the_system(error: OSError, place: str) -> LlmopsError:
    if error.errno in _FULL:
        return LlmopsError(
            "disk_full", f"no space left for {error.filename or place}", "Free some space and try again."
        )
    hint = _HINTS.get(error.errno or 0, "")
    return LlmopsError("system_refused", f"{error.filename or place}: {error.strerror or error}", hint)


def _of_duckdb(text: str, *, own: bool) -> LlmopsError | None:
    found = _NAMED.search(text)
    if found is None and (_OF_PARQUET if own else _OF_ITS_LIBRARIES).match(text):
        told = text.partition("\n")[0][:200]
        return LlmopsError("file_unreadable", f"a Parquet file of the workspace cannot be read: {told}", _NAMES)
    if found is None:
        return None
    # Behind the first line is the query, which was ours.
    told = " ".join(text.partition("\n")[0].replace(found.group(0), "it").split())[:300]
    return LlmopsError("file_unreadable", f"{found.group('path')} cannot be read: {told}", _LOOK)


def unforeseen(error: Exception) -> LlmopsError:
    """A failure that nobody foresaw, as one line that says what it was and where; the whole story where it is asked for."""
    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}llmops_tui{os.sep}" in f.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    told = " ".join(str(error).split())[:300]
    return LlmopsError(
        "unforeseen",
        f"internal error: {type(error).__name__}{f': {told}' if told else ''}{place}",
        f"llmops check verifies the workspace; {_TRACEBACK}=1 prints the traceback.",
    )
