"""Excel workbooks: what is in the cells is what rows have, with its type; what cannot be known is refused by its row."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.import_preview import preview
from llmops_tui.datasets.sources.base import Batch, Source
from llmops_tui.datasets.sources.cell_moments import Style, moment, style_of
from llmops_tui.datasets.sources.discovery import find_sources, tables_of
from llmops_tui.datasets.sources.workbooks import read_workbook
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from tests.datasets.conftest import rows_of

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
# 0 is general, 1 a date, 2 a date with its time, 3 a time, 4 a duration, 5 money.
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><numFmts><numFmt numFmtId="170" formatCode="[h]:mm:ss"/>'
    '<numFmt numFmtId="171" formatCode="[$€-407] #,##0.00 &quot;day&quot;"/></numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="21"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs></styleSheet>'
)
Sheets = Mapping[str, str]


def cell(place: str, kind: str = "", value: str = "", style: int = 0, formula: str = "") -> str:
    of = f' t="{kind}"' if kind else ""
    inner = f"<is><t>{escape(value)}</t></is>" if kind == "inlineStr" else f"<v>{escape(value)}</v>" if value else ""
    return f'<c r="{place}" s="{style}"{of}>{f"<f>{formula}</f>" if formula else ""}{inner}</c>'


def header(*names: str) -> str:
    return (
        "<row r='1'>" + "".join(cell(f"{'ABCDEFGH'[n]}1", "inlineStr", name) for n, name in enumerate(names)) + "</row>"
    )


def write(path: Path, sheets: Sheets, texts: Sequence[str] = (), *, properties: str = "", before: str = "") -> Path:
    """A workbook, whose sheets are given by what is in their ``sheetData``; ``texts`` are the shared ones, as XML."""
    names = "".join(f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets))
    links = "".join(
        f'<Relationship Id="r{n}" Type="{LINKS}/worksheet" Target="worksheets/s{n}.xml"/>' for n in range(len(sheets))
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{LINKS}">{properties}<sheets>{names}</sheets></workbook>',
        )
        file.writestr("xl/_rels/workbook.xml.rels", f"<Relationships>{links}</Relationships>")
        file.writestr("xl/styles.xml", STYLES)
        file.writestr(
            "xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{"".join(f"<si>{text}</si>" for text in texts)}</sst>'
        )
        for n, data in enumerate(sheets.values()):
            file.writestr(
                f"xl/worksheets/s{n}.xml",
                f'{before}<worksheet xmlns="{MAIN}"><sheetData>{data}</sheetData></worksheet>',
            )
    return path


def read(path: Path, sheet: str = "s", position: int = 0) -> list[Batch]:
    return list(read_workbook(Source(path, "workbook", table=sheet), position, 0))


def test_cells_keep_their_types(store: DatasetStore, tmp_path: Path) -> None:
    data = header("text", "whole", "real", "yes", "day", "moment", "long") + (
        "<row r='2'>" + cell("A2", "s", "0") + cell("B2", "", "3") + cell("C2", "", "0.5") + cell("D2", "b", "1")
        + cell("E2", "", "45350", 1) + cell("F2", "", "45350.75", 2) + cell("G2", "", "1.5", 4) + "</row>"
        "<row r='4'>" + cell("A4", "s", "1") + cell("B4", "", "-4") + cell("C4", "", "1E-3", 5) + cell("D4", "b", "0")
        + cell("E4", "", "59", 1) + cell("F4", "d", "2024-01-02T03:04:05") + cell("G4", "", "0.25", 3) + "</row>"
    )  # fmt: skip
    shared = [
        "<r><t>a </t></r><r><t>b_x000D_c_x005F_</t></r><rPh><t>reading</t></rPh>",
        '<t xml:space="preserve"> 1</t>',
    ]
    path = write(tmp_path / "a.xlsx", {"s": data}, shared)
    made = import_now(store, [path], "cells", "tabular")
    assert rows_of(made) == [
        {"text": "a b\rc_", "whole": 3, "real": 0.5, "yes": True, "day": "2024-02-28", "moment": "2024-02-28T18:00:00", "long": "PT129600S"},
        {"text": " 1", "whole": -4, "real": 0.001, "yes": False, "day": "1900-02-28", "moment": "2024-01-02T03:04:05", "long": "06:00:00"},
    ]  # fmt: skip
    assert {c.name: c.type for c in made.columns} == {
        "text": "text", "whole": "integer", "real": "number", "yes": "boolean", "day": "text", "moment": "text", "long": "text",
    }  # fmt: skip


def test_what_a_cell_does_not_say_refuses_its_row(tmp_path: Path) -> None:
    data = header("a", "b") + (
        "<row r='2'>" + cell("A2", "", "", formula="1+1") + "</row>"
        "<row r='3'>" + cell("A3", "str", "", formula="x") + cell("B3", "", "2") + "</row>"
        "<row r='4'>" + cell("A4", "s", "7") + "</row>"
        "<row r='5'>" + cell("A5", "", "nan") + "</row>"
        "<row r='6'>" + cell("A6", "e", "#N/A") + cell("B6", "", "12345678901234567890") + "</row>"
        "<row r='9'>" + cell("A9", "", "1") + cell("D9", "", "2") + "</row><row r='10'></row>"
    )  # fmt: skip
    (batch,) = read(write(tmp_path / "a.xlsx", {"s": data}))
    assert batch.rows == [{"b": 2}, {"a": "#N/A", "b": 12345678901234567890}]
    assert batch.lines == [3, 6]
    reasons = {reject.line: reject.reason for reject in batch.rejects}
    assert "formula without its result" in reasons[2]
    assert "text 7" in reasons[4]
    assert "nan is no number" in reasons[5]
    assert reasons[9] == "it has a value in column 4, the header has 2 columns"
    assert batch.blank == 2
    assert [b.rows for b in read(tmp_path / "a.xlsx", position=2)] == [[batch.rows[1]]]


def test_a_sheet_is_chosen_where_several_have_cells(store: DatasetStore, tmp_path: Path) -> None:
    full = header("a") + "<row>" + cell("", "", "1") + "</row>"
    path = write(tmp_path / "a.xlsx", {"one & two": full, "empty": "", "three": full})
    with pytest.raises(InputRefusedError, match="2 sheets: one & two, three"):
        find_sources(path)
    assert tables_of(path) == ["one & two", "empty", "three"]
    with pytest.raises(InputRefusedError, match="no sheet 'four'"):
        find_sources(path, table="four")
    assert rows_of(import_now(store, [path], "three", "tabular", table="three")) == [{"a": 1}]
    alone = preview(store, [write(tmp_path / "b.xlsm", {"x": "", "y": full})])
    assert alone.rows == ({"a": 1},)
    assert "other sheets are empty" in " ".join(alone.proposal.evidence)
    with pytest.raises(InputRefusedError, match="no sheet of"):
        find_sources(write(tmp_path / "c.xlsx", {"x": ""}))
    # In a folder it is read as any file of rows.
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "a.xlsx", {"x": full})
    assert rows_of(import_now(store, [tmp_path / "folder"], "folder", "tabular")) == [{"a": 1}]


def test_damaged_workbooks_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    with pytest.raises(InputRefusedError, match="type of document"):
        find_sources(write(tmp_path / "a.xlsx", {"s": header("a")}, before=bomb))
    with pytest.raises(InputRefusedError, match=r"s0\.xml: mismatched tag"):
        find_sources(write(tmp_path / "b.xlsx", {"s": "<row>"}))
    (tmp_path / "c.xlsx").write_text("a,b\n1,2\n")
    with pytest.raises(InputRefusedError, match="no Excel workbook"):
        find_sources(tmp_path / "c.xlsx")


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=8), st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: v != int(v) if abs(v) < 1e15 else False), st.booleans(),
)  # fmt: skip


@given(st.lists(st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "c": VALUES}), min_size=1, max_size=6))
def test_rows_come_back_as_they_are(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    def written(place: str, value: object) -> str:
        if isinstance(value, str):
            return cell(place, "inlineStr", value.replace("_x", "_x005F_x"))
        return cell(place, "b", str(int(value))) if isinstance(value, bool) else cell(place, "n", repr(value))

    data = header("a", "b", "c") + "".join(
        f"<row r='{n}'>" + "".join(written(f"{name.upper()}{n}", value) for name, value in row.items()) + "</row>"
        for n, row in enumerate(rows, 2)
    )
    path = write(tmp_path_factory.mktemp("books") / "a.xlsx", {"s": data})
    batches = read(path)
    assert [repr(row) for batch in batches for row in batch.rows] == [
        repr(dict(sorted(row.items()))) for row in rows if row
    ]


@pytest.mark.parametrize(
    ("code", "style"),
    [
        ("General", Style()), ("0.00%", Style()), ('#,##0 "days"', Style()), ("[Red]0.0", Style()), ("[$USD-409] 0", Style()),
        ("yyyy-mm-dd", Style(date=True)), ("mmm", Style(date=True)), ("hh:mm", Style(time=True)), ("d.m.yy h:mm;@", Style(date=True, time=True)),
        ("[mm]:ss", Style(elapsed=True)), (r"0\d", Style()), ("[$-411]ge.m.d", Style(date=True)),
    ],
)  # fmt: skip
def test_formats_say_what_numbers_mean(code: str, style: Style) -> None:
    assert style_of("170", {"170": code}) == style


@pytest.mark.parametrize(
    ("days", "style", "from_1904", "text"),
    [
        (60, Style(date=True), False, "1900-02-29"), (61, Style(date=True), False, "1900-03-01"), (1, Style(date=True), False, "1900-01-01"),
        (0, Style(date=True), True, "1904-01-01"), (0.5, Style(date=True), False, "1899-12-31T12:00:00"), (1.25, Style(time=True), True, "1904-01-02T06:00:00"),
        (2958465.999, Style(date=True, time=True), False, "9999-12-31T23:58:33.600"), (3e6, Style(date=True), False, 3e6), (-1.0, Style(date=True), False, -1.0),
        (-0.5, Style(elapsed=True), False, "-PT43200S"), (1 / 86400_000, Style(elapsed=True), False, "PT0.001S"), (0.1, Style(date=True, time=True), True, "1904-01-01T02:24:00"),
    ],
)  # fmt: skip
def test_numbers_of_days_are_moments(days: float, style: Style, from_1904: bool, text: str | float) -> None:
    assert moment(days, style, from_1904=from_1904) == text
