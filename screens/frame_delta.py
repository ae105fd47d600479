"""The part of a frame that the terminal does not show yet.

Textual writes every widget that was laid out or refreshed with all its colours, although most of its cells are on the terminal
already: a change of screen is twenty to ninety thousand bytes. Here what was written is remembered cell by cell, and of a new
frame those cells are written that differ, with the shortest way to them and the shortest change of colours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate

from screens.frame_pieces import graphemes, pieces_of
from screens.terminal_pen import (
    ATTRIBUTES,
    FEW_BLANKS,
    MANY_BLANKS,
    PICTURES_ANSWER,
    PICTURES_ASKED,
    PLAIN,
    REPEATS_ANSWER,
    REPEATS_ASKED,
    UNKNOWN,
    Look,
    Pen,
    Run,
    downwards,
    is_sure,
)

# So few cells between two changes are written again: to step over them takes as many bytes.
_SHORT_GAP = 2
# A line whose change takes more bytes than so many may take fewer if it is erased before.
_WORTH_A_LOOK = 24


class _Row:
    """The cells of a line: the sign of each, empty where a wide one goes on, and the look of each."""

    __slots__ = ("looks", "signs")

    def __init__(self, width: int) -> None:
        self.signs = [" "] * width
        self.looks = [UNKNOWN] * width

    @property
    def is_simple(self) -> bool:
        """Whether each cell has one sign of its own, as wide as it."""
        return "" not in self.signs and len("".join(self.signs)) == len(self.signs)

    def copy(self) -> _Row:
        """Another one like it."""
        other = _Row(0)
        other.signs, other.looks = self.signs.copy(), self.looks.copy()
        return other

    def put(self, at: int, signs: list[str], looks: list[Look]) -> None:
        """Write cells; of a wide sign that is cut in two, nothing is left."""
        end = min(at + len(signs), len(self.signs))
        before, behind = at, end
        while 0 < before < len(self.signs) and self.signs[before] == "":
            before -= 1
            self.signs[before] = " "
        while behind < len(self.signs) and self.signs[behind] == "":
            self.signs[behind] = " "
            behind += 1
        self.signs[at:end], self.looks[at:end] = signs[: end - at], looks[: end - at]


class _Difference(CompositorUpdate):
    """What differs in a frame, worked out when it is written."""

    def __init__(self, delta: FrameDelta, update: CompositorUpdate) -> None:
        self._delta, self._update = delta, update

    def render_segments(self, console: Console) -> str:
        """What to write so that the terminal shows the frame."""
        return self._delta.render(self._update, console)


class FrameDelta:
    """Remembers what the terminal shows, and writes what is new. For one terminal, and one thread.

    Attributes:
        shows_pictures: whether it said that it shows some; it is asked only where ``pictures`` are expected of it.
    """

    def __init__(self, *, erases: bool = True, pictures: bool = False) -> None:
        self._erases = erases
        self._asks_pictures = pictures
        self.shows_pictures = False
        self._repeats = False
        self._rows: list[_Row] = []
        self._width = 0
        self._forgotten = False
        self._looks: dict[Style, tuple[Look, Look]] = {}

    @property
    def has_begun(self) -> bool:
        """Whether a frame was written."""
        return bool(self._rows)

    def forget(self) -> None:
        """Others wrote to the terminal, or it changed its size: all is written with the next frame."""
        self._forgotten = True

    def answered(self, x: int, y: int) -> None:
        """The terminal says where the cursor is: what was asked with the first frame tells by that what it can."""
        self.shows_pictures = self.shows_pictures or (self._asks_pictures and x in PICTURES_ANSWER)
        self._repeats = self._repeats or (x, y) == REPEATS_ANSWER

    def of(self, frame: RenderableType | None) -> RenderableType | None:
        """What differs in a frame of the compositor; all else as it is."""
        return _Difference(self, frame) if isinstance(frame, CompositorUpdate) else frame

    def render(self, update: CompositorUpdate, console: Console) -> str:
        """What to write so that the terminal shows a frame."""
        colours = console._color_system or ColorSystem.TRUECOLOR  # noqa: SLF001  as Textual's strips do
        pieces = pieces_of(update)
        if pieces is None:
            self._rows = []
            return update.render_segments(console)
        width, height, drawn = pieces
        asked = "" if self._rows else REPEATS_ASKED + (PICTURES_ASKED if self._asks_pictures else "")
        if (width, height) != (self._width, len(self._rows)):
            self._rows, self._width, self._forgotten = [_Row(width) for _ in range(height)], width, False
        changed: dict[int, _Row] = {}
        for y, x, segments in drawn:
            if y < height:
                row = changed.get(y) or changed.setdefault(y, self._rows[y].copy())
                at = x
                for segment in segments:
                    signs, looks = self._cells(segment, colours)
                    row.put(at, signs, looks)
                    at += len(signs)
        pen = Pen(width, erases=self._erases, repeats=self._repeats)
        erased: list[Run] = []
        runs: list[Run] = []
        for y in range(height) if self._forgotten else sorted(changed):
            row = changed.get(y, self._rows[y])
            shown = _Row(width) if self._forgotten else self._rows[y]
            if shown.is_simple and row.is_simple:
                begun, rest = self._line(y, shown, row, pen)
                erased += begun
                runs += rest
            elif row.signs != shown.signs or row.looks != shown.looks:
                # Terminals differ in how wide they draw such signs: the line is written whole, from its beginning.
                pen.draw(_runs(y, row, 0, width))
            self._rows[y] = row
        self._forgotten = False
        pen.draw(sorted(erased, key=lambda run: run.order))
        alike = groupby(sorted(runs, key=lambda run: run.order), key=lambda run: run.order)
        left = [list(downwards(list(some))) for _, some in alike]
        while left:
            # Where the way to the first of them and the change of colours are shortest.
            nearest = min(left, key=lambda some: pen.way_to(some[0]))
            left.remove(nearest)
            pen.draw(nearest)
        return asked + pen.text()

    def _line(self, y: int, shown: _Row, row: _Row, pen: Pen) -> tuple[list[Run], list[Run]]:
        """What to erase of a line, and then what to write: the way of fewest bytes."""
        best: tuple[list[Run], list[Run]]
        runs = _differing(y, shown, row)
        usual = sum(map(pen.cost, runs))
        if not self._erases or usual < _WORTH_A_LOOK:
            return [], runs
        begin, best, least = runs[0].x, ([], runs), usual
        # To the end of the line, which is short to say, or to the last change, which leaves the line beside a pane.
        for end in dict.fromkeys((len(row.signs), runs[-1].end)):
            blanks = Counter(look for look in row.looks[begin:end] if look.ink is None)
            if blanks.total() < FEW_BLANKS:
                continue
            blank = max(blanks, key=lambda look: blanks[look])
            cleared = shown.copy()
            cleared.put(begin, [" "] * (end - begin), [blank] * (end - begin))
            first, rest = Run(blank, y, begin, cleared.signs[begin:end], sure=True), _differing(y, cleared, row)
            cost = pen.cost(first) + sum(map(pen.cost, rest))
            if cost < least:
                best, least = ([first], rest), cost
        return best

    def _cells(self, segment: Segment, colours: ColorSystem) -> tuple[list[str], list[Look]]:
        text, style, _ = segment
        look, blank = self._look(style, colours)
        if text.isascii():
            signs = list(text)
        else:
            signs = []
            for sign, cells in graphemes(text):
                signs.append(sign)
                signs.extend([""] * (cells - 1))
        if " " in text:
            return signs, [blank if sign == " " else look for sign in signs]
        return signs, [look] * len(signs)

    def _look(self, style: Style | None, colours: ColorSystem) -> tuple[Look, Look]:
        """The look of signs and of spaces in a style; always the same objects for the same looks."""
        if style is None:
            return PLAIN, PLAIN
        known = self._looks.get(style)
        if known is None:
            if len(self._looks) > 4096:
                self._looks.clear()
            bits = style._attributes & style._set_attributes  # noqa: SLF001
            on = frozenset(number for bit, number in enumerate(ATTRIBUTES) if bits & (1 << bit))
            ink = ";".join(style.color.downgrade(colours).get_ansi_codes()) if style.color is not None else ""
            paper = (
                ";".join(style.bgcolor.downgrade(colours).get_ansi_codes(False)) if style.bgcolor is not None else ""
            )
            link = f"\x1b]8;id={style._link_id};{style._link}\x1b\\" if style._link else ""  # noqa: SLF001
            look = Look(on, ink, paper, link)
            known = self._looks[style] = look, Look(frozenset(), None, paper) if look.is_bare else look
        return known


def _differing(y: int, shown: _Row, row: _Row) -> list[Run]:
    """The runs of a line that the terminal does not show yet."""
    spans: list[tuple[int, int]] = []
    for x, (sign, was, look, worn) in enumerate(zip(row.signs, shown.signs, row.looks, shown.looks, strict=True)):
        if sign != was or (look is not worn and look != worn):
            begin = spans.pop()[0] if spans and _is_short_gap(row, spans[-1][1], x) else x
            spans.append((begin, x + 1))
    return [run for begin, end in spans for run in _joined(_runs(y, row, begin, end), len(row.signs))]


def _is_short_gap(row: _Row, begin: int, end: int) -> bool:
    """Whether to step over cells that are right takes more bytes than to write them again."""
    if end - begin > _SHORT_GAP or not "".join(row.signs[begin:end]).isascii():
        return False
    before, behind = row.looks[begin - 1], row.looks[end]
    return all(
        look is before or look is behind or (look.ink is None and look.paper == before.paper and before.is_bare)
        for look in row.looks[begin:end]
    )


def _runs(y: int, row: _Row, begin: int, end: int) -> Iterator[Run]:
    """Cells of a line in runs of one look, of which each ends behind a sign that is not sure."""
    x = begin
    while x < end:
        look, stop, sure = row.looks[x], x + 1, is_sure(row.signs[x])
        while stop < end and row.looks[stop] is look and (sure or row.signs[stop] == ""):
            sure = sure and is_sure(row.signs[stop])
            stop += 1
        if look is not UNKNOWN:
            yield Run(look, y, x, row.signs[x:stop], sure)
        x = stop


def _joined(runs: Iterable[Run], width: int) -> list[Run]:
    """Runs with the few blanks between them, which need no colours of their own."""
    out: list[Run] = []
    for run in runs:
        before = out[-1] if out else None
        near = before is not None and before.sure and before.end == run.x
        if before is not None and near and before.look.paper == run.look.paper:
            if run.look.ink is None and before.look.is_bare and not _erased(run, width):
                out[-1] = before._replace(signs=[*before.signs, *run.signs])
                continue
            if before.look.ink is None and run.look.is_bare and not _erased(before, width):
                out[-1] = run._replace(x=before.x, signs=[*before.signs, *run.signs])
                continue
        out.append(run)
    return out


def _erased(run: Run, width: int) -> bool:
    """Whether it is better erased than written."""
    return len(run.signs) >= (FEW_BLANKS if run.end == width else MANY_BLANKS)
