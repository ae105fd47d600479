"""One column: its title, what was thought, the answer or its difference from another, the figures."""

from __future__ import annotations

from dataclasses import replace

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.prompts.compare.records import Answering
from llmops_tui.safe_text import safe_line
from llmops_tui.text_diff import diff_words
from screens.terminal import TerminalProfile
from screens.widgets.diff_text import diff_parts
from screens.widgets.motions import TextScroll
from screens.widgets.stream_view import StreamView


class ColumnView(Vertical):
    """Shows one answer; the column at the same place may be another one later."""

    class Focused(Message):
        """The column has the focus now."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    class Digit(Message):
        """A digit was typed, which may be a vote."""

        def __init__(self, digit: int) -> None:
            super().__init__()
            self.digit = digit

    def __init__(self, place: int, profile: TerminalProfile) -> None:
        super().__init__(classes="compare-column")
        self._place = place
        self.takes_digits = False
        """Whether digits are votes here, and do not go to a screen."""
        self._head = Static("", classes="column-head", markup=False)
        # Six columns that scroll by lines would repaint the whole terminal sixty times a second.
        jumping = replace(profile, remote=True)
        self.stream = StreamView(jumping, id=f"column-text-{place + 1}")
        self.stream.add_class("column-text")
        self._changes = TextScroll(Static("", classes="column-diff", markup=False), classes="column-changes")
        self._figures = Static("", classes="column-figures", markup=False)

    def compose(self) -> ComposeResult:
        """The title, the text, the figures."""
        yield self._head
        yield self.stream
        yield self._changes
        yield self._figures

    def on_mount(self) -> None:
        """Texts first."""
        self._changes.display = False

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        """Tell which column is looked at."""
        self.post_message(self.Focused(self._place))

    def on_key(self, event: events.Key) -> None:
        """A digit votes where it can."""
        if self.takes_digits and event.key.isdigit():
            event.stop()
            event.prevent_default()
            self.post_message(self.Digit(int(event.key)))

    def focus_inside(self) -> None:
        """Give the focus to what is shown."""
        (self._changes if self._changes.display else self.stream).focus()

    def show_title(self, title: str, *, marks: str, hint: str = "") -> None:
        """What stands over it; ``marks`` such as that it won."""
        parts: list[tuple[str, str] | str] = [(f"{self._place + 1} ", "$accent"), (safe_line(title), "bold")]
        parts += [(f" {marks}", "$success")] if marks else []
        parts += [(f"  {safe_line(hint)}", "$muted")] if hint else []
        self._head.update(Content.assemble(*parts))

    def show(self, answer: Answering, *, placeholder: str) -> None:
        """Show an answer as it is."""
        had_focus = self._changes.has_focus
        self._changes.display, self.stream.display = False, True
        if had_focus:
            self.stream.focus()
        self.stream.clear(placeholder if answer.error is None else answer.error.told)
        if answer.pieces:
            self.stream.show(answer.text)
        self.show_figures(answer)

    def show_difference(self, reference: str, answer: Answering) -> None:
        """Show what is other than in the reference."""
        changes = diff_words(reference, answer.text)
        same = all(change.change == "same" for change in changes)
        shown = Content.assemble(("the same text", "$muted")) if same else Content.assemble(*diff_parts(changes))
        self._changes.query_one(Static).update(shown)
        had_focus = self.stream.has_focus
        self._changes.display, self.stream.display = True, False
        if had_focus:
            self._changes.focus()

    def hide_figures(self) -> None:
        """Times and counts may tell which model it is."""
        self._figures.update("")

    def show_figures(self, answer: Answering, waits: str = "") -> None:
        """The figures of an answer, or what it waits for."""
        self._figures.update(_figures(answer, waits))


def _figures(answer: Answering, waits: str) -> Content:
    if answer.error is not None:
        return Content.styled(f"error: {answer.error.code}", "$error")
    if waits:
        return Content.styled(safe_line(waits), "$warning")
    if answer.end is None:
        thinking = len(answer.thoughts)
        return Content.styled("thinking …" if thinking and not answer.pieces else "", "$muted")
    told = answer.end.timings
    parts: list[str] = []
    if (made := told.get("completion_tokens")) is not None:
        thought = told.get("reasoning_tokens")
        closed = " (closed)" if told.get("thinking_closed") else ""
        parts.append(counted(made, "token") + (f", {thought:,} thinking{closed}" if thought else ""))
    if (first := told.get("ttft_ms")) is not None:
        parts.append(f"{first:.0f} ms")
    if speed := told.get("tokens_per_s"):
        parts.append(f"{speed:,.0f}/s")
    bad = answer.end.finish_reason in {"error", "cancelled", "length"}
    reason = "cut off" if answer.end.finish_reason == "length" else answer.end.finish_reason
    ended = (reason, "$warning" if bad else "$success")
    return Content.assemble((" · ".join(parts), "$muted"), " · " if parts else "", ended)
