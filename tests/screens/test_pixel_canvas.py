"""Charts as pictures in the cells of a terminal that shows some, and braille everywhere else."""

from __future__ import annotations

import base64
import io
import re

import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from screens.frame_delta import FrameDelta
from screens.terminal import detect
from screens.terminal_pen import PICTURES_ASKED, PLACEHOLDER
from screens.widgets.chart import Series, draw
from screens.widgets.pixel_canvas import PixelCanvas

CONSOLE = Console(color_system="truecolor", force_terminal=True)


def drawn(columns: int = 40, rows: int = 6, **series: object) -> tuple[PixelCanvas, list[str]]:
    made: list[PixelCanvas] = []

    def canvas(columns: int, rows: int) -> PixelCanvas:
        made.append(PixelCanvas(columns, rows, {"$accent": "#7aa2f7"}.__getitem__, "chart"))
        return made[-1]

    points = [(0.0, 0.0), (2.0, 5.0), (3.0, 10.0)]
    lines = draw(
        [Series("loss", "$accent", points, **series)],  # type: ignore[arg-type]
        columns, rows, weight=0.0, logarithmic=False, zoom=1.0, utf8=True, canvas=canvas,
    )  # fmt: skip
    return made[0], [line.plain for line in lines]


@pytest.mark.parametrize("dotted", [False, True])
def test_a_picture_has_the_line_and_its_cells_stand_beside_the_axis(dotted: bool) -> None:
    from PIL import Image

    canvas, lines = drawn(dotted=dotted)
    sent = canvas.sent()
    head = re.match(r"\x1b_Ga=T,U=1,i=(\d+),f=100,c=31,r=5,q=2,m=0;", sent)
    assert head is not None
    picture = Image.open(io.BytesIO(base64.b64decode(sent[head.end() : -2])))
    assert picture.size == (31 * 12, 5 * 24)
    colours = {colour for _, colour in picture.getcolors(100_000) or ()}
    assert colours == {(0, 0, 0, 0), (0x7A, 0xA2, 0xF7, 255)}
    # The last point is the highest.
    assert picture.getpixel((picture.width - 2, 1))[3]  # type: ignore[index]
    assert [line.count(PLACEHOLDER) for line in lines] == [31] * 5 + [0]
    assert len({line[line.index(PLACEHOLDER) + 1] for line in lines[:5]}) == 5
    assert lines[0].lstrip().startswith("10")


def test_placeholders_are_written_side_by_side_in_the_colour_that_says_which_picture_it_is() -> None:
    delta = FrameDelta()
    row = PLACEHOLDER + "\u0305\u0305" + PLACEHOLDER * 9
    line = Strip([Segment("│", Style.parse("#ffffff on #000000")), Segment(row, Style.parse("#000007 on #000000"))])
    written = delta.render(LayoutUpdate([[line]], Region(0, 0, 11, 1)), CONSOLE)  # type: ignore[arg-type]
    assert PLACEHOLDER * 9 in written
    assert "38;2;0;0;7" in written


def test_pictures_are_asked_for_where_they_may_be_and_shown_where_the_cursor_moves_behind_one() -> None:
    blank = LayoutUpdate([[Strip([Segment(" " * 20)])]], Region(0, 0, 20, 1))  # type: ignore[arg-type]
    for asks in (True, False):
        delta = FrameDelta(pictures=asks)
        assert (PICTURES_ASKED in delta.render(blank, CONSOLE)) is asks
        delta.answered(2, 1)
        assert not delta.shows_pictures
        delta.answered(5, 1)
        assert delta.shows_pictures is asks


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty"}, True), ({"TERM": "xterm-ghostty"}, True), ({"TERM": "xterm-256color"}, False), ({}, False),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/t"}, False), ({"TERM": "xterm-kitty", "STY": "1"}, False),
        ({"TERM": "xterm-kitty", "SSH_TTY": "/dev/pts/1"}, False), ({"TERM": "xterm-kitty", "LC_ALL": "C.ISO-8859-1"}, False),
    ],
)  # fmt: skip
def test_no_picture_is_expected_of_others_nor_in_a_multiplexer_nor_where_every_byte_travels(
    environment: dict[str, str], expected: bool
) -> None:
    assert detect({"LC_ALL": "C.UTF-8", **environment}).pictures is expected
