"""The line that says which partials the draft holds, and which are newer."""

from __future__ import annotations

import asyncio

from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line
from screens.playground.state import PlaygroundState
from screens.shell.node import ShellNode

_WORDS = ("partial", "include")


class PartialsLine(Static, ShellNode):
    """Hidden where the draft holds no partials and includes none."""

    def __init__(self, state: PlaygroundState) -> None:
        super().__init__("", id="partials-line", markup=False)
        self.display = False
        self._state = state
        self._seen: object = None

    def look(self) -> None:
        """Read what the draft holds, where it is another draft or the workspace changed."""
        texts = (self._state.draft.system, self._state.draft.template)
        if not any(word in text for word in _WORDS for text in texts):
            self.display, self._seen = False, None
            return
        facts = (texts, self.services.prompts.stamp())
        if facts != self._seen:
            self._seen = facts
            self.act("partials", self._read, *texts)

    async def _read(self, system: str, template: str) -> None:
        from llmops_tui.prompts.partial_versions import held_partials
        from llmops_tui.prompts.partials import has_includes

        held = await asyncio.to_thread(held_partials, self.services.prompts, system, template)
        draft = self._state.draft
        if (draft.system, draft.template) != (system, template):
            return  # whoever changed it looks again
        told = " · ".join(one.told for one in held)
        parts = [(safe_line(told, 200), "$muted")] if told else []
        if any(one.other is not None and not one.partial.within for one in held):
            parts.append(("  alt+n takes what is newer", "$warning"))
        if has_includes(system, template):
            parts.append((f"{'  ' if parts else ''}what is included is put in by a run or a save", "$warning"))
        self.display = bool(parts)
        self.update(Content.assemble(("partials ", "$accent"), *parts))
