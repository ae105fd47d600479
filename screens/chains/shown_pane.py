"""The drawing of the chain; or a step of a run with its input and output; or how two versions differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line, safe_text
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.chains.drawing import DrawnLine
    from llmops_tui.chains.records import SpanRecord

_EMPTY = "The steps of the chain are drawn here, with what each needs; a step of a run with its input and output."
_LONG = 20_000
_FACTS = ("state", "kind", "error", "model", "prompt", "stopped", "trace", "key")


class ShownPane(Pane):
    """One text."""

    def __init__(self) -> None:
        super().__init__(title="Graph", jump_key="g", id="chains-shown", help_text=_EMPTY)
        self.told = ""
        self._drawn = Content.styled(_EMPTY, "$muted")

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="chains-scroll"):
            yield Static(self._drawn, id="chains-told", markup=False)

    def _show(self, content: Content) -> None:
        self.told = content.plain
        self.query_one("#chains-told", Static).update(content)
        self.query_one(TextScroll).scroll_home(animate=False)

    def draw(self, lines: tuple[DrawnLine, ...]) -> None:
        """Show the drawing of a chain; of one with a mistake what is there stays."""
        if lines:
            self._drawn = Content("\n".join(safe_line(line.text) for line in lines))
            self.show_graph()

    def show_graph(self) -> None:
        """The drawing again."""
        self.set_title("Graph")
        self._show(self._drawn)

    def show_text(self, title: str, told: str) -> None:
        """Any text, such as a difference."""
        self.set_title("Difference", safe_line(title))
        self._show(Content(safe_text(told)))

    def show_step(self, span: SpanRecord) -> None:
        """A step of a run."""
        self.set_title("Step", safe_line(span["path"]))
        known: dict[str, Any] = {**span}
        facts = [f"{name:8} {safe_line(str(known[name]))}" for name in _FACTS if known[name]]
        tokens = f"{span['prompt_tokens'] or 0:,} + {span['completion_tokens'] or 0:,} tokens"
        facts.append(
            f"{'time':8} {span['seconds']:.3f} s{f', {tokens}' if span['completion_tokens'] is not None else ''}"
        )
        parts: list[str | tuple[str, str]] = ["\n".join(facts), ("\n\ninput\n", "bold"), _text(span["input"])]
        parts += [("\n\noutput\n", "bold"), _text(span["output"])]
        self._show(Content.assemble(*parts))


def _text(value: Any) -> str:
    """A value for the screen; messages turn by turn."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
        text = "\n".join(f"{one['role']}: {one.get('content')}" for one in value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return safe_text(text if len(text) <= _LONG else f"{text[:_LONG]}\n… {len(text) - _LONG:,} more characters")
