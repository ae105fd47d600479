"""Something a person can do with a key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """Something a person can do with a key.

    Attributes:
        id: stable name, ``scope.name``; the user's keymap refers to it.
        keys: default keys, comma-separated as Textual reads them; at least two, one a letter or an F-key.
        title: a word or two, for the footer and the palette.
        help: one sentence, for help and the keys page.
        show: whether the footer shows it.
        priority: whether its ctrl keys work while text is being edited, before the editor sees them.
        call: what Textual calls; without it the method ``action_NAME`` of the app, the pane or the screen.
        pane: the pane that does it, whose id is ``scope-pane``; without it the screen does.
    """

    id: str
    keys: str
    title: str
    help: str
    show: bool = False
    priority: bool = False
    call: str = ""
    pane: str = ""

    @property
    def scope(self) -> str:
        """``app``, or the screen it belongs to."""
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        """The name of the method, ``action_NAME``, that does it."""
        return self.id.partition(".")[2]

    @property
    def target(self) -> str:
        """What Textual calls."""
        if self.call:
            return self.call
        if self.pane:
            return f"in_pane('{self.scope}-{self.pane}', '{self.name}')"
        return f"app.{self.name}" if self.scope == "app" else self.name

    def keys_by_reach(self, keys: str) -> tuple[str, str]:
        """Keys that editors of text must not lose, and keys that work in them too, each comma-separated.

        F-keys mean nothing while text is written, so they always work; letters never do.
        """
        single = [key.strip() for key in keys.split(",") if " " not in key.strip()]
        always = [key for key in single if _is_function_key(key) or (self.priority and key.startswith("ctrl+"))]
        return ",".join(key for key in single if key not in always), ",".join(always)


def _is_function_key(key: str) -> bool:
    return key.startswith("f") and key[1:].isdigit()
