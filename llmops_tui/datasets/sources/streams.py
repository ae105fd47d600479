"""The bytes of a file as UTF-8 text has them: decompressed by content, decoded from another encoding, damage told."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from llmops_tui.datasets.sources.archives import open_member
from llmops_tui.errors import InputRefusedError

# So little at a time: a kilobyte of zstd can stand for 32 MB, and one of bzip2 for a gigabyte.
_COMPRESSED_BYTES = 2048
_ENCODED_BYTES = 1 << 18
_BUFFER_BYTES = 1 << 18
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}
# The longer ones first: UTF-32's begins as UTF-16's does.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
SUFFIXES = frozenset({".gz", ".zst", ".zstd", ".xz", ".bz2"})


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...

    def close(self) -> None: ...


def compression_of(path: Path) -> str:
    """How a file is compressed, by its first bytes: ``gzip``, ``zstd``, ``xz``, ``bzip2``, or not at all."""
    with path.open("rb") as file:
        return compression_in(file.read(6))


def compression_in(head: bytes) -> str:
    """What the first bytes of a file are of: ``gzip``, ``zstd``, ``xz``, ``bzip2``, or none of them."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def encoding_of(head: bytes) -> str:
    """The encoding that a byte order mark tells, where it is not UTF-8."""
    return next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "")


def check_encoding(name: str) -> str:
    """The name of an encoding as Python has it.

    Raises:
        InputRefusedError: there is none of this name that makes text of bytes.
    """
    try:
        "".encode(name or "utf-8")
    except (LookupError, ValueError):
        raise InputRefusedError(
            "encoding_unknown",
            f"there is no text encoding {name!r}",
            "Usual ones: utf-16, latin-1, cp1252, shift_jis, gb18030.",
        ) from None
    return name


def open_stream(path: Path, encoding: str = "", member: str = "") -> io.BufferedReader:
    """A file's bytes, or those of a member of an archive, decompressed, and as UTF-8 where it has another encoding.

    Reading raises:
        InputRefusedError: the compressed data ends early or is damaged, or the text is not of this encoding.
    """
    compression = "" if member else compression_of(path)
    plain: Callable[[], io.BufferedReader] = (
        (lambda: open_member(path, member)) if member else (lambda: path.open("rb"))
    )
    if not compression and not encoding:
        return plain()
    inner: _Readable = _OPENED[compression](path) if compression else plain()
    if compression:
        inner = _Decompressed(inner, path, compression)
    if encoding:
        inner = _Decoded(inner, path, encoding)
    assert isinstance(inner, io.RawIOBase)
    return io.BufferedReader(inner, _BUFFER_BYTES)


class _Streams:
    """Reads compressed streams one after another to the end of the file; a last one without an end is an error.

    What stands behind a stream has to be another one, or zeros, which programs fill blocks with: Python's own readers of
    bzip2 and xz pass over anything, and zstandard's does not miss the end of a frame.
    """

    def __init__(
        self, path: Path, begin: Callable[[], Any], failure: type[Exception], limit: int | None = None
    ) -> None:
        self._begin = begin
        self._failure = failure
        # So much is made at a time, where the package lets one say so.
        self._limit = () if limit is None else (limit,)
        self._file = path.open("rb")
        self._stream: Any = None
        self._behind = b""

    def read(self, _size: int = -1, /) -> bytes:
        """What the next bytes stand for; none at the end."""
        made = b""
        while not made:
            more = bool(self._limit) and self._stream is not None and not self._stream.needs_input
            data = b"" if more else self._behind or self._file.read(_COMPRESSED_BYTES)
            self._behind = b""
            if not data and not more:
                if self._stream is not None:
                    raise EOFError
                return b""
            if self._stream is None:
                data = data.lstrip(b"\0")
                if not data:
                    continue
                self._stream = self._begin()
            try:
                made = self._stream.decompress(data, *self._limit)
            except self._failure as error:
                raise OSError(str(error)) from None
            if self._stream.eof:
                self._behind, self._stream = self._stream.unused_data, None
        return made

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _zstd(path: Path) -> _Streams:
    import zstandard

    return _Streams(path, zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError)


_OPENED: dict[str, Callable[[Path], Any]] = {
    "gzip": gzip.GzipFile,
    "zstd": _zstd,
    "xz": lambda path: _Streams(path, lzma.LZMADecompressor, lzma.LZMAError, _BUFFER_BYTES),
    "bzip2": lambda path: _Streams(path, bz2.BZ2Decompressor, OSError, _BUFFER_BYTES),
}


class _Source(io.RawIOBase):
    """Bytes that are made in pieces."""

    def __init__(self, inner: _Readable, path: Path) -> None:
        super().__init__()
        self._inner = inner
        self._path = path
        self._left = memoryview(b"")
        self._told = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """How many bytes were read."""
        return self._told

    def readinto(self, into: Any) -> int:
        """Fill a buffer; 0 at the end."""
        if not self._left:
            self._left = memoryview(self._next())
        count = min(len(into), len(self._left))
        into[:count] = self._left[:count]
        self._left = self._left[count:]
        self._told += count
        return count

    def close(self) -> None:
        """Close what is read from."""
        if not self.closed:
            self._inner.close()
        super().close()

    def _next(self) -> bytes:
        raise NotImplementedError


class _Decompressed(_Source):
    def __init__(self, inner: _Readable, path: Path, compression: str) -> None:
        super().__init__(inner, path)
        self._compression = compression

    def _next(self) -> bytes:
        try:
            return self._inner.read(_BUFFER_BYTES)
        except EOFError:
            told = f"{self._path} is truncated: its {self._compression} data has no end"
        except (OSError, zlib.error, lzma.LZMAError) as error:
            told = f"{self._path} is damaged: its {self._compression} data cannot be read: {error}"
        raise InputRefusedError("file_damaged", told, "Download or copy it again.")


class _Decoded(_Source):
    def __init__(self, inner: _Readable, path: Path, encoding: str) -> None:
        super().__init__(inner, path)
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._at = 0

    def _next(self) -> bytes:
        text, ended = "", False
        while not text and not ended:
            data = self._inner.read(_ENCODED_BYTES)
            ended = not data
            try:
                text = self._decoder.decode(data, final=ended)
            except UnicodeDecodeError as error:
                told = f"{self._path} is not {self._encoding}: about byte {self._at + error.start:,}, {error.reason}"
                raise InputRefusedError("encoding_wrong", told, "Say with --encoding what it is.") from None
            self._at += len(data)
        return text.encode()
