"""Writes cells to a terminal in few bytes: the shortest way to each, and the shortest change of colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

# What switches an attribute on, by its bit in a style, and off. 51 and 52 are off with 54.
ATTRIBUTES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")
_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29", "21": "24",
        "51": "54", "52": "54", "53": "55"}  # fmt: skip
# These are seen on a cell without a sign, too.
SEEN_ON_BLANKS = frozenset({"4", "5", "6", "7", "9", "21", "51", "52", "53"})
# Cells to erase with one sequence instead of with as many spaces: to the end of a line, and within it.
FEW_BLANKS, MANY_BLANKS = 4, 12
# A line down, in the same column: a pty makes two bytes of a line feed, and the first column of another one.
_DOWN = "\x0b"
# Bytes to go to a cell nearby.
_USUAL_WAY = 4
# So many lines are one sequence.
_FAR = 5
# What is written before the first frame asks whether the terminal repeats a sign: the cursor is in the third column, then.
# It asks with one of borders: tmux repeats those of ASCII alone, and leaves out all others.
# It is asked on the second line, as the answer from the first is a key on some terminals.
REPEATS_ASKED = "\x1b[2H─\x1b[b\x1b[6n"
REPEATS_ANSWER = (2, 1)
# Whether it shows pictures: one of five columns moves the cursor behind it, to the sixth or, as some count, one further.
PICTURES_ASKED = "\x1b[2H\x1b_Ga=T,f=24,s=1,v=1,c=5,r=1,i=999,q=2;AAAA\x1b\\\x1b[6n\x1b_Ga=d,d=I,i=999,q=2\x1b\\"
PICTURES_ANSWER = frozenset({5, 6})
# Stands for a part of a picture.
PLACEHOLDER = "\U0010eeee"
# So many lines of a column are drawn downwards, one below the other, and so wide ones.
_TALL, _NARROW = 3, 2


class Look(NamedTuple):
    """How a cell is drawn.

    Attributes:
        attributes: those that are on, as the terminal's numbers.
        ink: the colour of the sign, as the terminal takes it; empty for its own, none where there is no sign to colour.
        paper: the colour behind it.
        link: the sequence that begins a link, or nothing.
    """

    attributes: frozenset[str]
    ink: str | None
    paper: str
    link: str = ""

    @property
    def is_bare(self) -> bool:
        """Whether a cell without a sign shows nothing but the colour behind it."""
        return not self.link and not self.attributes & SEEN_ON_BLANKS


PLAIN = Look(frozenset(), "", "")
# What was on the terminal before: it equals nothing, and is never written.
UNKNOWN = Look(frozenset({"unknown"}), "", "")


class Run(NamedTuple):
    """Cells of one look, side by side.

    Attributes:
        signs: the sign of each, empty where a wide one goes on.
        sure: whether all terminals draw them as wide as we think.
    """

    look: Look
    y: int
    x: int
    signs: list[str]
    sure: bool

    @property
    def end(self) -> int:
        """The column behind them."""
        return self.x + len(self.signs)

    @property
    def order(self) -> tuple[str, str, list[str]]:
        """By colours, and then by attributes: to go to a cell takes fewer bytes than to change the one or the other."""
        return self.look.paper, self.look.ink or "", sorted(self.look.attributes)


class Pen:
    """Writes cells, and knows where the cursor is and which colours are set."""

    def __init__(self, width: int, *, erases: bool, repeats: bool) -> None:
        self._width = width
        self._erases = erases
        self._repeats = repeats
        self._out: list[str] = []
        # Where the cursor is; -1 where nobody knows.
        self._x = self._y = -1
        self._look = PLAIN

    def text(self) -> str:
        """All that was written; the colours are the terminal's own behind it."""
        if self._look != PLAIN:
            self._out.append("\x1b]8;;\x1b\\\x1b[0m" if self._look.link else "\x1b[0m")
            self._look = PLAIN
        return "".join(self._out)

    def move(self, x: int, y: int) -> None:
        """Go to a cell, the shortest way."""
        if (x, y) != (self._x, self._y):
            self._out.append(self._way(x, y))
            self._x, self._y = x, y

    def way_to(self, run: Run) -> int:
        """As many bytes as it takes to begin a run: to go there, and to set its colours."""
        here = (run.x, run.y) == (self._x, self._y)
        return (0 if here else len(self._way(run.x, run.y))) + len(self._change(run.look)[0])

    def _way(self, x: int, y: int) -> str:
        """The shortest way to another cell."""
        whole = f"\x1b[{y + 1}H" if x == 0 else f"\x1b[{y + 1};{x + 1}H"
        if self._y < 0:
            return whole
        down = y - self._y
        lines = _DOWN * down if 0 <= down < _FAR else f"\x1b[{abs(down)}{'B' if down > 0 else 'A'}"
        return min(whole, lines + self._column(x), key=len)

    def _column(self, x: int) -> str:
        """The shortest way to a column of the same line."""
        if x == self._x:
            return ""
        if x == 0:
            return "\r"
        way = f"\x1b[{x + 1}G"
        if self._x >= 0:
            over = x - self._x
            near = "\b" * -over if over < 0 else "\x1b[C" if over == 1 else f"\x1b[{over}C"
            way = min(way, near, key=len)
        return way

    def cost(self, run: Run) -> int:
        """About as many bytes as a run takes, beside its colours."""
        if self._erases and run.end == self._width and run.look.ink is None and run.look.is_bare:
            return _USUAL_WAY + len("\x1b[K")
        return _USUAL_WAY + len((_shortened(run.signs) if self._repeats else "".join(run.signs)).encode())

    def draw(self, runs: Iterable[Run]) -> None:
        """Write runs of cells where they stand, each in its look."""
        for run in runs:
            self.move(run.x, run.y)
            self.wear(run.look)
            self.write(run.signs, sure=run.sure)

    def wear(self, look: Look) -> None:
        """Set what of a look is not set."""
        if look is not self._look:
            change, self._look = self._change(look)
            self._out.append(change)

    def _change(self, look: Look) -> tuple[str, Look]:
        """What sets what of a look is not set, and what is set then."""
        now = self._look
        attributes, ink = look.attributes, look.ink
        if ink is None:
            # Nothing is there to be coloured, or bold.
            attributes, ink = now.attributes - SEEN_ON_BLANKS, now.ink
        off = {_OFF[number] for number in now.attributes - attributes}
        # One sequence switches two of them off.
        again = {number for number in attributes if number not in now.attributes or _OFF[number] in off}
        codes = [*sorted(off), *sorted(again)]
        if ink != now.ink:
            codes.append(ink or "39")
        if look.paper != now.paper:
            codes.append(look.paper or "49")
        link = (look.link or "\x1b]8;;\x1b\\") if look.link != now.link else ""
        colours = f"\x1b[{';'.join(codes)}m" if codes else ""
        return link + colours, look if look.ink is not None else Look(attributes, ink, look.paper, look.link)

    def write(self, signs: list[str], *, sure: bool) -> None:
        """Write cells at the cursor. Behind what is not ``sure`` to be so wide, nobody knows in which column it is."""
        end = self._x + len(signs)
        text = "".join(signs)
        if self._erases and len(signs) >= FEW_BLANKS and text.isspace() and self._look.is_bare:
            # What is erased takes the colour behind it; the cursor stays.
            if end == self._width:
                self._out.append("\x1b[K")
                return
            if len(signs) >= MANY_BLANKS and not self._repeats:
                self._out.append(f"\x1b[{len(signs)}X")
                return
        self._out.append(_shortened(signs) if sure and self._repeats else text)
        # Lines do not wrap: behind the last cell it stays on that.
        self._x = min(end, self._width - 1) if sure else -1


def _shortened(signs: list[str]) -> str:
    """The signs, and for those that repeat, how often."""
    out: list[str] = []
    for sign, same in groupby(signs):
        count = len(list(same))
        whole, short = sign * count, f"{sign}\x1b[{count - 1}b"
        # A wide sign is one, and cells where it goes on.
        out.append(short if count > 1 and sign and len(short.encode()) < len(whole.encode()) else whole)
    return "".join(out)


def downwards(runs: list[Run]) -> Iterator[Run]:
    """Runs of the same look, those below each other in a narrow column first to last, such as the line beside a pane."""
    waiting = {(run.x, run.y): run for run in runs}
    for run in runs:
        if waiting.get((run.x, run.y)) is not run:
            continue
        column = [run]
        if len(run.signs) <= _NARROW and run.sure:
            while (below := waiting.get((run.x, column[-1].y + 1))) is not None and len(below.signs) <= _NARROW:
                column.append(below)
        for one in column if len(column) >= _TALL else [run]:
            del waiting[(one.x, one.y)]
            yield one


def is_sure(sign: str) -> bool:
    """Whether all terminals draw a sign as wide as we think: letters, lines, blocks, braille, and signs of East Asia."""
    return (
        (sign <= "\u25ff" and len(sign) < 2)
        or sign == PLACEHOLDER
        or "\u2800" <= sign <= "\u28ff"
        or "\u2e80" <= sign < "\ufb00"
    )
