"""Small modal dialogs: confirm, write a line, choose from a list; untrusted text in them is escaped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.columns import fit
from screens.widgets.fields import Field
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import Options
from screens.widgets.path_suggester import PathSuggester

# Cells of a dialog, of what is around its text, and between what is chosen and what is said of it.
_USUAL, _WIDEST, _FRAME, _GAP = 72, 110, 7, 2
# Lines of a choice around its list, without those of the title.
_ROWS_AROUND = 9


class ConfirmDialog(Modal[bool]):
    """Ask before an act. ``n`` and escape are the safe answer; of what cannot be undone :class:`.DangerDialog` asks."""

    asks = True
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("y,enter", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        super().__init__()
        self._question = question
        self._consequence = consequence

    def compose(self) -> ComposeResult:
        """The question and the two keys."""
        with Vertical(classes="dialog"):
            yield Static(Content(safe_text(self._question)), classes="dialog-title")
            yield Static(Content(safe_text(self._consequence)), classes="dialog-text")
            yield KeysLine(("y", "yes"), ("n", "no"))

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)


class VerdictDialog(Modal[bool | None]):
    """A question about one of many things: ``y`` and ``n`` answer it at once, escape leaves it open.

    ``words`` say beside the keys what yes, no and leaving mean.
    """

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("y", "answer(True)", "Yes"),
        Binding("n", "answer(False)", "No"),
        Binding("escape", "leave", "Stop"),
    ]

    def __init__(self, question: str, text: str, words: tuple[str, str, str] = ("yes", "no", "stop")) -> None:
        super().__init__()
        self._question, self._text, self._words = question, text, words

    def compose(self) -> ComposeResult:
        """The question, what it is about, and the keys."""
        with Vertical(classes="dialog"):
            yield Static(Content(safe_text(self._question)), classes="dialog-title")
            yield Static(Content(safe_text(self._text)), classes="dialog-text")
            yield KeysLine(*zip(("y", "n", "esc"), self._words, strict=True))

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)

    def action_leave(self) -> None:
        """Close, saying nothing."""
        self.dismiss(None)


class LineDialog(Modal[str | None]):
    """Ask for one line of text; escape gives none.

    ``check`` says what is wrong with a text, or nothing: what is refused stays in the field, with the reason below it.
    With ``path`` it is completed as a path, which ``tab`` takes.
    """

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel"),
        Binding("tab", "take", "Complete", priority=True),
    ]

    def __init__(
        self, title: str, hint: str, value: str = "", *, check: Callable[[str], str] | None = None, path: bool = False
    ) -> None:
        super().__init__()
        self._path = path
        self._title = title
        self._hint = hint
        self._value = value
        self._check = check

    def compose(self) -> ComposeResult:
        """The title, the field, and what to write."""
        with Vertical(classes="dialog"):
            yield Static(Content(safe_text(self._title)), classes="dialog-title")
            yield Field(self._value, id="line", compact=True, suggester=PathSuggester() if self._path else None)
            yield Static(Content(safe_text(self._hint)), classes="dialog-text")
            completes = [("tab", "complete the path")] if self._path else []
            yield KeysLine(("enter", "take it"), *completes, ("esc", "leave"))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        problem = self._check(text) if self._check is not None and text else ""
        if problem:
            told = Content.assemble((safe_text(problem), "$error"), "\n", safe_text(self._hint))
            self.query_one(".dialog-text", Static).update(told)
        else:
            self.dismiss(text)

    def action_take(self) -> None:
        """Take what completes the path."""
        field = self.query_one(Field)
        field.cursor_position = len(field.value)
        field.action_cursor_right()

    def action_give_up(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


@dataclass(frozen=True)
class Choice:
    """One line of a choice: its value, what is shown, a note behind it, and what kind of thing it is where it can be archived."""

    value: str
    label: str
    note: str = ""
    kind: str = ""

    def is_among(self, archived: Mapping[str, Collection[str]]) -> bool:
        """Whether it is a thing, or a version of one, that is archived."""
        names = archived.get(self.kind, ())
        own = self.value.removeprefix(f"{self.kind}/")
        return own in names or own.partition("@")[0] in names


class ChoiceDialog(Modal[str | None]):
    """Choose one of several, narrowed by typing; escape gives none. What is archived is shown behind a ``%``."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel"),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], empty: str = "Nothing to choose from.") -> None:
        super().__init__()
        self._title = title
        self._choices = list(choices)
        self._empty = empty
        self._away: list[Choice] = []
        self._offered = 0

    @property
    def kinds(self) -> set[str]:
        """What kinds of things are offered that can be archived."""
        return {choice.kind for choice in self._choices if choice.kind}

    def leave_out(self, archived: Mapping[str, Collection[str]]) -> None:
        """What is archived, by kind."""
        self._away = [choice for choice in self._choices if choice.is_among(archived)]

    def compose(self) -> ComposeResult:
        """The title, the filter and the list."""
        with Vertical(classes="dialog dialog-choice") as box:
            box.styles.width = self._width
            yield Static(Content(safe_text(self._title)), classes="dialog-title")
            field = Field(placeholder="type to filter", id="narrow", compact=True)
            field.display = bool(self._choices)
            yield field
            yield Options(id="choices", markup=False, compact=True)
            chooses = (("↑ ↓", "move"), ("enter", "choose")) if self._choices else ()
            yield KeysLine(*chooses, ("esc", "leave"))

    @property
    def _width(self) -> int:
        """As wide as its longest line, where the terminal is; never less than other dialogs."""
        return max(_USUAL, min(_WIDEST, self._labels + _GAP + self._notes + _FRAME))

    @property
    def _labels(self) -> int:
        return max((cell_len(safe_line(choice.label)) for choice in self._choices), default=0)

    @property
    def _notes(self) -> int:
        return max((cell_len(safe_line(choice.note)) for choice in self._choices), default=0)

    def on_mount(self) -> None:
        """Fill the list."""
        self._fill("")
        self._offered = self.query_one(OptionList).option_count
        self._grow()

    def on_resize(self) -> None:
        """Cut names anew that have less room than they need, or more than they had."""
        options = self.query_one(OptionList)
        at = options.highlighted
        self._fill(self.query_one(Field).value)
        options.highlighted = at
        self._grow()

    def _grow(self) -> None:
        """As tall as all there is to choose from, whatever is typed, where the terminal is."""
        title = -(-cell_len(self._title) // max(1, self._width - _FRAME))
        room = self.lines_beside(_ROWS_AROUND + title)
        self.query_one(OptionList).styles.height = max(1, min(self._offered, room))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._fill(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        choices = self.query_one(OptionList)
        if choices.highlighted is not None:
            choices.action_select()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.dismiss(self._choices[int(event.option_id)].value)

    def action_move(self, step: int) -> None:
        """Move in the list while the filter keeps the focus."""
        choices = self.query_one(OptionList)
        if step > 0:
            choices.action_cursor_down()
        else:
            choices.action_cursor_up()

    def action_give_up(self) -> None:
        """Close without an answer."""
        self.dismiss(None)

    def _fill(self, text: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        shows_away = text.startswith("%")
        words = text.removeprefix("%").lower().split()
        # Notes stand below each other, and are seen whole where they are short; a long label gives way.
        room = min(self._width, self.app.size.width * 94 // 100) - _FRAME
        label = max(1, min(self._labels, max(room - self._notes - _GAP, room * 3 // 5)))
        for index, choice in enumerate(self._choices):
            if choice in self._away and not shows_away:
                continue
            if all(word in f"{choice.label} {choice.note}".lower() for word in words):
                away = "archived  " if choice in self._away else ""
                name = fit(safe_line(choice.label), label, middle=True)  # names often differ at their ends alone
                shown = Content.assemble(name, " " * _GAP, (away + safe_line(choice.note), "$muted"))
                options.add_option(Option(shown, id=str(index)))
        if options.option_count:
            options.highlighted = 0
        else:
            options.add_option(Option(Content.styled(safe_text(self._empty), "$muted"), disabled=True))
        if self._away and not shows_away:
            told = f"{len(self._away)} archived: % shows what is"
            options.add_option(Option(Content.styled(told, "$muted"), disabled=True))
