"""A template of the prompt, the system's or the user's, in an editor."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static, TextArea

from llmops_tui.counts import counted
from llmops_tui.safe_text import count_hidden, safe_text
from screens.playground.state import READING
from screens.shell.pane import Pane
from screens.widgets.fields import Editor


class TemplateEditor(Editor):
    """A text area for a template."""

    def __init__(self, *, placeholder: str, id: str) -> None:  # noqa: A002
        super().__init__(id=id, soft_wrap=True, tab_behavior="focus", placeholder=Content(placeholder), compact=True)

    @property
    def hidden_characters(self) -> int:
        """How many characters of the text cannot be seen."""
        return count_hidden(self.text)


class TemplatePane(Pane):
    """One template; says at its border where it hides characters."""

    class Edited(Message):
        """The text was changed; when this is told, another text may stand in the pane already."""

    class NewerWanted(Message):
        """The partials of both templates are to be the newer ones."""

    def __init__(self, name: str, *, title: str, jump_key: str, placeholder: str, help_text: str) -> None:
        super().__init__(
            title=title, jump_key=jump_key, id=f"playground-{name}", help_text=help_text, classes="template-pane"
        )
        self._hint = placeholder
        self._editor = TemplateEditor(placeholder=READING, id=name)
        self._seen = Static("", markup=False)
        # Over the editor, which keeps its text and its place under it.
        self._over = VerticalScroll(self._seen, classes="template-seen", can_focus=False)
        self._over.display = False

    def compose(self) -> ComposeResult:
        """The editor, and over it the text of a version that is only looked at."""
        yield self._editor
        yield self._over

    def look_at(self, text: str | None) -> None:
        """Show a text in place of that in the editor, which stays there; none shows the editor again."""
        self._over.display = text is not None
        if text is not None:
            self._seen.update(Content.styled(safe_text(text), "$muted"))

    @property
    def text(self) -> str:
        """The text as it stands in the editor, told already or not."""
        return self._editor.text

    def show(self, text: str) -> None:
        """Put a text into the editor."""
        self._editor.placeholder = Content(self._hint)
        if self._editor.text != text:
            with self._editor.prevent(TextArea.Changed):
                self._editor.load_text(text)

    def put(self, text: str) -> None:
        """Put a text in the place of the one that stands there; undo in the editor brings that back."""
        if text != self._editor.text:
            self._editor.replace(text, (0, 0), self._editor.document.end)

    def action_partials(self) -> None:
        """Take the newer partials."""
        self.post_message(self.NewerWanted())

    def focus_editor(self) -> None:
        """Give the focus to the editor."""
        self._editor.focus()

    @on(TextArea.Changed)
    def _changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())
        hidden = self._editor.hidden_characters
        self.set_note("⚠ " + counted(hidden, "hidden character") if hidden else "")

    def edit_outside(self, prompt: str) -> None:
        """Open the text in $EDITOR, in a file named after the prompt."""
        from screens.shell.external_editor import edit_outside

        editor = self._editor
        text = edit_outside(self.shell, editor.text, f"{prompt}-{editor.id}.jinja")
        if text is not None:
            self.put(text)
