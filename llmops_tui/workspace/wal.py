"""Changes in a DuckDB write-ahead log that its reader would skip silently.

DuckDB takes a log whose beginning it does not know for none, and a piece whose length is wrong for the torn end of a
change that nobody was told of. A finished change behind either was acknowledged: it is damage, not an end.

The form: a header, then pieces of an 8-byte length, an 8-byte checksum and as many bytes; the last piece of each
change is a mark of its own (``WriteAheadLog`` and ``WALType`` in DuckDB's sources). Checksums DuckDB holds itself.
"""

from __future__ import annotations

import mmap
import re
import stat
from pathlib import Path

_LENGTH = 8
_CHECKSUM = 8
# A serialized object is fields, each a two-byte number and its value, ended by FF FF: the type of the entry is its first.
# The header's are the form's version, the catalog's identity of 16 bytes and its checkpoint; numbers have seven bits a byte.
_HEADER = re.compile(
    rb"\x64\x00\x62\x65\x00\x02\x66\x00\x10(?:[\x00-\x7f]|[\x80-\xff]\x01){16}\x67\x00[\x80-\xff]*[\x00-\x7f]\xff\xff"
)
# The piece that ends a change.
_FINISHED = b"\x64\x00\x64\xff\xff"


def passed_over(path: Path) -> int:
    """How many bytes of a log DuckDB would pass over though a finished change is among them; 0 where none is.

    Raises:
        OSError: the file cannot be read.
    """
    facts = path.stat()
    size = facts.st_size
    if not stat.S_ISREG(facts.st_mode) or not size:
        return 0
    with path.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            end = _end_of_pieces(raw)
            return size - end if raw.find(_FINISHED, end) >= 0 else 0


def _end_of_pieces(raw: mmap.mmap) -> int:
    """Where the first piece begins that is no whole one."""
    header = _HEADER.match(raw)
    if header is None:
        return 0
    place = header.end()
    while place + _LENGTH + _CHECKSUM <= len(raw):
        length = int.from_bytes(raw[place : place + _LENGTH], "little")
        if place + _LENGTH + _CHECKSUM + length > len(raw):
            break
        place += _LENGTH + _CHECKSUM + length
    return place
