"""The process that reads PDF files, one a line: a foreign file can ask for any amount of memory or time, and gets little."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.jobs.process import end_when_orphaned
from llmops_tui.regular_files import open_given

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

GREETING = "."
MOST_BYTES = 256 << 20
_MEMORY = 2 << 30
_MOST_TEXT = 8_000_000
# The library does not foresee all that a damaged file can be.
_UNFORESEEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, RecursionError)


class UnreadablePdfError(Exception):
    """Why a file has no text that can be read, as the end of a sentence about it."""


def pdf_text(data: bytes) -> str:
    """The text of a PDF, its pages separated by form feeds.

    Raises:
        UnreadablePdfError: it is encrypted, has no text, or is none.
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    # What it finds odd in a file is nothing that helps here.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadablePdfError("it is encrypted, and opens with a password alone")
        pages, size = [], 0
        for page in reader.pages:
            # Pages end with a form feed, which is then nothing else.
            pages.append(page.extract_text().replace("\f", "\n"))
            size += len(pages[-1])
            if size > _MOST_TEXT:
                raise UnreadablePdfError(f"it has more than {_MOST_TEXT:,} characters of text")
    except UnreadablePdfError:
        raise
    except (PyPdfError, NotImplementedError) as error:
        # Of a kind of encryption that it does not know, too.
        raise UnreadablePdfError(f"it cannot be read as a PDF: {_short(error)}") from error
    except _UNFORESEEN as error:
        raise UnreadablePdfError(f"it is damaged: {type(error).__name__}: {_short(error)}") from error
    if not any(page.strip() for page in pages):
        scanned = _has_pictures(reader)
        told = ": its pages are pictures, which a program that recognises text has to read" if scanned else ""
        raise UnreadablePdfError(f"it has no text{told}" if pages else "it has no pages")
    return "\f".join(pages)


def _has_pictures(reader: PdfReader) -> bool:
    """Whether a page draws one, as scanned ones do; not where a damaged file does not tell."""
    with contextlib.suppress(*_UNFORESEEN):
        return any(_draws_picture(page) for page in reader.pages)
    return False


def _draws_picture(page: PageObject) -> bool:
    has = page.get("/Resources")
    drawn = has.get_object().get("/XObject") if has is not None else None
    return drawn is not None and any(
        one.get_object().get("/Subtype") == "/Image" for one in drawn.get_object().values()
    )


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


def _answer(path: str) -> dict[str, str]:
    try:
        with open_given(Path(path), MOST_BYTES) as file:
            return {"text": pdf_text(file.read())}
    except UnreadablePdfError as error:
        return {"why": str(error)}
    except OSError as error:
        return {"why": error.strerror or str(error)}
    except MemoryError:
        return {"why": f"it needs more than {_MEMORY >> 20:,} MB of memory to be read"}


def main() -> None:
    """Read paths as JSON, answer texts."""
    end_when_orphaned()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        path = json.loads(line)
        answer = {} if path == GREETING else _answer(path)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
