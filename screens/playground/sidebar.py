"""The left column: prompts, and the tree of versions of the open one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line
from screens.playground.version_graph import lanes

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptSummary, PromptVersion

_EMPTY_PROMPTS = "No prompts yet.\nn starts one."
_EMPTY_VERSIONS = "No versions yet.\nF5 runs the draft and keeps it as @1."


class PromptList(OptionList):
    """The prompts, the last changed first."""

    class Opened(Message):
        """A prompt was chosen."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__(id="prompt-list", markup=False, compact=True)
        self._names: list[str] = []

    def show(self, prompts: list[PromptSummary], current: str | None, drafts: set[str]) -> None:
        """Show these prompts; ``current`` is the open one."""
        self.clear_options()
        self._names = [p.name for p in prompts]
        if current is not None and current not in self._names:
            self._names.insert(0, current)
        latest = {p.name: p for p in prompts}
        for name in self._names:
            summary = latest.get(name)
            version = f"@{summary.latest}" if summary else "new"
            production = " ●" if summary and "production" in summary.labels else ""
            self.add_option(
                Option(
                    Content.assemble(
                        (name, "bold" if name == current else ""), "  ", (version, "$muted"),
                        (production, "$success"), (" ✎" if name in drafts else "", "$warning"),
                    ),
                    id=name,
                )
            )  # fmt: skip
        if not self._names:
            self.add_option(Option(Content.styled(_EMPTY_PROMPTS, "$muted"), disabled=True))
        elif current in self._names:
            self.highlighted = self._names.index(current)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter opens."""
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Opened(event.option_id))


class VersionList(OptionList):
    """The versions of one prompt, newest first, with their tree."""

    class Chosen(Message):
        """A version was chosen: its text is wanted in the editors."""

        def __init__(self, version: PromptVersion) -> None:
            super().__init__()
            self.version = version

    class Looked(Message):
        """Another version is under the cursor."""

        def __init__(self, version: PromptVersion | None) -> None:
            super().__init__()
            self.version = version

    def __init__(self) -> None:
        super().__init__(id="version-list", markup=False, compact=True)
        self._versions: list[PromptVersion] = []
        self._at: tuple[int | None, int | None] = (None, None)

    @property
    def current(self) -> PromptVersion | None:
        """The version under the cursor; none on the draft."""
        if self.highlighted is None:
            return None
        option_id = self.get_option_at_index(self.highlighted).id
        return next((v for v in self._versions if v.id == option_id), None)

    def show(
        self, versions: list[PromptVersion], *, draft: int | None, matching: int | None, marked: str | None
    ) -> None:
        """Show these versions; ``draft`` is the number the unsaved text would get, where there is such text."""
        kept = self.current
        self.clear_options()
        self._versions = versions
        if draft is not None:
            self.add_option(Option(Content.assemble(("✎ ", "$warning"), (f"@{draft} draft", "$warning")), id="draft"))
        graph = lanes([(v.number, v.parent) for v in versions])
        for version, lane in zip(versions, graph, strict=True):
            here = version.number == matching
            parts: list[tuple[str, str] | str] = [
                (lane, "$accent" if here else "$muted"), " ", (f"@{version.number}", "bold" if here else ""),
            ]  # fmt: skip
            parts += [(" ◆", "$accent")] if version.ref == marked else []
            parts += [(f" {label}", "$success") for label in version.labels]
            parts += [(f" {safe_line(version.note, 60)}", "$muted")] if version.note else []
            self.add_option(Option(Content.assemble(*parts), id=version.id))
        if not self.option_count:
            self.add_option(Option(Content.styled(_EMPTY_VERSIONS, "$muted"), disabled=True))
            return
        # The cursor goes with the text: to the draft, or to the version the editors hold now.
        moved = self._at != (draft, matching)
        self._at = (draft, matching)
        holding = next((v for v in versions if v.number == matching), None)
        wanted = holding if moved else kept
        ids = [self.get_option_at_index(i).id for i in range(self.option_count)]
        self.highlighted = ids.index(wanted.id) if wanted is not None and wanted.id in ids else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter brings the version's text back."""
        event.stop()
        version = next((v for v in self._versions if v.id == event.option_id), None)
        if version is not None:
            self.post_message(self.Chosen(version))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Tell which version is looked at."""
        event.stop()
        self.post_message(self.Looked(next((v for v in self._versions if v.id == event.option_id), None)))
