"""The blocks of a DuckDB file, and the checksum that each begins with, by which it is seen what was written since.

A file has three headers of 4 KiB and then blocks of 256 KiB, each with 64 bits first that are made of all its other bytes
(``Checksum`` in DuckDB's ``src/common/checksum.cpp``). DuckDB writes a block as a whole and from its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HEADERS = 3 * 4096
BLOCK = 256 * 1024
_MARK = 8
# Of a block that is not as its own checksum says: half written by somebody who was killed, or never used.
UNSOUND = "-" * (2 * _MARK)
_FACTOR = 0xBF58476D1CE4E5B9
_START = 5381
_WORD = (1 << 64) - 1
# Words that are multiplied at once; more are not quicker.
_AT_ONCE = 1024


def block_checksum(block: bytes) -> int:
    """DuckDB's checksum of a block, of all but the first eight bytes: the words, each times a factor, by XOR.

    The words lie in one number 128 bits apart, where no product reaches the next one.
    """
    words = memoryview(block).cast("Q")[1:]
    found = 0
    for first in range(0, len(words), _AT_ONCE):
        some = words[first : first + _AT_ONCE]
        apart = bytearray(16 * _AT_ONCE)
        memoryview(apart).cast("Q")[: 2 * len(some) : 2] = some
        found ^= int.from_bytes(apart, "little") * _FACTOR
    left = _AT_ONCE
    while left > 1:
        left //= 2
        found = (found >> 128 * left) ^ (found & ((1 << 128 * left) - 1))
    return _START ^ (found & _WORD)


def marks_of(path: Path, size: int, before: Sequence[str] = ()) -> tuple[str, ...]:
    """The checksum in each whole block of the first ``size`` bytes, :data:`UNSOUND` where it does not fit the block.

    A block whose checksum is the one that it had ``before`` is not read.
    """
    found: list[str] = []
    with path.open("rb") as file:
        for number in range((size - HEADERS) // BLOCK if size > HEADERS else 0):
            place = HEADERS + number * BLOCK
            file.seek(place)
            mark = file.read(_MARK)
            if number >= len(before) or mark.hex() != before[number]:
                file.seek(place)
                block = file.read(BLOCK)
                mark = block[:_MARK]
                sound = len(block) == BLOCK and block_checksum(block) == int.from_bytes(mark, "little")
                found.append(mark.hex() if sound else UNSOUND)
            else:
                found.append(mark.hex())
    return tuple(found)


def same_parts(before: Sequence[str], now: Sequence[str], part: int, size: int) -> set[int]:
    """Which parts of ``part`` bytes, of the first ``size`` bytes of a file, lie in blocks that were not written since."""
    same = [one == other != UNSOUND for one, other in zip(before, now, strict=False)]
    found = set()
    for number in range(size // part):
        begin, end = number * part - HEADERS, (number + 1) * part - HEADERS
        blocks = range(begin // BLOCK, (end - 1) // BLOCK + 1)
        if begin >= 0 and blocks.stop <= len(same) and all(same[block] for block in blocks):
            found.add(number)
    return found
