"""How a template writes calls, read off renderings with one call and with two."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from llmops_tui.chat_format import parameters, probes
from llmops_tui.chat_format.json_names import Arguments
from llmops_tui.chat_format.marks import is_mark, shared_end, shared_start, tokens
from llmops_tui.chat_format.places import Place, locate
from llmops_tui.chat_format.probes import FUNCTIONS, Probe
from llmops_tui.chat_format.record import CallFormat, Gap, Marks, Piece, Thinking
from llmops_tui.chat_format.thinking import without
from llmops_tui.errors import InputRefusedError


@dataclass(frozen=True)
class Lead:
    """What stands before calls and is no part of them: what ends a question and begins a turn, and marks of thinking."""

    start: str
    begin: str
    thought: Thinking | None
    content: str

    def taken_off(self, text: str) -> str:
        """A text that begins behind a question, without it."""
        if text.startswith(self.start):
            text = text[len(self.start) :]
        elif self.begin and self.begin in text:
            text = text.partition(self.begin)[2]
        rest = without(text, self.thought)
        if self.content and rest.startswith(self.content):
            return rest[len(self.content) :].lstrip()
        return text if rest == text.lstrip() else rest


def read_calls(
    probe: Probe, lead: Lead, ends: Sequence[str], *, ends_bare: bool
) -> tuple[CallFormat | None, dict[str, str]]:
    """How calls are written, or none; and what is refused, with the template's own reasons.

    Args:
        probe: what renders.
        lead: what stands between a question and calls.
        ends: what ends a turn.
        ends_bare: whether nothing is written behind an answer that is the last.
    """
    refused: dict[str, str] = {}
    tools = probes.tools(probes.TEXTS)
    written: dict[str, tuple[str, Place]] = {}
    for kind, arguments in (("object", probes.TEXTS), ("text", json.dumps(probes.TEXTS))):
        for content in ("", None):
            turn = probes.answer(calls=[probes.call(0, arguments)]) | {"content": content}
            found = probe.one([probes.user(), turn], tools=tools)
            if not isinstance(found, str):
                refused.setdefault("tools", found.message) if content is not None else None
                continue
            region = probes.behind(found, f"{probes.USER}1")
            place = locate(region, 0, probes.TEXTS)
            if place is not None:
                written[kind] = (region, place)
                probe.nothing = content
                break
    if not written:
        return None, refused or {"tools": "the template does not write calls"}
    kind = "object" if "object" in written and not written["object"][1].as_text else next(iter(written))
    if "text" in written and "object" in written and written["object"][1].as_text and not written["text"][1].as_text:
        kind = "text"
    wanted = _wanted(written)
    region, place = written[kind]
    form = _Form(probe, lead, tuple(ends), ends_bare=ends_bare, as_text=kind == "text")
    calls, why = form.read(region, place)
    return replace(calls, arguments_as=wanted), ({"parallel": why} if why else {})


def _wanted(written: dict[str, tuple[str, Place]]) -> Literal["object", "text", "either"]:
    if len(written) == 1:
        return "object" if "object" in written else "text"
    (one, place), (other, second) = written["object"], written["text"]
    if one == other or (place.style == second.style and place.as_text == second.as_text):
        return "either"
    return "text" if place.as_text and not second.as_text else "object"


class _Form:
    """Reads the marks around the places of calls."""

    def __init__(self, probe: Probe, lead: Lead, ends: tuple[str, ...], *, ends_bare: bool, as_text: bool) -> None:
        self._probe = probe
        self._lead = lead
        self._ends = ends
        self._ends_bare = ends_bare
        self._turn_end = ""
        self._as_text = as_text

    def given(self, arguments: Arguments) -> Any:
        """Arguments as the template takes them."""
        return json.dumps(arguments) if self._as_text else arguments

    def read(self, region: str, place: Place) -> tuple[CallFormat, str]:
        """The format, and why there cannot be two calls, where there cannot."""
        both = [
            probes.call(0, self.given(probes.TEXTS)),
            probes.call(1, self.given(probes.SECOND)),
        ]
        rendered = self._probe.one([probes.user(), self._probe.calling(both)], tools=probes.tools(probes.TEXTS))
        two = probes.behind(rendered, f"{probes.USER}1") if isinstance(rendered, str) else ""
        second = locate(two, 1, probes.SECOND) if two else None
        first = locate(two[: second.start], 0, probes.TEXTS) if second is not None else None
        if second is None or first is None:
            why = rendered.message if isinstance(rendered, InputRefusedError) else "only one call is written"
            before = self._lead.taken_off(region[: place.start])
            after = self._without_end(region[place.end :])
            return self._made(region, place, before, after, Marks(), ""), why
        before, middle, after = two[: first.start], two[first.end : second.start], two[second.end :]
        before = self._lead.taken_off(before)
        begin = shared_end(before, middle)
        rest = middle[: len(middle) - len(begin)]
        end = shared_start(rest, after)
        between = rest[len(end) :]
        section = Marks(before[: len(before) - len(begin)].strip(), self._without_end(after[len(end) :]).strip())
        made = self._made(two, first, begin, end, section, between)
        return _with_index(made, two, first, second), ""

    def _made(self, text: str, place: Place, begin: str, end: str, section: Marks, between: str) -> CallFormat:
        pieces: list[Piece] = [begin]
        at = place.start
        for start, stop, gap in place.gaps:
            if start > at:
                pieces.append(text[at:start])
            pieces.append(gap)
            at = stop
        pieces.append(end)
        listed = place.style == "object" and section.before.endswith("[")
        if listed:
            section = Marks(section.before[:-1].strip(), section.after.removeprefix("]").strip())
        values = place.parameters
        if values is not None:
            values = replace(values, values=parameters.variants(self._probe, values, self.given))
        return CallFormat(
            style=place.style,
            section=section,
            pieces=tuple(pieces),
            between=between,
            name_key=place.keys[0],
            arguments_key=place.keys[1],
            id_key=place.keys[2],
            listed=listed,
            text_arguments=place.as_text,
            parameters=values,
            quote=place.quote,
            parallel=FUNCTIONS[1] in text,
            null_content=self._probe.nothing is None,
            turn_end=self._turn_end,
        )

    def _without_end(self, text: str) -> str:
        places = [text.find(end) for end in self._ends if end]
        places = [place for place in places if place >= 0]
        if places:
            return text[: min(places)]
        parts = tokens(text.rstrip())
        # Calls end their turn with a mark of their own, where answers end with another.
        if not self._ends_bare and parts and is_mark(parts[-1]):
            self._turn_end = parts[-1]
            return "".join(parts[:-1])
        return text


def _with_index(made: CallFormat, text: str, first: Place, second: Place) -> CallFormat:
    """With a gap for the number of the call, where a text between its parts counts."""
    if made.style == "object":
        return made
    pieces: list[Piece] = []
    at = [first.start, second.start]
    literals: dict[str, str] = {}
    for (start, stop, _), (start_2, stop_2, _) in zip(first.gaps, second.gaps, strict=False):
        literals[text[at[0] : start]] = text[at[1] : start_2]
        at = [stop, stop_2]
    for piece in made.pieces:
        other = literals.get(piece, piece) if isinstance(piece, str) else piece
        if isinstance(piece, str) and isinstance(other, str) and other != piece:
            number = re.search(r"\d+", piece)
            if number is not None:
                pieces += [piece[: number.start()], Gap("index"), piece[number.end() :]]
                continue
        pieces.append(piece)
    return replace(made, pieces=tuple(pieces))
