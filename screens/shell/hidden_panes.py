"""The mark of panes that have no place on the terminal now: which they are, and the key by which they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.content import Content
from textual.dom import DOMNode
from textual.widget import Widget

from llmops_tui.counts import counted
from screens.actions import ACTIONS
from screens.keymap import keys_of
from screens.widgets.panel import Panel

UNUSED = "-unused"
"""The class of a pane that has nothing to show now."""
_BY_ID = {action.id: action for action in ACTIONS if action.id in {"app.jump", "app.maximise"}}


def hidden_panes(body: DOMNode) -> list[Panel]:
    """The panes of a screen that have something to show, and take no cell of the terminal."""
    return [panel for panel in body.query(Panel) if not (is_seen(panel) or panel.has_class(UNUSED))]


def is_seen(panel: Panel) -> bool:
    """Whether a cell of it is on the terminal: it may also lie behind the end of its column."""
    seen = panel.region
    for around in panel.ancestors:
        if isinstance(around, Widget):
            seen = seen.intersection(around.region)
    return bool(seen.area)


def set_unused(panel: Panel, *, unused: bool) -> None:
    """Say whether a pane has nothing to show now: it is not missed then."""
    if panel.has_class(UNUSED) != unused:
        panel.set_class(unused, UNUSED)
        panel.refresh(layout=True)  # what is hidden is told with each layout


def marks_of(panels: Iterable[Panel], key: str) -> Iterator[Content]:
    """Ways to say it, the longest first: each with the key that jumps to it, or how many there are."""
    names = [Content.assemble((panel.jump_key, "$accent"), " ", panel.title) for panel in panels]
    if names:
        # The letters have the colour of keys, or one reads as a word before the name.
        listed = Content.styled(" · ", "$muted").join(names)
        yield Content.assemble(("not shown: ", "$muted"), listed, "  ", (key, "$accent"))
        yield Content.assemble((f"{counted(len(names), 'more pane')} ", "$muted"), (key, "$accent"))
        yield Content.assemble((f"+{len(names)} ", "$muted"), (key, "$accent"))
    yield Content("")


def key_for(app: App[Any], keymap: Mapping[str, str], *, maximised: bool) -> str:
    """The key that shows what is hidden: that of jump mode, or the one that ends a pane's filling of the terminal."""
    action = _BY_ID["app.maximise" if maximised else "app.jump"]
    return app.get_key_display(Binding(keys_of(action, dict(keymap))[0], ""))
