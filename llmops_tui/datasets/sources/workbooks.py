"""Excel workbooks (.xlsx, .xlsm): the rows of a sheet with the types of its cells, read in pieces and without a macro."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from llmops_tui.counts import counted
from llmops_tui.datasets.records import dump_json
from llmops_tui.datasets.sources.archives import members_of, open_member
from llmops_tui.datasets.sources.arrow_values import told_renamed, unique
from llmops_tui.datasets.sources.base import BATCH_BYTES, BATCH_ROWS, KEPT_RAW, Batch, Reject, Source
from llmops_tui.datasets.sources.cell_moments import Style, moment, style_of
from llmops_tui.errors import InputRefusedError

_BOOK = "xl/workbook.xml"
_READ_BYTES = 1 << 18
_LETTERS = re.compile(r"([A-Z]{1,3})[0-9]+")
_INTEGER = re.compile(r"-?[0-9]+")
# How a character is written that XML does not have; halves of one stay as they stand.
_WRITTEN = re.compile(r"_x((?![Dd][89A-Fa-f])[0-9A-Fa-f]{4})_")
_MOST_DIGITS = 7
_MOST_COLUMNS = 16_384
Cell = str | int | float | bool
_Begin = Callable[[str, dict[str, str]], None]
_Take = Callable[[str], None]


class Sheet(NamedTuple):
    """A sheet: its name, and the file inside the workbook that has its cells."""

    name: str
    member: str


@dataclass
class _Book:
    """What the cells of all sheets are read by."""

    path: Path
    texts: list[str] = field(default_factory=list)
    styles: list[Style] = field(default_factory=list)
    from_1904: bool = False


@dataclass
class _SheetRow:
    """Cells by their column, from 0, and why the row cannot be read, where it cannot."""

    number: int
    cells: dict[int, Cell] = field(default_factory=dict)
    reason: str = ""


def is_workbook(path: Path) -> bool:
    """Whether a zip archive is an Excel workbook in XML."""
    return any(member.name == _BOOK for member in members_of(path))


def sheets_of(path: Path) -> list[Sheet]:
    """The sheets of cells of a workbook, in their order.

    Raises:
        InputRefusedError: it is damaged.
    """
    names: list[tuple[str, str]] = []
    targets: dict[str, str] = {}

    def book(tag: str, given: dict[str, str]) -> None:
        if tag == "sheet":
            names.append((given.get("name", ""), given.get("id", "")))

    def relation(tag: str, given: dict[str, str]) -> None:
        # Others are charts and dialogs.
        if tag == "Relationship" and given.get("Type", "").endswith("/worksheet"):
            target = given.get("Target", "")
            targets[given.get("Id", "")] = target[1:] if target.startswith("/") else f"xl/{target}"

    _parse(path, _BOOK, book)
    _parse(path, "xl/_rels/workbook.xml.rels", relation)
    inside = {member.name for member in members_of(path)}
    found = [Sheet(name, targets[key]) for name, key in names if key in targets]
    if missing := [sheet.name for sheet in found if sheet.member not in inside]:
        raise _damaged(path, f"its sheet {missing[0]!r} is not in it")
    return found


def sheet_sources(path: Path, table: str) -> list[Source]:
    """The sheet that is asked for, or the only one that has cells.

    Raises:
        InputRefusedError: there is no such sheet, none has a cell, or several have.
    """
    sheets = sheets_of(path)
    names = [sheet.name for sheet in sheets]
    if table:
        if table not in names:
            told = f"Its sheets: {', '.join(names) or 'none'}"
            raise InputRefusedError("table_missing", f"{path} has no sheet {table!r}", told)
        return [Source(path, "workbook", table=table)]
    full = [sheet.name for sheet in sheets if any(True for _ in _rows(_Book(path), sheet.member, only_first=True))]
    if not full:
        raise InputRefusedError(
            "nothing_to_import", f"no sheet of {path} has a cell with a value", "Check that it is the right file."
        )
    if len(full) > 1:
        raise InputRefusedError(
            "table_needed", f"{path} has {len(full)} sheets: {', '.join(full[:20])}", "Choose one with --table NAME."
        )
    told = f"the sheet {full[0]!r}; its other sheets are empty" if len(sheets) > 1 else ""
    return [Source(path, "workbook", table=full[0], told=told)]


def read_workbook(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The rows of a sheet below the first that has a cell, which has the names of columns; an empty cell is no value."""
    del line
    path = source.path
    member = next((sheet.member for sheet in sheets_of(path) if sheet.name == source.table), None)
    if member is None:
        raise InputRefusedError("table_missing", f"{path} has no sheet {source.table!r} any more", "Import it again.")
    rows = _rows(_book_of(path), member)
    first = next(rows, None)
    if first is None:
        return
    if first.reason:
        raise InputRefusedError("file_damaged", f"{path}, row {first.number}: {first.reason}", "Fix its header.")
    names = [str(first.cells.get(at, "")) for at in range(max(first.cells) + 1)]
    header = unique(names)
    numbers = [name for at, name in enumerate(names) if type(first.cells.get(at)) in {int, float}]
    told = told_renamed(names, header)
    if len(numbers) == len(names):
        told = f"the first row is taken for the names of the columns: {', '.join(names[:8])}; if it is none, write names above it"
    fresh = partial(Batch, told=told, columns=tuple(header))
    batch, done, size, before = fresh(), 0, 0, first.number
    for done, row in enumerate(rows, 1):
        if done > position:
            batch.blank += max(0, row.number - before - 1)
            reason = row.reason or _beyond(row, len(header))
            if reason:
                raw = dump_json({str(at + 1): value for at, value in row.cells.items()}).encode()
                batch.rejects.append(Reject(str(path), row.number, -1, len(raw), reason, raw[:KEPT_RAW]))
            else:
                batch.rows.append({header[at]: value for at, value in sorted(row.cells.items())})
                batch.lines.append(row.number)
            size += sum(len(value) if isinstance(value, str) else 8 for value in row.cells.values())
        before = row.number
        if size > BATCH_BYTES or len(batch.rows) >= BATCH_ROWS:
            batch.position, batch.share = done, 0.5
            yield batch
            batch, size = fresh(), 0
    batch.position, batch.share = done, 1.0
    yield batch


def _beyond(row: _SheetRow, width: int) -> str:
    beyond = [at for at in row.cells if at >= width]
    return f"it has a value in column {max(beyond) + 1}, the header has {counted(width, 'column')}" if beyond else ""


def _book_of(path: Path) -> _Book:
    """What the cells of a workbook are read by: the texts that they share, and the formats of moments."""
    book, inside = _Book(path), {member.name for member in members_of(path)}
    codes: dict[str, str] = {}
    within = False

    def properties(tag: str, given: dict[str, str]) -> None:
        if tag == "workbookPr":
            book.from_1904 = given.get("date1904") in {"1", "true", "on"}

    def begin(tag: str, given: dict[str, str]) -> None:
        nonlocal within
        if tag == "numFmt":
            codes[given.get("numFmtId", "")] = given.get("formatCode", "")
        elif tag == "cellXfs":
            within = True
        elif tag == "xf" and within:
            book.styles.append(style_of(given.get("numFmtId", "0"), codes))

    def end(tag: str) -> None:
        nonlocal within
        within = within and tag != "cellXfs"

    _parse(path, _BOOK, properties)
    if "xl/styles.xml" in inside:
        _parse(path, "xl/styles.xml", begin, end)
    if "xl/sharedStrings.xml" in inside:
        texts = _Texts(lambda text: book.texts.append(text), "si")
        _parse(path, "xl/sharedStrings.xml", texts.begin, texts.end, texts.signs)
    return book


class _Texts:
    """Puts the pieces of a text together, without the readings that stand above Japanese."""

    def __init__(self, made: Callable[[str], None], around: str) -> None:
        self._made, self._around = made, around
        self._pieces: list[str] = []
        self._open = self._reading = False

    def begin(self, tag: str, _given: dict[str, str]) -> None:
        if tag == self._around:
            self._pieces = []
        elif tag == "rPh":
            self._reading = True
        self._open = tag == "t" and not self._reading

    def end(self, tag: str) -> None:
        self._open = False
        if tag == "rPh":
            self._reading = False
        elif tag == self._around:
            self._made(_unwritten("".join(self._pieces)))

    def signs(self, text: str) -> None:
        if self._open:
            self._pieces.append(text)


class _Cells:
    """Makes rows of what a sheet's file says; of what is not in a cell nothing is taken."""

    def __init__(self, book: _Book) -> None:
        self.rows: list[_SheetRow] = []
        self._book = book
        self._row = _SheetRow(0)
        self._column = -1
        self._kind = self._style = ""
        self._formula = self._open = False
        self._value: list[str] = []
        self._inline: str | None = None
        self._texts = _Texts(self._take_inline, "is")

    def begin(self, tag: str, given: dict[str, str]) -> None:
        self._texts.begin(tag, given)
        if tag == "row":
            number = given.get("r", "")
            known = number.isdecimal() and len(number) <= _MOST_DIGITS
            self._row = _SheetRow(int(number) if known else self._row.number + 1)
            self._column = -1
        elif tag == "c":
            at = _LETTERS.fullmatch(given.get("r", ""))
            self._column = _column_of(at[1]) if at else self._column + 1
            self._kind, self._style = given.get("t", "n"), given.get("s", "")
            self._formula, self._value, self._inline = False, [], None
        elif tag == "f":
            self._formula = True
        self._open = tag == "v"

    def signs(self, text: str) -> None:
        self._texts.signs(text)
        if self._open:
            self._value.append(text)

    def end(self, tag: str) -> None:
        self._open = False
        self._texts.end(tag)
        if tag == "c":
            try:
                value = self._cell()
            except ValueError as error:
                self._row.reason = self._row.reason or f"column {self._column + 1}: {error}"
            else:
                if value is not None and value != "":
                    self._row.cells[self._column] = value
        elif tag == "row" and (self._row.cells or self._row.reason):
            self.rows.append(self._row)

    def _take_inline(self, text: str) -> None:
        self._inline = text

    def _cell(self) -> Cell | None:
        """The value of a cell; ValueError says why it has none that can be known."""
        if self._column >= _MOST_COLUMNS:
            raise ValueError(f"a sheet has no more than {_MOST_COLUMNS:,} columns")
        if self._kind == "inlineStr":
            return self._inline
        text = "".join(self._value)
        if not text:
            if self._formula and self._kind != "str":
                raise ValueError("a formula without its result: open the workbook, calculate it, and save it")
            return None
        if self._kind == "s":
            number = int(text)
            if not 0 <= number < len(self._book.texts):
                raise ValueError(f"the text {number} is not in the workbook")
            return self._book.texts[number]
        if self._kind == "b":
            return text.strip() in {"1", "true"}
        if self._kind == "n":
            return self._number(text.strip())
        # Results of formulas, errors such as #N/A, and moments, which are texts already.
        return _unwritten(text) if self._kind == "str" else text

    def _number(self, text: str) -> Cell:
        style = self._book.styles[int(self._style)] if self._style.isdecimal() and self._book.styles else Style()
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is no number")
        if style.is_moment:
            return moment(value, style, from_1904=self._book.from_1904)
        return int(text) if _INTEGER.fullmatch(text) and text != "-0" else value


def _rows(book: _Book, member: str, *, only_first: bool = False) -> Iterator[_SheetRow]:
    """The rows of a sheet that have a value, as they are read; with ``only_first`` one, of which values do not count."""
    cells = _Cells(book)
    for _ in _parsed(book.path, member, cells.begin, cells.end, cells.signs):
        made, cells.rows = cells.rows, []
        yield from made
        if only_first and made:
            return


def _parse(
    path: Path, member: str, begin: _Begin, end: _Take = lambda _tag: None, signs: _Take = lambda _text: None
) -> None:
    """Parse a file of a workbook to its end."""
    for _ in _parsed(path, member, begin, end, signs):
        pass


def _parsed(path: Path, member: str, begin: _Begin, end: _Take, signs: _Take) -> Iterator[None]:
    """Parse a file of a workbook piece by piece; names of elements and attributes come without their namespaces."""

    def doctype(*_: object) -> None:
        # What it declares could be as large as somebody wants.
        raise _damaged(path, f"{member} declares a type of document, which no workbook does")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = lambda tag, given: begin(_local(tag), {_local(name): v for name, v in given.items()})
    parser.EndElementHandler = lambda tag: end(_local(tag))
    parser.CharacterDataHandler = signs
    with open_member(path, member) as stream:
        data = b"first"
        while data:
            data = stream.read(_READ_BYTES)
            try:
                parser.Parse(data, not data)
            except expat.ExpatError as error:
                raise _damaged(path, f"{member}: {error}") from None
            yield


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _column_of(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _unwritten(text: str) -> str:
    return _WRITTEN.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _damaged(path: Path, why: str) -> InputRefusedError:
    return InputRefusedError(
        "file_damaged", f"{path} is damaged: {why}", "Open it in a spreadsheet program, and save it again."
    )
