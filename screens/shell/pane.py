"""The base of panes: a pane owns its widgets and actions, and posts messages to its screen."""

from __future__ import annotations

from screens.shell.node import ShellNode
from screens.widgets.panel import Panel


# Of several bases Textual takes styles and names for queries from the first alone: jump mode looks for panels.
class Pane(Panel, ShellNode):
    """A panel with state and actions of its own.

    An action of the registry that names a pane calls ``action_NAME`` here. A pane knows no screen and no other pane: what
    concerns them it posts.
    """
