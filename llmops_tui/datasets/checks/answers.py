"""Checks of answers and calls: pairs that are no choice, calls that cannot be made, thinking without end, loops, media."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from llmops_tui.counts import agree, counted
from llmops_tui.datasets.checks.base import CONVERSATIONS, Check, CheckOptions, Finding
from llmops_tui.datasets.formats.base import RowRefusedError, structured
from llmops_tui.datasets.identity import media_of
from llmops_tui.datasets.records import Column, Message, Row, as_messages, content_text, conversation, dump_json

_THINKING = re.compile(r"<(/?)(think|thinking|reasoning)>|\[(/?)(THINK)\]")
# A text this long that a compressor makes this small says little more than one thing, again and again.
_LOOP_CHARACTERS, _LOOP_SHARE = 600, 0.12
# Of an answer that a limit ended it is the end that loops; of fewer characters each text would look like it.
_END_CHARACTERS, _END_LEAST, _END_SHARE = 600, 120, 0.2
_LOOP_LINES = 6


class SamePairs(Check):
    """Preference pairs whose two answers are the same."""

    id = "same-pair"
    title = "Chosen equals rejected"
    why = "A pair of two equal answers teaches no preference: its loss is constant."
    fix = "remove these rows"
    kinds = frozenset({"preference"})

    def inspect(self, number: int, row: Row) -> None:
        """Compare the answers, whether they are texts or messages."""
        chosen, rejected = (
            dump_json([_without_empty(m) for m in as_messages(row.get(name), "assistant")])
            for name in ("chosen", "rejected")
        )
        if chosen == rejected:
            self.hit(number, "both answers are the same")


def _without_empty(message: Message) -> Message:
    return {name: value for name, value in sorted(message.items()) if value is not None}


class BrokenCalls(Check):
    """Calls of tools that no program could make."""

    id = "broken-call"
    title = "Broken tool calls"
    why = "A model learns to call as its data does: arguments must be a JSON object, and the tool one that is declared."
    fix = "remove these rows"
    kinds = CONVERSATIONS

    def inspect(self, number: int, row: Row) -> None:
        """Find the first call that is wrong."""
        declared = _declared(row.get("tools"))
        turns = conversation(self.kind, row)
        if self.kind == "preference":
            turns += as_messages(row.get("rejected"), "assistant")
        for index, turn in enumerate(turns, 1):
            calls = turn.get("tool_calls")
            if not calls:
                continue
            for call in calls if isinstance(calls, list) else [calls]:
                if problem := _call_problem(call, declared):
                    self.hit(number, f"turn {index}: {problem}")


def _declared(tools: Any) -> set[str] | None:
    """The names of the tools that a row declares; none where it declares none."""
    try:
        tools = structured(tools)
    except RowRefusedError:
        return None
    if not isinstance(tools, list) or not tools:
        return None
    inner = [tool.get("function", tool) for tool in tools if isinstance(tool, dict)]
    return {str(tool["name"]) for tool in inner if isinstance(tool, dict) and "name" in tool}


def _call_problem(call: Any, declared: set[str] | None) -> str:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        return "a call has no name"
    name = function["name"]
    problems = [_arguments_problem(name, function.get("arguments", {}))]
    if declared is not None and name not in declared:
        problems.insert(0, f"the tool {name!r} is not among the declared: {', '.join(sorted(declared)[:5])}")
    return "; ".join(filter(None, problems))


def _arguments_problem(name: str, arguments: Any) -> str:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError as error:
            return f"the arguments of {name!r} are not JSON: {error}"
    return "" if isinstance(arguments, dict) else f"the arguments of {name!r} are not an object"


class OpenThinking(Check):
    """Answers whose thinking does not end."""

    id = "open-thinking"
    title = "Thinking that does not end"
    why = "A model that learns to think without an end never answers; often the answer was cut by a limit."
    fix = "remove these rows"
    kinds = CONVERSATIONS

    def inspect(self, number: int, row: Row) -> None:
        """Compare the opening and closing marks of each answer."""
        for index, text in _answers(self.kind, row):
            depth: dict[str, int] = {}
            for closing, tag, closing_bracket, bracket in _THINKING.findall(text):
                name = (tag or bracket).lower()
                depth[name] = max(0, depth.get(name, 0) + (-1 if closing or closing_bracket else 1))
            if opened := [name for name, count in depth.items() if count]:
                self.hit(number, f"turn {index}: {opened[0]} is opened and not closed")


class Loops(Check):
    """Answers that repeat themselves."""

    id = "repetition"
    title = "Answers that repeat themselves"
    why = "Answers that loop are failures of the model that wrote them, and are learned quickly."
    fix = "remove these rows"
    kinds = CONVERSATIONS | {"text"}

    def inspect(self, number: int, row: Row) -> None:
        """Look for a line that comes again and again, and for a text that compresses to almost nothing."""
        for index, text in _answers(self.kind, row):
            if reason := _loop(text):
                self.hit(number, f"turn {index}: {reason}" if self.kind != "text" else reason)


def _loop(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 3]
    for start in range(len(lines) - _LOOP_LINES + 1):
        if len(set(lines[start : start + _LOOP_LINES])) == 1:
            return f"a line comes {_LOOP_LINES} times in a row: {lines[start][:40]!r}"
    if len(text) >= _LOOP_CHARACTERS and (share := _compressed(text)) < _LOOP_SHARE:
        return f"it repeats itself: {len(text):,} characters compress to {share:.0%}"
    end = text[-_END_CHARACTERS:].strip()
    # A line drawn of signs, or a table of zeros, is none of words.
    if (
        len(end) >= _END_LEAST
        and (share := _compressed(end)) < _END_SHARE
        and 2 * sum(map(str.isalpha, end)) > len(end)
    ):
        return f"its end repeats itself: the last {len(end):,} characters compress to {share:.0%}"
    return ""


def _compressed(text: str) -> float:
    raw = text.encode("utf-8", "replace")
    return len(zlib.compress(raw, 6)) / len(raw)


def _answers(kind: str, row: Row) -> Iterator[tuple[int, str]]:
    if kind == "text":
        yield 1, str(row.get("text") or "")
        return
    for index, turn in enumerate(conversation(kind, row), 1):
        if turn.get("role") == "assistant":
            yield index, content_text(turn.get("content"))


class MissingMedia(Check):
    """Images and other files that are not there."""

    id = "missing-media"
    title = "Media files that are not there"
    why = "Training stops at, or skips, a row whose image is not there."
    fix = "remove these rows"

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        super().__init__(kind, columns, parameters)
        self._relative = 0

    def inspect(self, number: int, row: Row) -> None:
        """Look for each file whose place is whole; of others nobody knows from where they count."""
        for place in (place for part in media_of(row) for place in _places(json.loads(part))):
            path = Path(unquote(urlsplit(place).path) if place.startswith("file:") else place)
            if not path.is_absolute():
                self._relative += 1
            elif not path.exists():
                self.hit(number, f"there is no file {str(path)[:200]}")

    def finish(self) -> Finding:
        """Say how many could not be looked for."""
        if self._relative:
            verb = agree(self._relative, "was", "were")
            self.finding.note = (
                f"{counted(self._relative, 'relative path')} {verb} not looked for: from where they count is not known"
            )
        return self.finding


def _places(media: Any) -> Iterator[str]:
    """The texts in a part of media that are places in the file system."""
    if isinstance(media, str):
        if media and "://" not in media.removeprefix("file://") and not media.startswith("data:") and len(media) < 4096:
            yield media
    elif isinstance(media, dict):
        for name, value in media.items():
            if name not in {"type", "detail", "format", "mime_type", "media_type", "text", "data", "bytes"}:
                yield from _places(value)
    elif isinstance(media, list):
        for value in media:
            yield from _places(value)
