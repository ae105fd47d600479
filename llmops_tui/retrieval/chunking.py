"""Cutting a text into chunks: along its structure first, then by size.

A section that fits is a chunk. One that does not is cut at its headings, then between its paragraphs, then at the ends of
sentences or lines, between words, and at last between characters. Chunks are in the order of the text, do not overlap, and
leave out nothing but space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Another one is told of indexes that were made by this one: what they have is cut otherwise.
REVISION = 2
TOKENS = 300
PATH = " › "
_PIECE = re.compile(r"[^\W_]+|[^\w\s]|_")
# Scripts that are written without spaces between words.
UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
_LINE = re.compile(r"[^\n\f]*[\n\f]|[^\n\f]+")
_HEADING = re.compile(r" {0,3}(#{1,6})(?![^ \t])")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LISTED = re.compile(r"[ \t]*(?:[|>]|[-*+][ \t]|\d{1,9}[.)][ \t])")
# The ends of sentences; those of Chinese and Japanese have no space behind them.
_SENTENCE = re.compile(r"(?<=[.!?…])[\"')\]»”’]*\s+|(?<=[。！？])")
_LINES = re.compile(r"\n+")
_WORDS = re.compile(r"\s+")
_TITLE = 200
_CODE = -1
# No token is estimated for more characters without a space.
_LONGEST = 7
_JOINER = "\u200d"


@dataclass(frozen=True)
class Chunk:
    """A part of a text, in characters; ``above`` are the headings that it stands under, ``heading`` these and its own."""

    start: int
    end: int
    heading: str
    above: str
    tokens: int


@dataclass(frozen=True)
class _Block:
    """A heading of a ``level`` from 1 to 6, else a paragraph, list, table (0) or code (-1)."""

    start: int
    end: int
    level: int
    title: str
    tokens: int


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has for a model: words by their length, and characters where there are no spaces."""
    found = 0
    for piece in _PIECE.findall(text):
        if piece.isascii():
            found += 1 + (len(piece) - 1) // 6
        else:
            unspaced = len(_UNSPACED.findall(piece))
            rest = len(piece) - unspaced
            found += unspaced + (rest + 2) // 3
    return found


def cut(text: str, *, structured: bool, tokens: int = TOKENS) -> list[Chunk]:
    """The chunks of a text, each of about so many tokens at most; ``structured`` texts are Markdown.

    For each: ``text[start:end]`` begins and ends with a character that is no space.
    """
    blocks = list(_blocks(text, structured=structured))
    return [chunk for chunk in _section(text, blocks, (), tokens) if chunk.start < chunk.end]


def _section(text: str, blocks: Sequence[_Block], above: tuple[str, ...], most: int) -> Iterator[Chunk]:
    if not blocks:
        return
    if sum(block.tokens for block in blocks) <= most:
        yield _chunk(text, blocks[0].start, blocks[-1].end, above, blocks[0].title)
        return
    inner = [at for at, block in enumerate(blocks) if block.level > 0 and at > 0]
    if not inner:
        yield from _packed(text, blocks, above, most)
        return
    highest = min(blocks[at].level for at in inner)
    own = blocks[0].level if blocks[0].level > 0 else highest
    # A heading that is no lower than the first does not stand under it.
    under = (*above, blocks[0].title) if blocks[0].level > 0 and own < highest else above
    cuts = [0, *(at for at in inner if blocks[at].level == highest), len(blocks)]
    for begin, end in pairwise(cuts):
        yield from _section(text, blocks[begin:end], above if begin == 0 else under, most)


def _packed(text: str, blocks: Sequence[_Block], above: tuple[str, ...], most: int) -> Iterator[Chunk]:
    """Blocks with no heading but the first, put together while they fit."""
    title = blocks[0].title
    own = (*above, title) if title else above
    pieces = [piece for block in blocks for piece in _pieces(text, block, most)]
    begin, size, bare = pieces[0][0], 0, False
    last = begin
    for number, (start, end, tokens) in enumerate(pieces):
        # A heading is never left alone.
        if size and not bare and size + tokens > most:
            yield _chunk(text, begin, last, above if begin == blocks[0].start else own, _own(title, begin, blocks))
            begin, size = start, 0
        bare = number == 0 and blocks[0].level > 0
        size += tokens
        last = end
    yield _chunk(text, begin, last, above if begin == blocks[0].start else own, _own(title, begin, blocks))


def _own(title: str, begin: int, blocks: Sequence[_Block]) -> str:
    return title if begin == blocks[0].start else ""


def _pieces(text: str, block: _Block, most: int) -> Iterator[tuple[int, int, int]]:
    if block.tokens <= most:
        yield block.start, block.end, block.tokens
        return
    by_lines = block.level == _CODE or _LISTED.match(text, block.start) is not None
    ways = (_LINES, _WORDS) if by_lines else (_SENTENCE, _WORDS)
    yield from _cut_by(text, block.start, block.end, ways, most)


def _cut_by(
    text: str, start: int, end: int, ways: Sequence[re.Pattern[str]], most: int
) -> Iterator[tuple[int, int, int]]:
    """A stretch of text in pieces of at most so many tokens: by the first way that cuts it, the next where that is too coarse."""
    if not ways:
        yield from _by_characters(text, start, end, most)
        return
    cuts = [start, *(m.end() for m in ways[0].finditer(text, start, end) if start < m.end() < end), end]
    begin, size = start, 0
    for left, right in pairwise(cuts):
        tokens = estimate_tokens(text[left:right])
        if size and size + tokens > most:
            yield begin, left, size
            begin, size = left, 0
        if tokens > most:
            yield from _cut_by(text, left, right, ways[1:], most)
            begin, size = right, 0
        else:
            size += tokens
    if begin < end:
        yield begin, end, size


def _by_characters(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int, int]]:
    while start < end:
        stop = _furthest(text, start, min(end, start + _LONGEST * most), most)
        # A mark belongs to the letter before it, and what is joined stays so.
        while stop < end and (_is_mark(text[stop]) or text[stop - 1] == _JOINER):
            stop += 1
        yield start, stop, estimate_tokens(text[start:stop])
        start = stop


def _is_mark(character: str) -> bool:
    return character == _JOINER or unicodedata.category(character) in {"Mn", "Mc", "Me"}


def _furthest(text: str, start: int, end: int, most: int) -> int:
    """Up to where a text without spaces has so many tokens; a character at the least."""
    low, high = start + 1, end
    if estimate_tokens(text[start:high]) <= most:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if estimate_tokens(text[start:middle]) <= most else (low, middle)
    return low


def _chunk(text: str, start: int, end: int, above: tuple[str, ...], title: str) -> Chunk:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    titles = [one for one in (*above, title) if one]
    return Chunk(
        start, end, PATH.join(titles), PATH.join(one for one in above if one), estimate_tokens(text[start:end])
    )


def _blocks(text: str, *, structured: bool) -> Iterator[_Block]:
    """The parts of a text in its order: what is between empty lines and page breaks, and of Markdown headings and code."""
    reader = _BlockReader(text, structured=structured)
    for match in _LINE.finditer(text):
        yield from reader.read(match)
    yield from reader.ended()


class _BlockReader:
    """Reads a text by lines; what is begun is a paragraph, or code up to its fence."""

    def __init__(self, text: str, *, structured: bool) -> None:
        self._text = text
        self._structured = structured
        self._begin: int | None = None
        self._end = self._lines = 0
        self._fence = ""

    def read(self, match: re.Match[str]) -> Iterator[_Block]:
        line = match.group().rstrip("\r\n\f")
        if self._fence:
            self._end = match.end()
            if _closes(line, self._fence):
                yield from self.ended()
        elif self._structured:
            yield from self._read_marked(match, line)
        else:
            yield from self._read_plain(match, line)
        if match.group().endswith("\f") and not self._fence:
            yield from self.ended()

    def _read_marked(self, match: re.Match[str], line: str) -> Iterator[_Block]:
        if opened := _FENCE.match(line):
            yield from self.ended()
            self._begin, self._end, self._fence = match.start(), match.end(), opened.group(1)
        elif heading := _HEADING.match(line):
            yield from self.ended()
            self._begin, self._end = match.start(), match.end()
            yield from self.ended(len(heading.group(1)), _heading_text(line[heading.end() :]))
        elif self._begin is not None and self._lines == 1 and (rule := _UNDERLINE.match(line)):
            title = self._text[self._begin : self._end]
            self._end = match.end()
            yield from self.ended(1 if rule.group(1)[0] == "=" else 2, title)
        else:
            yield from self._read_plain(match, line)

    def _read_plain(self, match: re.Match[str], line: str) -> Iterator[_Block]:
        if not line.strip():
            yield from self.ended()
            return
        if self._begin is None:
            self._begin, self._lines = match.start(), 0
        self._lines += 1
        self._end = match.end()

    def ended(self, level: int = 0, title: str = "") -> Iterator[_Block]:
        """What was begun, where something was."""
        if self._begin is None:
            return
        said = " ".join(title.split())[:_TITLE]
        tokens = estimate_tokens(self._text[self._begin : self._end])
        yield _Block(self._begin, self._end, _CODE if self._fence else level, said, tokens)
        self._begin, self._fence = None, ""


def _heading_text(rest: str) -> str:
    """What stands behind the signs of a heading, without those that close it."""
    said = rest.strip(" \t")
    bare = said.rstrip("#")
    return bare.rstrip(" \t") if not bare or bare[-1] in " \t" else said


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and set(bare) == {fence[0]}
