"""The text of an HTML page, as Markdown so far as headings, lists, tables and code go: what a reader of the page sees."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "canvas", "head"})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "dd", "details", "dialog", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "form", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table",
    "tbody", "tfoot", "thead", "tr", "ul",
})  # fmt: skip
_IN_LINES = frozenset({"li", "tr", "dt", "dd", "tbody", "thead"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"\s+")
_EMPTY = re.compile(r"\n{3,}")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title = ""
        self._hidden: list[str] = []
        self._pre = 0
        self._in_title = False
        self._line = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self.title:
            self._in_title = True
        if self._hidden or tag in _HIDDEN:
            # What is hidden ends where its own element does.
            if tag in _HIDDEN:
                self._hidden.append(tag)
            return
        if tag == "img" and (told := dict(attrs).get("alt")):
            self._line += f" {told} "
        if tag == "br":
            self._end_line()
        elif tag in {"td", "th"}:
            self._line = f"{self._line.rstrip()} | " if self._line.strip() else "| "
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._end_line()
            if tag not in _IN_LINES:
                self._end_block()
            self._line = "- " if tag == "li" else "#" * _HEADINGS[tag] + " " if tag in _HEADINGS else ""
            if tag == "pre":
                self._pre += 1
                self.parts.append("```")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # HTML has no such elements but the empty ones: others are begun.
        self.handle_starttag(tag, attrs)
        if tag in _HIDDEN:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if self._hidden:
            if tag in self._hidden:
                del self._hidden[self._hidden.index(tag) :]
            return
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
        if self._in_title:
            self.title += data
        elif self._hidden:
            return
        elif self._pre:
            first, *rest = data.split("\n")
            self._line += first
            for line in rest:
                self._end_line()
                self._line = line
        else:
            self._line += _SPACE.sub(" ", data)

    def _end_line(self) -> None:
        line = self._line.rstrip() if self._pre else " ".join(self._line.split())
        if line.strip(" -#|") or (self._pre and self.parts):
            self.parts.append(line)
        self._line = ""

    def _end_block(self) -> None:
        if self.parts and self.parts[-1]:
            self.parts.append("")

    def text(self) -> str:
        self._hidden = []
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
    return reader.text(), " ".join(reader.title.split())
