"""What is written of a frame shows on a terminal what the whole frame would."""

from __future__ import annotations

import random

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from screens.frame_delta import FrameDelta
from screens.terminal_pen import REPEATS_ANSWER
from tests.emulated import EmulatedScreen, EmulatedStream

WIDTH, HEIGHT = 24, 5
# Where one widget ends and the next begins: no sign reaches over it, as pyte leaves half of one that is cut.
CUT = 11
CONSOLE = Console(color_system="truecolor", force_terminal=True)
STYLES = [
    Style.parse(said)
    for said in ("#c0caf5 on #1a1b26", "bold #7aa2f7 on #1a1b26", "italic #c0caf5 on #24283b", "underline red on black", "reverse", "reverse red on blue", "")
]  # fmt: skip
SIGNS = ["abc", "   ", "───", "x  y", "é", "한글", "│", "⣿⣷", "        ", "✓", "日"]


class Screen:
    """A terminal that is written to, as pyte reads it."""

    def __init__(self, *, repeats: bool = True) -> None:
        self.screen = EmulatedScreen(WIDTH, HEIGHT)
        self.screen.reset_mode(pyte.modes.DECAWM)
        self.stream = (EmulatedStream if repeats else pyte.Stream)(self.screen)

    def write(self, text: str) -> None:
        self.stream.feed(text)

    def cells(self) -> list[list[tuple[object, ...]]]:
        """All that is seen: on a cell without a sign, what lies behind it."""
        out = []
        for y in range(HEIGHT):
            line: list[tuple[object, ...]] = []
            for x in range(WIDTH):
                char = self.screen.buffer[y][x]
                front, back, turned = char.fg, char.bg, char.reverse
                if turned and "default" not in {front, back}:
                    front, back, turned = back, front, False
                seen = char.underscore, turned, char.strikethrough
                ink = (front, char.bold, char.italics) if char.data.strip() or any(seen) else ()
                line.append((char.data, back, seen, ink))
            out.append(line)
        return out


def strip(draw: random.Random, width: int) -> Strip:
    """A line of some widgets."""
    segments: list[Segment] = []
    while sum(segment.cell_length for segment in segments) < width:
        segments.append(Segment(draw.choice(SIGNS), draw.choice(STYLES)))
    return Strip(segments).adjust_cell_length(width, STYLES[0]).crop(0, width)


def whole(draw: random.Random, *, like: list[Strip] | None = None) -> tuple[LayoutUpdate, list[Strip]]:
    """A whole frame, in which lines may be those of the one before."""
    lines = [
        like[y]
        if like is not None and draw.random() < 0.5
        else Strip.join([strip(draw, CUT), strip(draw, WIDTH - CUT)])
        for y in range(HEIGHT)
    ]
    return LayoutUpdate([[line] for line in lines], Region(0, 0, WIDTH, HEIGHT)), lines


def part(draw: random.Random) -> ChopsUpdate:
    """Some widgets, side by side on each line, of which one is drawn on some lines."""
    chops = [{0: strip(draw, CUT), CUT: strip(draw, WIDTH - CUT)} for _ in range(HEIGHT)]
    lines = sorted(draw.sample(range(HEIGHT), draw.randrange(1, HEIGHT)))
    spans = [(y, 0, CUT) if draw.random() < 0.5 else (y, CUT, WIDTH) for y in lines]
    return ChopsUpdate(chops, spans, [[CUT, WIDTH] for _ in range(HEIGHT)])


@given(seed=st.integers(0, 2**32), erases=st.booleans(), repeats=st.booleans())
def test_a_terminal_shows_the_same_as_with_all_that_textual_writes(seed: int, erases: bool, repeats: bool) -> None:
    draw = random.Random(seed)
    delta, plain, short = FrameDelta(erases=erases), Screen(), Screen()
    if repeats:
        delta.answered(*REPEATS_ANSWER)
    frame: CompositorUpdate
    frame, lines = whole(draw)
    for _ in range(6):
        plain.write(frame.render_segments(CONSOLE))
        short.write(delta.render(frame, CONSOLE))
        assert short.cells() == plain.cells()
        if draw.random() < 0.5:
            frame, lines = whole(draw, like=lines)
        else:
            frame = part(draw)


def frames() -> tuple[CompositorUpdate, FrameDelta]:
    draw = random.Random(7)
    delta = FrameDelta()
    frame, _ = whole(draw)
    delta.render(frame, CONSOLE)
    return frame, delta


def test_the_same_frame_again_is_nothing() -> None:
    frame, delta = frames()
    assert delta.render(frame, CONSOLE) == ""


def test_what_the_terminal_lost_is_written_again_with_the_next_frame_whatever_that_is_of() -> None:
    draw = random.Random(3)
    frame, delta = frames()
    delta.forget()
    lost, kept = Screen(), Screen()
    kept.write(frame.render_segments(CONSOLE))
    change = part(draw)
    kept.write(change.render_segments(CONSOLE))
    lost.write(delta.render(change, CONSOLE))
    assert lost.cells() == kept.cells()
    assert delta.render(change, CONSOLE) == ""


def test_another_size_is_another_terminal() -> None:
    _, delta = frames()
    line = Strip([Segment("ab" * 15, STYLES[0])])
    bigger = LayoutUpdate([[line]] * (HEIGHT + 1), Region(0, 0, 30, HEIGHT + 1))
    assert delta.render(bigger, CONSOLE).count("ab" * 15) == HEIGHT + 1


@pytest.mark.parametrize(
    ("before", "after", "written"),
    [
        ("one two three", "one 2   three", "\x1b[1;5H\x1b[38;2;192;202;245;48;2;26;27;38m2  \x1b[0m"),
        ("one two three", "one two tree ", "\x1b[1;10H\x1b[38;2;192;202;245;48;2;26;27;38mree \x1b[0m"),
        ("a" * 24, "a" + " " * 23, "\x1b[1;2H\x1b[48;2;26;27;38m\x1b[K\x1b[0m"),
        ("a" * 24, "a" + " " * 14 + "a" * 9, "\x1b[1;2H\x1b[48;2;26;27;38m\x1b[14X\x1b[0m"),
    ],
)
def test_only_what_differs_is_written(before: str, after: str, written: str) -> None:
    delta = FrameDelta()
    for text in (before, after):
        lines = [[Strip([Segment(text.ljust(WIDTH), STYLES[0])])]]
        told = delta.render(LayoutUpdate(lines, Region(0, 0, WIDTH, 1)), CONSOLE)  # type: ignore[arg-type]
    assert told == written


def test_a_line_with_a_sign_that_terminals_draw_differently_is_written_whole_and_found_again_behind_it() -> None:
    delta = FrameDelta()
    for text in ("👍 yes, 3 of 4", "👍 yes, 4 of 4"):
        line = Strip([Segment(text, STYLES[0])]).adjust_cell_length(WIDTH, STYLES[0])
        told = delta.render(LayoutUpdate([[line]], Region(0, 0, WIDTH, 1)), CONSOLE)
    assert "👍\x1b[3G" in told
    assert "yes," in told


@pytest.mark.parametrize("kind", ["all", "of ASCII", "none"])
def test_the_terminal_is_asked_whether_it_repeats_signs_and_lines_are_written_so_where_it_does(kind: str) -> None:
    repeats = kind == "all"
    delta, screen = FrameDelta(), Screen(repeats=kind != "none")
    if isinstance(screen.screen, EmulatedScreen):
        screen.screen.ascii_alone = not repeats
    told: list[str] = []
    screen.screen.answer = told.append
    frames = [LayoutUpdate([[Strip([Segment(text, STYLES[0])])]], Region(0, 0, WIDTH, 1)) for text in ("", "─" * 24)]  # type: ignore[arg-type]
    screen.write(delta.render(frames[0], CONSOLE))
    assert len(told) == 1
    assert (told[0] == "\x1b[2;3R") is repeats
    row, column = (int(number) for number in told[0][2:-1].split(";"))
    delta.answered(column - 1, row - 1)
    written = delta.render(frames[1], CONSOLE)
    assert ("─\x1b[23b" in written) is repeats
    assert ("─" * 24 in written) is not repeats


def test_the_line_beside_a_pane_is_written_downwards() -> None:
    delta = FrameDelta()
    for sign in " │":
        line = Strip([Segment(f"{sign}{'text':10}{sign}".ljust(WIDTH), STYLES[0])])
        told = delta.render(LayoutUpdate([[line]] * 4, Region(0, 0, WIDTH, 4)), CONSOLE)
    assert told.count("│\x0b\r│\x0b\r│\x0b\r│") == told.count("│\x0b\b│\x0b\b│\x0b\b│") == 1
