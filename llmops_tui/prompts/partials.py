"""Partials: the text of one prompt within another's.

A template says ``{% include "tone" %}``, or names a version by number or label. When it is saved, the user template of that
version is put in its place, between two comments of Jinja that say what it is:

    {# partial tone@3 4f2a91c0b7d3 #}Be brief.{# end partial tone@3 #}

So a version is whole, immutable and addressed by its content as it stands, and whoever reads it needs to know nothing of
partials. The comments render to nothing; the signs of an include that take whitespace away stand in them, too. The last word of
the first comment is the beginning of the version's hash: by it one knows whether the text was edited since.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.prompt_versions import PromptVersion, content_hash

MOST = 1_000_000
"""Characters that a text may have with its partials."""
_DIGITS = 12

Get = Callable[[str], PromptVersion]
"""Gives the version that a name, with a number or a label, stands for; raises ``NotFoundError``."""

# What Jinja reads as its own, and how it ends; a text in quotes may have signs of an end in it.
_OPENING = re.compile(r"\{[{%#]")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*-?%\}")
_END_OF_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""
_ENDS = {
    sign: re.compile(rf"{_QUOTED}|(?P<open>['\"])|(?P<end>{end})", re.DOTALL)
    for sign, end in (("{{", r"\}\}"), ("{%", r"%\}"))
}

_INCLUDE = re.compile(r"\{%(?P<before>[-+]?)\s*include\b(?P<what>.*?)(?P<after>[-+]?)%\}", re.DOTALL)
_NAMED = re.compile(r"""\s*(?P<quote>['"])(?P<ref>[^'"\\]+)(?P=quote)\s*""")
_BEGIN = re.compile(
    rf"\{{#(?P<before>-?) partial (?P<name>[^\s@{{}}]+)@(?P<number>\d+) (?P<mark>[0-9a-f]{{{_DIGITS}}}) #\}}"
)
_END = re.compile(r"\{# end partial (?P<name>[^\s@{}]+)@(?P<number>\d+) (?P<after>-?)#\}")


@dataclass(frozen=True)
class Partial:
    """A partial as it stands in a text.

    Attributes:
        mark: the beginning of the hash of the version whose text was put in.
        text: what stands between its comments.
        start: where its first comment begins, in characters.
        end: where its last comment ends.
        before: ``-`` where it takes the whitespace before it away, as its include did.
        after: the same behind it.
        within: the partials that it is a part of, the outermost first.
    """

    name: str
    number: int
    mark: str
    text: str
    start: int
    end: int
    before: str = ""
    after: str = ""
    within: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """The version that was put in: ``tone@3``."""
        return f"{self.name}@{self.number}"

    @property
    def sha256(self) -> str:
        """The hash of a version that has this text."""
        return content_hash("", self.text)

    @property
    def edited(self) -> bool:
        """Whether it is another text than the one that was put in."""
        return not self.sha256.startswith(self.mark)


def put_in(get: Get, name: str, text: str) -> str:
    """A text of the prompt ``name`` with the partials that it includes; ``get`` finds their versions.

    Raises:
        InputRefusedError: ``bad_partial``: an include names none, is a circle, or cannot be put in whole.
    """
    if "include" in text:
        text = _put_in(get, text, (name,))
    if "partial" in text:
        _marks(text, name)
    return text


def _put_in(get: Get, text: str, within: tuple[str, ...]) -> str:
    parts: list[str] = []
    at = size = 0
    for start, end in _signs(text):
        include = _INCLUDE.fullmatch(text, start, end)
        if include is None:
            continue
        parts += [text[at:start], _region(get, include, within)]
        at = end
        size += len(parts[-1]) + len(parts[-2])
        if size + len(text) - at > MOST:
            _refuse(f"{within[0]} has more than {MOST:,} characters with its partials", "Include less.")
    return "".join([*parts, text[at:]])


def _region(get: Get, include: re.Match[str], within: tuple[str, ...]) -> str:
    """What stands in the place of an include."""
    said = " ".join(include[0].split())[:200]
    named = _NAMED.fullmatch(include["what"])
    if named is None:
        _refuse(
            f"{within[-1]} says {said}, and a partial is one name in quotes, known when the prompt is saved",
            'Write {% include "NAME" %}, with @NUMBER or @LABEL behind the name if you like.',
        )
    version = _found(get, named["ref"], within)
    text = _put_in(get, version.template, (*within, version.prompt))
    for one in _marks(text, version.ref):
        _refuse_circle(one.name, (*within, version.prompt))
    mark = content_hash("", text)[:_DIGITS]
    before, after = ("-" if include[side] == "-" else "" for side in ("before", "after"))
    made = f"{{#{before} partial {version.ref} {mark} #}}{text}{{# end partial {version.ref} {after}#}}"
    try:
        _marks(made, version.ref)
    except InputRefusedError:
        _refuse(
            f"{within[0]} includes {version.ref}, whose text does not end before what stands behind it",
            "It ends with {, or in the midst of a comment, of raw text, or of what stands in braces: end that there.",
        )
    return made


def _found(get: Get, ref: str, within: tuple[str, ...]) -> PromptVersion:
    try:
        version = get(ref)
    except NotFoundError as error:
        _refuse(f"{within[-1]} includes {ref!r}: {error.message}", error.hint)
    if version.prompt != ref.partition("@")[0]:
        _refuse(f"{within[-1]} includes {ref!r}, which is no name of a prompt", "llmops prompt list shows them.")
    _refuse_circle(version.prompt, within)
    lost = [
        what for what, has in (("a system text", version.system.strip()), ("settings", version.settings_text)) if has
    ]
    if lost:
        _refuse(
            f"{within[-1]} includes {version.ref}, which has {' and '.join(lost)}, and a partial is a user template alone",
            "Make a prompt of that text alone, and include that one.",
        )
    return version


def _refuse_circle(name: str, within: tuple[str, ...]) -> None:
    if name in within:
        way = " → ".join((*within[within.index(name) :], name))
        _refuse(f"{name} cannot be a part of itself: {way}", "Take one of the includes out.")


def _refuse(message: str, hint: str) -> NoReturn:
    raise InputRefusedError("bad_partial", message, hint)


def _signs(text: str) -> Iterator[tuple[int, int]]:
    """Where Jinja's comments, acts and values begin and end; up to the first that does not end, which Jinja refuses."""
    at = 0
    while (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        end = _end(text, start, opening[0])
        if end < 0:
            return
        yield start, end
        at = end


def _end(text: str, start: int, sign: str) -> int:
    if sign == "{#":
        return at + 2 if (at := text.find("#}", start + 2)) >= 0 else -1
    if (raw := _RAW.match(text, start)) is not None:
        end_of_raw = _END_OF_RAW.search(text, raw.end())
        return end_of_raw.end() if end_of_raw is not None else -1
    for found in _ENDS[sign].finditer(text, start + 2):
        if found["end"] or found["open"]:
            return found.end() if found["end"] else -1
    return -1


def _marks(text: str, name: str) -> list[Partial]:
    """All partials of a text, those within others behind them.

    Raises:
        InputRefusedError: ``bad_partial``: the comments around one are not both there, in the text called ``name``.
    """
    found: list[tuple[int, Partial]] = []
    open_: list[re.Match[str]] = []
    for start, end in _signs(text):
        if (begin := _BEGIN.fullmatch(text, start, end)) is not None:
            open_.append(begin)
        elif (ending := _END.fullmatch(text, start, end)) is not None:
            begun = open_.pop() if open_ else None
            if begun is None or begun.group("name", "number") != ending.group("name", "number"):
                _unclosed(name, ending)
            found.append((begun.start(), _partial(text, begun, ending, tuple(one["name"] for one in open_))))
    if open_:
        _unclosed(name, open_[-1])
    return [one for _, one in sorted(found, key=lambda each: each[0])]


def _partial(text: str, begin: re.Match[str], end: re.Match[str], within: tuple[str, ...]) -> Partial:
    inner = text[begin.end() : end.start()]
    signs = (begin["before"], end["after"])
    return Partial(begin["name"], int(begin["number"]), begin["mark"], inner, begin.start(), end.end(), *signs, within)


def _unclosed(name: str, mark: re.Match[str]) -> NoReturn:
    _refuse(
        f"{name} has {mark[0]} without its other end",
        "Put it back as it was, or take both comments out: the text between them is then the prompt's own.",
    )


def partials_of(*texts: str) -> list[Partial]:
    """The partials that texts hold, as they stand; none of a text whose comments do not belong together."""
    found: list[Partial] = []
    for text in texts:
        if "partial" in text:
            try:
                found += _marks(text, "")
            except InputRefusedError:
                continue
    return found


def sources(*texts: str) -> list[str]:
    """The hashes of the versions whose text is in these texts as it was put in, for the lineage."""
    return list(dict.fromkeys(one.sha256 for one in partials_of(*texts) if not one.within and not one.edited))


def has_includes(*texts: str) -> bool:
    """Whether a text includes what is not put in yet."""
    return any("include" in text and _splits(text)[1:] for text in texts)


def is_put_in(before: str, after: str) -> bool:
    """Whether a text is another one with its partials put in."""
    regions = {one.start: one.end for one in partials_of(after) if not one.within}
    first, *rest = _splits(before)
    if not after.startswith(first):
        return False
    at = len(first)
    for part in rest:
        if (at := regions.get(at, -1)) < 0 or not after.startswith(part, at):
            return False
        at += len(part)
    return at == len(after)


def _splits(text: str) -> list[str]:
    """What stands between the includes of a text."""
    parts, at = [], 0
    for start, end in _signs(text):
        if _INCLUDE.fullmatch(text, start, end):
            parts.append(text[at:start])
            at = end
    return [*parts, text[at:]]


def without_marks(text: str) -> str:
    """A text that renders the same, without the comments around partials, for programs that know no such comments."""
    if "partial" not in text:
        return text
    made, at, strip = "", 0, False

    def plain(end: int) -> str:
        return text[at:end].lstrip() if strip else text[at:end]

    for start, end in _signs(text):
        begin, ending = (form.fullmatch(text, start, end) for form in (_BEGIN, _END))
        if begin is None and ending is None:
            continue
        part = plain(start)
        made += part.rstrip() if begin is not None and begin["before"] else part
        at, strip = end, ending is not None and bool(ending["after"])
    return made + plain(len(text))
