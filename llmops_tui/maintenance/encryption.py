"""Files encrypted with a passphrase: AES-256-GCM in chunks, with random access.

The form: a line that names it, the parameters of the key, then pieces of one mebibyte with their tags. Each piece's
nonce holds its number and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár,
https://eprint.iacr.org/2015/189), so that none can be left out, moved or cut off. The key is scrypt's (RFC 7914).
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import IO, Any

from llmops_tui.errors import InputRefusedError

_MAGIC = b"llmops encrypted 1\n"
_SALT = 16
_PREFIX = 7
_TAG = 16
_PIECE = 1 << 20
# 128 MiB and about half a second for each guess.
_COST, _BLOCKS, _LANES = 1 << 17, 8, 1
_HEADER = len(_MAGIC) + _SALT + _PREFIX
SHORTEST = 12


def is_encrypted(path: Path) -> bool:
    """Whether a file is one of these.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _cipher(passphrase: str, salt: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    key = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCKS, p=_LANES).derive(passphrase.encode("utf-8", "surrogatepass"))
    return AESGCM(key)


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + struct.pack(">IB", number, last)


class EncryptedWriter(io.RawIOBase):
    """Writes a new file; what was written counts once it is closed."""

    def __init__(self, file: IO[bytes], passphrase: str) -> None:
        super().__init__()
        self._file = file
        salt, self._prefix = os.urandom(_SALT), os.urandom(_PREFIX)
        self._cipher = _cipher(passphrase, salt)
        self._header = _MAGIC + salt + self._prefix
        file.write(self._header)
        self._held = bytearray()
        self._number = 0
        self._length = 0

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """How many plain bytes were written."""
        return self._length

    def write(self, data: Any, /) -> int:
        """Take plain bytes."""
        self._held += data
        self._length += len(data)
        # The last piece is told from the others, so one is held back.
        while len(self._held) > _PIECE:
            self._put(bytes(self._held[:_PIECE]), last=False)
            del self._held[:_PIECE]
        return len(data)

    def close(self) -> None:
        """Write the last piece; the file below stays open."""
        if not self.closed:
            self._put(bytes(self._held), last=True)
            super().close()

    def _put(self, piece: bytes, *, last: bool) -> None:
        nonce = _nonce(self._prefix, self._number, last=last)
        self._file.write(self._cipher.encrypt(nonce, piece, self._header))
        self._number += 1


class EncryptedReader(io.RawIOBase):
    """Reads a file of :class:`EncryptedWriter` from any place.

    Raises:
        InputRefusedError: ``passphrase_wrong``; while reading ``backup_damaged``: a piece is not as it was written.
    """

    def __init__(self, path: Path, passphrase: str) -> None:
        super().__init__()
        self._path = path
        self._file = path.open("rb")
        self._header = self._file.read(_HEADER)
        self._prefix = self._header[-_PREFIX:]
        self._cipher = _cipher(passphrase, self._header[len(_MAGIC) : len(_MAGIC) + _SALT])
        body = path.stat().st_size - _HEADER
        self._pieces = max(1, -(-body // (_PIECE + _TAG)))
        self._size = max(0, body - self._pieces * _TAG)
        self._place = 0
        self._cached: tuple[int, bytes] = (-1, b"")
        try:
            self._piece(0)
        except InputRefusedError as error:
            raise InputRefusedError(
                "passphrase_wrong",
                f"{path} cannot be decrypted: the passphrase is wrong, or the beginning of the file is damaged",
                "Try again with its passphrase; without it, the file cannot be decrypted.",
            ) from error

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place among the plain bytes."""
        self._place = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        """The place among the plain bytes."""
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Read plain bytes, of one piece at the most."""
        if self._place >= self._size:
            return 0
        number, begin = divmod(self._place, _PIECE)
        piece = self._piece(number)[begin : begin + len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def close(self) -> None:
        """Close the file below, too."""
        self._file.close()
        super().close()

    def _piece(self, number: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        if self._cached[0] != number:
            self._file.seek(_HEADER + number * (_PIECE + _TAG))
            encrypted = self._file.read(_PIECE + _TAG)
            nonce = _nonce(self._prefix, number, last=number == self._pieces - 1)
            try:
                self._cached = (number, self._cipher.decrypt(nonce, encrypted, self._header))
            except (InvalidTag, ValueError) as error:
                raise InputRefusedError(
                    "backup_damaged",
                    f"{self._path}: piece {number + 1} of {self._pieces} is damaged",
                    "Use another backup.",
                ) from error
        return self._cached[1]
