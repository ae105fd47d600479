"""The text of a chain, checked while one types."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static, TextArea

from llmops_tui.safe_text import safe_line
from screens.shell import external_editor
from screens.shell.pane import Pane
from screens.widgets.fields import Editor

if TYPE_CHECKING:
    from llmops_tui.chains.store import ChainVersion
    from llmops_tui.chains.tools import ChainTools
    from screens.chains.reading import Checked

_HELP = (
    "The chain as YAML. It is checked while you write: what is wrong is told below with its line. ctrl+s keeps it as a new "
    "version; esc leaves the editor."
)
_MOST_TOLD = 4
_PAUSE_SECONDS = 0.3
TEMPLATE = """description:
inputs:
  text: text
steps:
  answer:
    prompt: PROMPT          # a prompt by name, name@number or name@label
    with: {variable: text}
    parameters: {max_tokens: 128}
output: answer
"""


class TextPane(Pane):
    """The editor, and what is wrong."""

    class Read(Message):
        """The text was checked."""

        def __init__(self, checked: Checked) -> None:
            super().__init__()
            self.checked = checked

    class Saved(Message):
        """The text is a version now."""

        def __init__(self, ref: str) -> None:
            super().__init__()
            self.ref = ref

    def __init__(self) -> None:
        super().__init__(title="Text", jump_key="t", id="chains-text", help_text=_HELP)
        self.name_of_chain = ""
        self._of: ChainVersion | None = None
        self.checked: Checked | None = None
        self._tools: ChainTools | None = None

    def compose(self) -> ComposeResult:
        """The editor above what is wrong."""
        yield Editor(id="chains-editor", soft_wrap=False, tab_behavior="focus", compact=True, show_line_numbers=True)
        yield Static("", id="chains-problems", markup=False)

    def on_unmount(self) -> None:
        """End the processes that check."""
        if self._tools is not None:
            self._tools.close()

    @property
    def tools(self) -> ChainTools:
        """What looks up what a chain names; made when it is first needed."""
        from llmops_tui.chains.tools import ChainTools

        if self._tools is None:
            self._tools = ChainTools(self.services.catalog, self.services.renderer)
        return self._tools

    @property
    def text(self) -> str:
        """What is written."""
        return self.query_one(Editor).text

    @property
    def changed(self) -> bool:
        """Whether it is another text than that of the version it was made of."""
        return self.text != (self._of.text if self._of is not None else "")

    def show(self, version: ChainVersion | None) -> None:
        """Show a version, unless a changed text is in the editor."""
        same = self._of is not None and version is not None and self._of.ref == version.ref
        if same or self.changed:
            return
        self.load(version, version.text if version is not None else "")

    def load(self, version: ChainVersion | None, text: str) -> None:
        """Put a text into the editor, whatever is there."""
        self._of = version
        self.name_of_chain = version.name if version is not None else ""
        with self.prevent(TextArea.Changed):
            self.query_one(Editor).load_text(text)
        self.act("check", self._check, 0.0)

    @on(TextArea.Changed)
    def _edited(self, event: TextArea.Changed) -> None:
        event.stop()
        self.act("check", self._check, _PAUSE_SECONDS)

    async def _check(self, pause: float) -> None:
        """Check the text when nothing more is typed for a moment."""
        from screens.chains.reading import check_text

        await asyncio.sleep(pause)
        text = self.text
        self._tell_title()
        if not text.strip():
            self.query_one("#chains-problems", Static).update("")
            return
        checked = await asyncio.to_thread(check_text, self.tools, text, utf8=self.shell.profile.utf8)
        if self.text != text:
            return  # more was typed meanwhile, and is checked by itself
        self.checked = checked
        lines = [f"{one.told}{f'  {one.hint}' if one.hint else ''}" for one in checked.problems[:_MOST_TOLD]]
        more = len(checked.problems) - _MOST_TOLD
        lines += [f"and {more} more"] if more > 0 else []
        told = (
            Content("\n".join(map(safe_line, lines))).stylize("$error")
            if lines
            else Content.styled("nothing is wrong", "$success")
        )
        self.query_one("#chains-problems", Static).update(told)
        self.post_message(self.Read(checked))

    def _tell_title(self) -> None:
        name = self._of.ref if self._of is not None else "a new chain"
        self.set_title("Text", f"{name}{', changed' if self.changed else ''}")

    # ── actions ──

    def begin(self) -> None:
        """Write a new chain, which begins with a small one."""
        self._of = None
        self.load(None, TEMPLATE)
        self.query_one(Editor).focus()

    def action_save(self) -> None:
        """Keep the text as a version."""
        self.ask_by("save", self._save)

    async def _save(self) -> None:
        from screens.chains.change_chain import save_chain

        parent = self._of.number if self._of is not None else None
        version = await save_chain(self.shell, self.name_of_chain, self.text, parent)
        if version is not None:
            self.load(version, version.text)
            self.post_message(self.Saved(version.ref))

    def action_edit(self) -> None:
        """Open the text in $EDITOR."""
        changed = external_editor.edit_outside(self.shell, self.text, f"{self.name_of_chain or 'chain'}.yaml")
        if changed is not None:
            self.query_one(Editor).load_text(changed)

    def action_drop(self) -> None:
        """Take back what was typed since the version."""
        self.load(self._of, self._of.text if self._of is not None else "")

    def action_write(self) -> None:
        """Write the text into a file."""
        self.ask_by("write", self._write)

    async def _write(self) -> None:
        from screens.chains.change_chain import write_chain

        await write_chain(self.shell, self.name_of_chain, self.text)
