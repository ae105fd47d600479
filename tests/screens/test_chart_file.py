"""Charts as files: the picture is well-formed and keeps gaps and foreign names harmless, the figures are exact."""

from __future__ import annotations

import csv
import errno
import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llmops_tui.errors import InputRefusedError
from screens.widgets.chart_file import ChartFile, ChartLine, as_svg, write_chart
from screens.widgets.chart_png import dashed

_SVG = "{http://www.w3.org/2000/svg}"
CHART = ChartFile(
    "loss & <more>",
    "step",
    [
        ChartLine("run-1 loss", [(1.0, 2.5), (2.0, math.nan), (3.0, 0.5), (4.0, 0.25)]),
        ChartLine('run-2 "eval"', [(2.0, 1.0), (4.0, 0.125)]),
    ],
)


def test_the_picture_is_well_formed_with_a_line_for_each_stretch() -> None:
    root = ET.fromstring(as_svg(CHART))
    lines = [one.attrib["points"].split() for one in root.iter(f"{_SVG}polyline")]
    # A gap breaks the first line, and a point alone is a dot.
    assert [len(points) for points in lines] == [2, 2, 2]
    assert len(set(lines[0])) == 1
    texts = [one.text for one in root.iter(f"{_SVG}text")]
    assert "loss & <more>" in texts
    assert {"0.5", "1", "1.5", "2", "2.5"} <= set(texts)
    dashes = {one.attrib["stroke-dasharray"] for one in root.iter(f"{_SVG}polyline")}
    assert len(dashes) == 2


def test_the_figures_are_exact_and_gaps_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "loss.csv"
    write_chart(path, CHART)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["step", "run-1 loss", 'run-2 "eval"'],
            ["1", "2.5", ""],
            ["2", "", "1.0"],
            ["3", "0.5", ""],
            ["4", "0.25", "0.125"],
        ]


@pytest.mark.parametrize("name", ["=1+2", "+cmd|x", "-x", "@sum", "\tx", "\rx"])
def test_no_name_is_computed_by_a_spreadsheet(tmp_path: Path, name: str) -> None:
    path = tmp_path / "loss.csv"
    write_chart(path, ChartFile("loss", name, [ChartLine(name, [(1.0, -2.5)])]))
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [[f"'{name}", f"'{name}"], ["1", "-2.5"]]


@pytest.mark.parametrize("name", ["loss.csv", "loss.svg", "loss.png"])
def test_a_file_that_is_overwritten_stays_whole_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.write_text("kept")

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("llmops_tui.workspace.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_chart(path, CHART, overwrite=True)
    assert path.read_text() == "kept"
    assert [one.name for one in tmp_path.iterdir() if "loss" in one.name] == [name]


def test_the_picture_is_a_png_with_lines_told_apart_without_colour(tmp_path: Path) -> None:
    from PIL import Image

    write_chart(tmp_path / "loss.png", CHART)
    image = Image.open(tmp_path / "loss.png").convert("RGB")
    assert image.size == (1920, 960)
    found = {colour for _, colour in image.getcolors(1 << 20) or []}
    assert {(255, 255, 255), (0x1F, 0x5F, 0xBF), (0xA6, 0x5E, 0x00)} <= found
    assert (0, 0, 0) in found  # letters
    assert list(dashed([(0, 0), (10, 0)], [4, 2])) == [[(0, 0), (4, 0)], [(6, 0), (10, 0)]]
    around = [((0, 0), (3, 0), (3, 3))]
    assert list(dashed(around[0], [4, 1])) == [[(0, 0), (3, 0), (3, 1)], [(3, 2), (3, 3)]]


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [-1e12, 1e12], [1e-9, 2e-9], [math.nan, 5.0]])
def test_any_values_make_a_picture(values: list[float]) -> None:
    line = ChartLine("x", [(1e9 + n, value) for n, value in enumerate(values)])
    root = ET.fromstring(as_svg(ChartFile("t", "time", [line])))
    for one in root.iter(f"{_SVG}polyline"):
        for point in one.attrib["points"].split():
            assert all(0 <= float(part) <= 960 for part in point.split(","))


@pytest.mark.parametrize(("name", "code"), [("a.gif", "bad_suffix"), ("there.svg", "file_exists")])
def test_a_file_that_is_there_or_of_no_known_kind_is_refused(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "there.svg").write_text("mine")
    with pytest.raises(InputRefusedError) as refused:
        write_chart(tmp_path / name, CHART)
    assert refused.value.code == code
    assert (tmp_path / "there.svg").read_text() == "mine"
    with pytest.raises(InputRefusedError) as empty:
        write_chart(tmp_path / "new.svg", ChartFile("t", "step", [ChartLine("x", [])]))
    assert empty.value.code == "no_data"
