"""Documents as texts: Markdown, plain text, HTML and PDF, each read whole or refused with a reason."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from llmops_tui.inference.helper_process import HelperLostError, HelperProcess
from llmops_tui.regular_files import read_regular
from llmops_tui.retrieval.html_text import html_text
from llmops_tui.retrieval.pdf_worker import GREETING, MOST_BYTES

MARKDOWN, TEXT, HTML, PDF = "markdown", "text", "html", "pdf"
ENDINGS = {
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".txt": TEXT, ".text": TEXT, ".html": HTML, ".htm": HTML, ".xhtml": HTML, ".pdf": PDF,
}  # fmt: skip
_MOST = 64 << 20
# Of the processor, for one PDF.
_PDF_SECONDS = 120.0
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)")
_FIRST = 2048
_NOT_OF_PAGES = ("utf-16", "utf-32", "idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UNSTORED = re.compile("[\0\ud800-\udfff]")


class UnreadableDocumentError(Exception):
    """Why a document cannot be taken, as the end of a sentence about it."""


@dataclass(frozen=True)
class Document:
    """A document of a corpus.

    Attributes:
        name: unique in the corpus: a path within the folder, the number of a row, or what a column says.
        text: all of it; offsets are into this. The pages of a PDF are separated by form feeds.
        structured: whether the text is Markdown.
        paged: whether form feeds separate pages.
        title: what it calls itself, where it does.
        file_sha256: of the file it was read from; empty of a row.
        size: of the file, in bytes.
        mtime_ns: when the file was written last.
    """

    name: str
    text: str
    structured: bool = False
    paged: bool = False
    title: str = ""
    file_sha256: str = ""
    size: int = 0
    mtime_ns: int = 0

    @property
    def kept_text(self) -> str:
        """The text as an index keeps it: SQLite ends one at a zero, and has no lone surrogates. The offsets are the same."""
        return _UNSTORED.sub("\ufffd", self.text)


def check_size(path: Path, size: int) -> None:
    """Refuse a file that is larger than its reader takes, before anything of it is read.

    Raises:
        UnreadableDocumentError: it is.
    """
    most = MOST_BYTES if ENDINGS[path.suffix.lower()] == PDF else _MOST
    if size > most:
        raise UnreadableDocumentError(f"it has {size / 1e6:,.0f} MB, more than {most / 1e6:,.0f}")


class Readers:
    """Reads files by their endings. The process that reads PDFs is started by the first, and ends with the block."""

    def __init__(self) -> None:
        self._pdf = HelperProcess(
            "llmops_tui.retrieval.pdf_worker", greeting=json.dumps(GREETING).encode() + b"\n", work="reads PDF files"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._pdf.close()

    def read(self, path: Path) -> tuple[str, str]:
        """The text of a file, and its title.

        Raises:
            UnreadableDocumentError: it cannot be taken, and why.
        """
        kind = ENDINGS[path.suffix.lower()]
        try:
            check_size(path, path.lstat().st_size)
            text, title = (self._of_pdf(path), "") if kind == PDF else _READ[kind](read_regular(path))
        except OSError as error:
            raise UnreadableDocumentError(error.strerror or str(error)) from error
        if not text.strip():
            raise UnreadableDocumentError("it has no text")
        return text, title

    def _of_pdf(self, path: Path) -> str:
        try:
            answer = json.loads(self._pdf.ask(json.dumps(str(path)).encode() + b"\n", _PDF_SECONDS, of_processor=True))
        except HelperLostError as error:
            raise UnreadableDocumentError(f"reading it was too much: {error}") from error
        if "text" not in answer:
            raise UnreadableDocumentError(str(answer["why"]))
        return str(answer["text"])


def _decoded(raw: bytes, usual: str = "utf-8") -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            raw, usual = raw[len(mark) :], encoding
            break
    try:
        text = raw.decode(usual)
    except UnicodeDecodeError as error:
        told = f"it is not {usual.upper()}: byte {error.start:,} is none of it"
        raise UnreadableDocumentError(f"{told}; save it as UTF-8") from error
    if "\0" in text:
        raise UnreadableDocumentError("it is no text: it has zero bytes")
    return text


def _of_text(raw: bytes) -> tuple[str, str]:
    return _decoded(raw), ""


def _of_markdown(raw: bytes) -> tuple[str, str]:
    text = _decoded(raw)
    first = text.lstrip().partition("\n")[0]
    return text, first.lstrip("#").strip()[:200] if first.startswith("# ") else ""


def _of_html(raw: bytes) -> tuple[str, str]:
    usual = "utf-8"
    if said := _CHARSET.search(raw[:_FIRST]):
        try:
            found = codecs.lookup(said.group(1).decode("ascii"))
        except LookupError as error:
            raise UnreadableDocumentError(f"it says that it is {said.group(1).decode()}, which is unknown") from error
        # Codecs of Python's own, such as rot13, are none of pages; one whose first letters are read like this is no UTF-16.
        if found._is_text_encoding and not found.name.startswith(_NOT_OF_PAGES):  # noqa: SLF001  there is no public way to ask
            usual = found.name
    return html_text(_decoded(raw, usual))


_READ: dict[str, Callable[[bytes], tuple[str, str]]] = {TEXT: _of_text, MARKDOWN: _of_markdown, HTML: _of_html}
