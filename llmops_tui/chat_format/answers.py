"""Answers taken apart into content, thinking and calls, told as soon as each is sure, the same however they are cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from llmops_tui.chat_format.marks import has_mark
from llmops_tui.chat_format.record import ChatFormat
from llmops_tui.chat_format.told import Event, Parsed
from llmops_tui.chat_format.values import MoreError, WrongError, over_blanks
from llmops_tui.chat_format.written import literal, read_call

# A long call is read again when it has grown by so much, not with each piece: that would take ever longer.
_LONG, _GROWTH = 4000, 1.02


def parse(
    answer: str, chat: ChatFormat, tools: Sequence[Mapping[str, Any]] | None = None, *, opening: str = ""
) -> Parsed:
    """A whole answer; ``opening`` is what the prompt wrote of it (:meth:`ChatFormat.opening_of`), of which nothing is told."""
    parsed = Parsed()
    reader = AnswerReader(chat, tools, opening=opening)
    parsed.add(reader.push(answer))
    parsed.add(reader.finish())
    return parsed


class AnswerReader:
    """Reads an answer piece by piece.

    Text is told at once unless it may be the beginning of a mark, or is blanks that may stand before one; a call is told
    when it is whole. Calls without a mark of their own are looked for only where tools are given. The answer may begin with
    an ``opening`` that somebody else wrote: it is read as the model's own, and told is only what comes then.
    """

    def __init__(
        self, chat: ChatFormat, tools: Sequence[Mapping[str, Any]] | None = None, *, opening: str = ""
    ) -> None:
        self._calls = chat.calls
        self._thinking = chat.thinking
        self._lead = chat.lead
        self._tail = chat.assistant.after if chat.assistant.after.isspace() else ""
        self._schemas = {
            str(tool["function"]["name"]): tool["function"].get("parameters") or {} for tool in tools or ()
        }
        self._marks = _marks(chat)
        self._strong = [mark for mark in self._marks if has_mark(mark)]
        # What may stand between calls, and behind them.
        self._between = (
            [str(chat.calls.pieces[0]).strip(), chat.calls.section.after.strip()] if chat.calls is not None else []
        )
        # Without a mark of its own an object at the beginning of an answer may be a call.
        self._bare = bool(tools) and chat.calls is not None and not chat.calls.begin
        self._state: Literal["content", "thinking", "calls"] = "content"
        self._buffer = ""
        # Whether nothing but marks and blanks came since the answer or its last mark began.
        self._fresh = self._initial = True
        self._many = 0
        self._tried = 0
        self._told_thought = self._cut = False
        self._seen = 0
        self._opened = len(opening)
        # By how much what is held is longer than it came: a mark behind the opening stands there as the template has it.
        self._longer = 0
        self._thoughts: list[tuple[int, int | None]] = []
        if opening:
            self.push(opening)

    @property
    def calling(self) -> bool:
        """Whether what came so far ends within a call."""
        return self._state == "calls"

    @property
    def thoughts(self) -> list[tuple[int, int]]:
        """Which characters of the answer so far are thinking, with the marks around it."""
        spans = [(start, self._seen if end is None else end) for start, end in self._thoughts]
        own = [(max(0, start - self._opened), end - self._opened) for start, end in spans]
        return [(start, end) for start, end in own if end > start]

    def push(self, text: str) -> list[Event]:
        """Take a piece in; what is sure now."""
        self._seen += len(text)
        self._buffer += text
        return self._told(last=False)

    def finish(self, *, cut: bool = False) -> list[Event]:
        """The answer ended, or was ``cut`` off; what was held back, but for the beginning of a mark where it was cut."""
        if cut:
            self._cut = True
            self._without_half_mark()
        return self._told(last=True)

    def _without_half_mark(self) -> None:
        """Leave out what would have become a mark."""
        marks: Collection[str] = self._marks if self._fresh else self._strong
        if self._state == "thinking" and self._thinking is not None:
            marks = [self._thinking.marks.after]
        text = self._buffer
        if self._state == "calls":
            rest = text[self._between_calls(text) :].strip()
            marks = [*self._strong, *self._between]
            if self._many and any(mark.startswith(rest) for mark in marks):
                self._buffer = ""
        else:
            starts = (n for n in range(len(text)) if any(mark.startswith(text[n:]) for mark in marks))
            self._buffer = text[: next(starts, len(text))]

    def _told(self, *, last: bool) -> list[Event]:
        events: list[Event] = []
        steps = {"content": self._content, "thinking": self._thought, "calls": self._called}
        while steps[self._state](events, last=last):
            pass
        return events

    def _content(self, events: list[Event], *, last: bool) -> bool:
        text = self._buffer
        start = over_blanks(text, 0) if self._fresh else 0
        if self._fresh and start == len(text):
            return self._only_blanks(events, last=last)
        if self._fresh and self._bare and text.startswith("{", start):
            self._state = "calls"
            return True
        at, mark = self._next_mark(text, start, last=last)
        if mark is None:
            held = at
            while held > start and text[held - 1].isspace() and not last:
                held -= 1
            if self._fresh and held <= start and not last:
                return False
            self._say(events, text[:held].removesuffix(self._tail) if last else text[:held])
            self._buffer = text[held:]
            return False
        if at > start:
            self._say(events, text[:at].rstrip())
        self._buffer = text[at:]
        action = self._marks[mark]
        if action == "thinking":
            self._thoughts.append((self._seen - len(self._buffer), None))
        if action != "called":
            self._buffer = self._buffer[len(mark) :]
        elif self._calls is not None and mark in self._calls.also:
            self._write_as_template(mark, str(self._calls.pieces[0]))
        self._fresh, self._initial = True, False
        self._state = "thinking" if action == "thinking" else "calls" if action.startswith("call") else "content"
        self._many = 0
        self._told_thought = False
        return True

    def _write_as_template(self, mark: str, first: str) -> None:
        """Put what a template begins a call with in the place of another mark, so that one reader is enough."""
        if self._seen - len(self._buffer) >= self._opened:
            self._longer += len(first) - len(mark)
        self._buffer = f"{first}{self._buffer[len(mark) :]}"

    def _only_blanks(self, events: list[Event], *, last: bool) -> bool:
        if last and self._initial and self._buffer != self._lead:
            self._tell(events, "content", self._buffer, len(self._buffer) - len(self._buffer.removeprefix(self._lead)))
        if last:
            self._buffer = ""
        return False

    def _say(self, events: list[Event], text: str) -> None:
        start = 0
        if self._fresh:
            start = len(text) - len(text.removeprefix(self._lead) if self._initial else text.lstrip())
        if text[start:]:
            self._tell(events, "content", text, start)
            self._fresh = self._initial = False

    def _tell(
        self, events: list[Event], kind: Literal["content", "thinking", "problem"], text: str, start: int = 0
    ) -> None:
        """Tell what is at the beginning of what is held, from a place on, but nothing of the opening."""
        given = self._opened - (self._seen - len(self._buffer)) - self._longer
        if told := text[max(start, given) :]:
            events.append(Event(kind, told))

    def _next_mark(self, text: str, start: int, *, last: bool) -> tuple[int, str | None]:
        """The first mark and its place; or none, and where a mark may begin that has not come whole."""
        for at in range(start, len(text)):
            begins_here = at == start and self._fresh
            known = self._marks if begins_here else self._strong
            whole = [mark for mark in known if text.startswith(mark, at)]
            rest = text[at:]
            if not last and any(len(mark) > len(rest) and mark.startswith(rest) for mark in known):
                return at, None
            if whole:
                return at, max(whole, key=len)
        return len(text), None

    def _thought(self, events: list[Event], *, last: bool) -> bool:
        assert self._thinking is not None
        close, again = self._thinking.marks.after, self._thinking.marks.before
        if not self._told_thought:
            self._buffer = self._buffer.lstrip()
        text = self._buffer
        if not self._told_thought:
            if again and text.startswith(again):
                self._buffer = text[len(again) :]
                return True
            if text and again.startswith(text) and not last:
                return False
        end = text.find(close)
        if end >= 0:
            self._tell(events, "thinking", text[:end].rstrip())
            self._buffer = text[end + len(close) :]
            self._thoughts[-1] = (self._thoughts[-1][0], self._seen - len(self._buffer))
            self._state, self._fresh, self._initial = "content", True, False
            return True
        held = len(text)
        if not last:
            held -= next((n for n in range(min(len(close) - 1, len(text)), 0, -1) if close.startswith(text[-n:])), 0)
        while held and text[held - 1].isspace():
            held -= 1
        if held:
            self._tell(events, "thinking", text[:held])
            self._told_thought = True
        self._buffer = "" if last else text[held:]
        return False

    def _called(self, events: list[Event], *, last: bool) -> bool:
        calls, text = self._calls, self._buffer
        assert calls is not None
        if not last and len(text) < self._tried * _GROWTH and len(text) > _LONG:
            return False
        at = self._between_calls(text)
        try:
            if self._many:
                left = self._left(text, at, last=last)
                if left is not None:
                    self._buffer, self._state = text[left:], "content"
                    self._fresh, self._initial = True, False
                    return True
            # Of arguments that are written one by one nobody knows whether more would have followed.
            lenient = last and not (self._cut and calls.style == "parameters")
            call, end = read_call(calls, text, at, self._schemas, last=lenient)
        except MoreError:
            self._tried = len(text)
            if not last:
                return False
            self._broken(events, text, len(text))
            return False
        except WrongError:
            if self._bare and not self._many:
                self._bare, self._state = False, "content"
                return True
            return self._wrong(events, text, last=last)
        events.append(Event("call", call=call))
        self._many += 1
        self._tried = 0
        self._buffer = text[end:]
        return True

    def _between_calls(self, text: str) -> int:
        assert self._calls is not None
        signs = " \t\r\n;," + ("[" if self._calls.listed and not self._many else "")
        at = 0
        while at < len(text) and text[at] in signs:
            at += 1
        return at

    def _left(self, text: str, at: int, *, last: bool) -> int | None:
        """Where the calls ended, behind the mark that says so; None where another one follows.

        Raises:
            MoreError: that is not sure yet.
        """
        calls = self._calls
        assert calls is not None
        if calls.listed and text.startswith("]", at):
            at += 1
            if not calls.section.after:
                return at
        rest = text[over_blanks(text, at) :]
        if not rest:
            if last:
                return len(text)
            raise MoreError
        if calls.section.after:
            try:
                return literal(text, at, calls.section.after, last=last)
            except WrongError:
                pass
        begin = calls.pieces[0]
        assert isinstance(begin, str)
        first = begin.strip() or ("{" if calls.style == "object" else "")
        if first and not rest.startswith(first):
            if first.startswith(rest) and not last:
                raise MoreError
            return at
        return None

    def _wrong(self, events: list[Event], text: str, *, last: bool) -> bool:
        """What cannot be read as a call is told as such, to the end of the calls."""
        assert self._calls is not None
        tail = self._calls.pieces[-1]
        assert isinstance(tail, str)
        close = (self._calls.section.after or tail).strip()
        end = text.find(close) if close else -1
        if end < 0 and not last:
            return False
        self._broken(events, text, end + len(close) if end >= 0 else len(text))
        return True

    def _broken(self, events: list[Event], text: str, end: int) -> None:
        if text[:end].strip():
            self._tell(events, "problem", text[:end])
        self._buffer, self._state = text[end:], "content"
        self._fresh, self._initial = True, False


def _marks(chat: ChatFormat) -> dict[str, str]:
    """What is looked for in content, and what becomes of it."""
    found = {mark: "dropped" for mark in (chat.assistant.before.strip(), chat.content.after, *chat.ends) if mark}
    found = {mark: what for mark, what in found.items() if has_mark(mark)}
    found |= {mark: "dropped" for mark in (chat.content.before, *chat.content_begins) if mark}
    if chat.thinking is not None:
        found |= {chat.thinking.marks.after: "dropped"} | (
            {chat.thinking.marks.before: "thinking"} if chat.thinking.marks.before else {}
        )
    calls = chat.calls
    if calls is not None and calls.begin:
        # What is on further lines models write with other blanks.
        found[calls.begin if calls.section.before else calls.begin.partition("\n")[0]] = (
            "calls" if calls.section.before else "called"
        )
        for mark in calls.also:
            found[mark] = "called"
    return found
