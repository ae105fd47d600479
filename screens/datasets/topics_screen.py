"""The tree of topics that rows are to be written about: shown, edited in $EDITOR, and taken."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.synthesis.topics import Topic, leaves_of, parse_topics, topics_text, without
from screens.shell.external_editor import edit_outside
from screens.shell.shell import Shell
from screens.widgets.keys_line import KeysLine
from screens.widgets.line_list import Line, LineList, cell
from screens.widgets.modal import Modal


class TopicsScreen(Modal[tuple[Topic, ...] | None]):
    """One line a topic, those below it indented. Answers with the tree, or none."""

    CSS_PATH = ["../dialog.tcss", "screen.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Cancel"),
        Binding("enter", "take", "Write rows", priority=True),
        Binding("e,f4", "edit", "Edit"),
        Binding("x,backspace", "remove", "Remove"),
    ]

    def __init__(self, shell: Shell, topics: tuple[Topic, ...], subject: str) -> None:
        super().__init__()
        self._shell, self._topics, self._subject = shell, topics, subject
        self._lines: list[tuple[tuple[int, ...], Topic]] = []

    def compose(self) -> ComposeResult:
        """The list and its keys."""
        keys = (
            ("enter", "write rows about them"),
            ("e", "edit as YAML in $EDITOR"),
            ("x", "remove"),
            ("esc", "cancel"),
        )
        with Vertical(classes="dialog dialog-wide"):
            yield Static("", id="topics-head", classes="dialog-title", markup=False)
            yield LineList(id="topics-list")
            yield KeysLine(*keys)

    def on_mount(self) -> None:
        """Show the tree."""
        self._show(0)
        self.query_one(LineList).focus()

    def _show(self, cursor: int) -> None:
        self._lines = list(_lines(self._topics))
        lines = self.query_one(LineList)
        lines.show(len(self._lines), self._line, min(cursor, max(0, len(self._lines) - 1)))
        count = counted(len(leaves_of(self._topics)), "topic")
        self.query_one("#topics-head", Static).update(
            safe_line(f"Topics of {self._subject}: {count} to write about", 150)
        )

    def _line(self, index: int, width: int) -> Line:
        path, topic = self._lines[index]
        times = f"  × {topic.rows:,}" if topic.rows > 1 else ""
        text = f"{'  ' * (len(path) - 1)}{safe_line(topic.name, 200)}{times}"
        return [(cell(text, width), "muted" if topic.topics else "plain")]

    def action_edit(self) -> None:
        """Edit the tree as YAML; one that cannot be read leaves it as it is, and says why."""
        changed = edit_outside(self._shell, topics_text(self._topics, self._subject), "topics.yaml")
        if changed is None:
            return
        try:
            self._topics = parse_topics(changed)
        except LlmopsError as error:
            self._shell.report(error)
            return
        self._show(0)

    def action_remove(self) -> None:
        """Remove the topic under the cursor, with those below it; the last one stays."""
        cursor = self.query_one(LineList).cursor
        left = without(self._topics, self._lines[cursor][0])
        if left:
            self._topics = left
            self._show(cursor)

    def action_take(self) -> None:
        """Go on with the tree as it is."""
        self.dismiss(self._topics)

    def action_close(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


def _lines(topics: tuple[Topic, ...], above: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Topic]]:
    found = []
    for place, topic in enumerate(topics):
        path = (*above, place)
        found += [(path, topic), *_lines(topic.topics, path)]
    return found
