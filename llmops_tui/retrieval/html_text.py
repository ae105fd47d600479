"""The text of an HTML page, as Markdown so far as headings, lists, tables and code go: what a reader of the page sees."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "canvas"})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "dd", "details", "dialog", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "form", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table",
    "tbody", "tfoot", "thead", "tr", "ul",
})  # fmt: skip
_IN_LINES = frozenset({"li", "tr", "dt", "dd", "tbody", "thead"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
# Elements that end unsaid where one of these begins.
_CELLS, _ROWS = frozenset({"td", "th"}), frozenset({"tr"})
_GROUPS = frozenset({"tbody", "thead", "tfoot"})
_ENDED_BY = {
    "li": frozenset({"li"}), "dt": frozenset({"dt", "dd"}), "dd": frozenset({"dt", "dd"}), "option": frozenset({"option"}),
    "td": _CELLS | _ROWS | _GROUPS, "th": _CELLS | _ROWS | _GROUPS, "tr": _ROWS | _GROUPS,
}  # fmt: skip
# What another element's end or beginning takes along where it was not ended.
_PHRASES = frozenset({"a", "b", "code", "em", "font", "i", "p", "small", "span", "strong", "u"})
_NOT_SHOWN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\s*(?:$|[;!])", re.IGNORECASE)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_ENDING_A_PARAGRAPH = _BLOCKS | _HEADINGS.keys()
_SPACE = re.compile(r"\s+")
_EMPTY = re.compile(r"\n{3,}")


def _ended_by(tag: str) -> frozenset[str]:
    """The elements that end one where they begin."""
    return _ENDING_A_PARAGRAPH if tag == "p" else _ENDED_BY.get(tag, frozenset())


def _hides(tag: str, attrs: list[tuple[str, str | None]]) -> bool:
    """Whether an element says of itself that it is not shown.

    A whole page that says so waits for its script, and a panel of several is shown when the reader turns to it.
    """
    said = dict(attrs)
    if tag in {"html", "body", "main"} or said.get("role") == "tabpanel":
        return False
    return "hidden" in said or bool(_NOT_SHOWN.search(said.get("style") or ""))


class _NotShown:
    """An element that is not shown, and what is open within it."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._within: list[str] = []
        # Of them how many paragraphs ended unsaid: their end tags, where they come after all, end nothing.
        self._paragraphs = 0

    def ends_at_start(self, tag: str) -> bool:
        """Whether it ends where another begins, which ends first what is open within and need not be ended."""
        while self._within and tag in _ended_by(self._within[-1]):
            self._paragraphs += self._within.pop() == "p"
        if all(tag in _ended_by(one) or one in _PHRASES for one in self._within) and tag in _ended_by(self.tag):
            return True
        if tag not in _VOID:
            self._within.append(tag)
        return False

    def ends_at_end(self, tag: str) -> bool:
        """Whether it ends at an end tag: its own, or one of an element around it."""
        if tag in self._within:
            del self._within[len(self._within) - 1 - self._within[::-1].index(tag) :]
            return False
        if tag == "p" and self._paragraphs:
            self._paragraphs -= 1
            return False
        return tag == self.tag or tag in _BLOCKS or tag in _HEADINGS or tag in _CELLS


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title = ""
        self._title: list[str] = []
        self._hidden: list[str] = []
        self._open: Counter[str] = Counter()
        self._not_shown: _NotShown | None = None
        self._pre = 0
        self._in_title = False
        # In parts: a page of many megabytes may be one line.
        self._line: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden or tag in _HIDDEN:
            # What is hidden ends where its own element does.
            if tag in _HIDDEN:
                self._hidden.append(tag)
                self._open[tag] += 1
            return
        if not self._is_shown(tag, attrs):
            return
        # The one element of a head that has text of its own, whether or not the head is said to end.
        self._in_title = tag == "title"
        if tag == "img" and (told := dict(attrs).get("alt")):
            self._line.append(f" {told} ")
        if tag == "br":
            self._end_line()
        elif tag in {"td", "th"}:
            self._line.append(" | " if any(part.strip() for part in self._line) else "| ")
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._end_line()
            if tag not in _IN_LINES:
                self._end_block()
            self._line = ["- " if tag == "li" else "#" * _HEADINGS[tag] + " " if tag in _HEADINGS else ""]
            if tag == "pre":
                self._pre += 1
                self.parts.append("```")

    def _is_shown(self, tag: str, attrs: list[tuple[str, str | None]]) -> bool:
        """Whether an element that begins is shown; where not, nothing of it is taken until it ends."""
        if self._not_shown is not None and not self._not_shown.ends_at_start(tag):
            return False
        self._not_shown = None
        if not _hides(tag, attrs):
            return True
        if tag in _BLOCKS and tag not in _IN_LINES:
            self._end_line()
            self._end_block()
        self._not_shown = None if tag in _VOID else _NotShown(tag)
        return False

    def _goes_on(self, not_shown: _NotShown, tag: str) -> bool:
        """Whether an end tag ends what is not shown and is another element's."""
        if not not_shown.ends_at_end(tag):
            return False
        self._not_shown = None
        return tag != not_shown.tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # HTML has no such elements but the empty ones: others are begun.
        self.handle_starttag(tag, attrs)
        if tag in _HIDDEN:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            while self._open[tag]:
                ended = self._hidden.pop()
                self._open[ended] -= 1
                if ended == tag:
                    break
            return
        if self._not_shown is not None and not self._goes_on(self._not_shown, tag):
            return
        if tag == "title":
            self._in_title = False
            self.title = self.title or " ".join("".join(self._title).split())
            self._title = []
        if tag in _VOID:
            return
        if tag == "pre" and self._pre:
            self._end_line()
            self._pre -= 1
            self.parts.append("```")
        if tag in _BLOCKS or tag in _HEADINGS:
            self._end_line()
            if tag not in _IN_LINES:
                self._end_block()

    def handle_data(self, data: str) -> None:
        if self._hidden or self._not_shown is not None:
            return
        if self._in_title:
            self._title.append(data)
        elif self._pre:
            first, *rest = data.split("\n")
            self._line.append(first)
            for line in rest:
                self._end_line()
                self._line.append(line)
        else:
            self._line.append(_SPACE.sub(" ", data))

    def _end_line(self) -> None:
        said = "".join(self._line)
        line = said.rstrip() if self._pre else " ".join(said.split())
        if line.strip(" -#|") or (self._pre and self.parts):
            self.parts.append(line)
        self._line = []

    def _end_block(self) -> None:
        if self.parts and self.parts[-1]:
            self.parts.append("")

    def text(self) -> str:
        self._hidden, self._not_shown = [], None
        self._end_line()
        if self._pre:
            self.parts.append("```")
        return _EMPTY.sub("\n\n", "\n".join(self.parts)).strip()


def html_text(page: str) -> tuple[str, str]:
    """The text of a page, and its title; scripts, styles and what else is not shown are left out.

    A page whose hidden element never ends is read to its end without it: nothing of it was shown.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.text(), reader.title
