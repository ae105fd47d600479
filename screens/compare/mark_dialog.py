"""Choose several of a list: space marks and goes on, enter takes what is marked."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.columns import fit
from screens.widgets.dialogs import Choice
from screens.widgets.modal import Modal
from screens.widgets.motions import Options

# Lines of the dialog around its list.
_ROWS_AROUND = 8
# Cells of what is marked, before its note.
_MOST_LABEL = 40


class MarkDialog(Modal[list[str] | None]):
    """Gives the values that are marked, in the order of the list; escape gives none. Those ``marked`` already begin so."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "give_up", "Cancel"),
        Binding("space", "mark", "Mark", priority=True),
        Binding("enter,f5", "take", "Take", priority=True),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], most: int, marked: Collection[str] = ()) -> None:
        super().__init__()
        self._title = title
        self._choices = list(choices)
        self._most = most
        self._marked = {n for n, choice in enumerate(self._choices) if choice.value in marked}

    def compose(self) -> ComposeResult:
        """The title, the list, the keys."""
        with Vertical(classes="dialog"):
            yield Static(Content(safe_text(self._title)), classes="dialog-title")
            yield Options(id="marks", markup=False, compact=True)
            yield Static("", id="mark-keys", classes="dialog-keys", markup=False)

    def on_mount(self) -> None:
        """Fill the list."""
        options = self.query_one(Options)
        for n in range(len(self._choices)):
            options.add_option(Option(self._line(n), id=str(n)))
        options.highlighted = 0 if self._choices else None
        options.focus()
        self._tell()
        self.on_resize()

    def on_resize(self) -> None:
        """As tall as what there is to mark, where the terminal is."""
        self.query_one(Options).styles.height = max(1, min(len(self._choices), self.lines_beside(_ROWS_AROUND)))

    def _line(self, n: int) -> Content:
        choice = self._choices[n]
        mark = ("■ ", "$accent") if n in self._marked else ("□ ", "$muted")
        widest = max(cell_len(safe_line(one.label)) for one in self._choices)
        label = fit(safe_line(choice.label), min(widest, _MOST_LABEL))
        return Content.assemble(mark, label, "  ", (safe_line(choice.note), "$muted"))

    def _tell(self) -> None:
        told = Content.assemble(
            ("space", "$accent"), " mark, next   ", ("enter", "$accent"), " take   ", ("esc", "$accent"), " leave   ",
            (f"{len(self._marked)} marked, at most {self._most}", "$muted"),
        )  # fmt: skip
        self.query_one("#mark-keys", Static).update(told)

    def action_mark(self) -> None:
        """Mark or unmark the line, and go on to the next."""
        options = self.query_one(Options)
        at = options.highlighted
        if at is None:
            return
        if at in self._marked:
            self._marked.remove(at)
        elif len(self._marked) < self._most:
            self._marked.add(at)
        else:
            self.notify(f"There is room for {self._most} columns.", severity="warning", markup=False)
            return
        options.replace_option_prompt_at_index(at, self._line(at))
        options.action_cursor_down()
        self._tell()

    def action_take(self) -> None:
        """Close with what is marked; without marks with the line itself."""
        at = self.query_one(Options).highlighted
        chosen = sorted(self._marked) or ([at] if at is not None else [])
        self.dismiss([self._choices[n].value for n in chosen])

    def action_give_up(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
