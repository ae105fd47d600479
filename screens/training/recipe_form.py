"""The form of a recipe: every field with its description, validated while typing, and the memory it requires."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.training.bases import trainable
from llmops_tui.training.recipe import changed, fields, value_at
from llmops_tui.training.recipe_input import from_text
from llmops_tui.training.recipe_words import grouped, label_of
from screens.widgets.fields import Choice, Field
from screens.widgets.form import FormRow
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from screens.services import Services

_NARROW = 100


class RecipeForm(Modal["Recipe | None"]):
    """Changes a recipe; ctrl+s gives the new one back, escape none."""

    CSS_PATH = ["../dialog.tcss", "../widgets/form.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS: ClassVar[list[Any]] = [
        Binding("ctrl+s,f2", "keep", "Keep", priority=True),
        Binding("escape", "give_up", "Cancel"),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, services: Services, recipe: Recipe) -> None:
        super().__init__()
        self._services = services
        self._recipe = recipe
        self._changed = recipe
        self._typed: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """A row a field with what it does, in the groups in which a recipe is told."""
        known = dict(fields())
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content(f"Recipe {safe_line(self._recipe.name)}"), classes="dialog-title")
            with VerticalScroll(id="recipe-fields", can_focus=False):
                for group, paths in grouped(known):
                    if group:
                        yield Static(group, classes="form-heading", markup=False)
                    for path in paths:
                        yield row(path, self._field(path, known[path]), about(known[path]), self.app.size.width)
            yield Static("", id="recipe-verdict", markup=False)
            yield KeysLine(("tab ↑ ↓", "fields"), ("← →", "choices"), ("ctrl+s", "keep"), ("esc", "cancel"))

    def _field(self, path: str, info: Any) -> Widget:
        if words := choices_of(info.annotation):
            return Choice(words, self._text(path), name=path)
        return Field(self._text(path), name=path, compact=True)

    def on_mount(self) -> None:
        """Names to complete, and the first verdict."""
        self.run_worker(self._read_names(), group="names", exit_on_error=False)
        self._judge()

    async def _read_names(self) -> None:
        models = await asyncio.to_thread(self._services.models.all)
        datasets = await asyncio.to_thread(self._services.datasets.all)
        names = {
            "base": [m.name for m in await asyncio.to_thread(trainable, models)],
            "serving": [m.name for m in models if m.kind == "gguf"],
            "data": [d.dataset for d in datasets],
            "evaluation.dataset": [d.dataset for d in datasets],
        }
        for path, known in names.items():
            for field in self.query(Input):
                if field.name == path:
                    field.suggester = SuggestFromList(known)

    def _text(self, path: str) -> str:
        value = value_at(self._recipe, path)
        if path == "data":
            return ", ".join(s.dataset + (f"*{s.weight:g}" if s.weight != 1 else "") for s in value)
        if isinstance(value, list):
            return ", ".join(str(v) for v in value)
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False) if value else ""
        return "yes" if value is True else "no" if value is False else str(value)

    @on(Input.Changed)
    @on(Choice.Changed)
    def _field_changed(self, event: Input.Changed | Choice.Changed) -> None:
        event.stop()
        self._typed[event.control.name or ""] = event.control.value
        self._judge()

    def _judge(self) -> None:
        verdict = self.query_one("#recipe-verdict", Static)
        try:
            self._changed = changed(self._recipe, {p: from_text(p, t) for p, t in self._typed.items()})
        except LlmopsError as error:
            verdict.update(Content.styled(safe_line(error.message.removeprefix("the recipe: ")), "$error"))
            return
        batch = self._changed.batch
        parts = [f"{batch.size} at once", f"{batch.accumulation} accumulated"]
        parts += [f"{self._changed.ranks} devices"] if self._changed.ranks > 1 else []
        effective = f"{' × '.join(parts)} = {counted(self._changed.effective_batch, 'row')} a step"
        verdict.update(Content.styled(f"✓ {effective}; p on the screen checks memory, data and template", "$success"))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Close with the recipe, where it is valid."""
        try:
            recipe = changed(self._recipe, {p: from_text(p, t) for p, t in self._typed.items()})
        except LlmopsError as error:
            self.app.bell()
            self.query_one("#recipe-verdict", Static).update(Content.styled(safe_line(error.message), "$error"))
            return
        self.dismiss(recipe)

    def action_give_up(self) -> None:
        """Close without a change."""
        self.dismiss(None)


def row(path: str, field: Widget, told: str, width: int) -> FormRow:
    """The row of a field: what it is called, the field, what it does, and its name in the recipe's file where that is another.

    ``width`` are the cells of the terminal.
    """
    label = label_of(path)
    named = "" if label == path else f" ({path})"
    return FormRow(label, field, safe_line(told, 500) + named, *columns_for(width))


def columns_for(width: int) -> tuple[int, int]:
    """Cells of fields and of labels of a form, in a terminal of so many."""
    return (20, 19) if width < _NARROW else (24, 23)


def about(info: Any) -> str:
    """What a field does."""
    return info.description or ""


def choices_of(kind: Any) -> tuple[str, ...]:
    """The few words that a field may have; none where it is written."""
    if kind is bool:
        return ("yes", "no")
    return tuple(str(v) for v in get_args(kind)) if get_origin(kind) is Literal else ()
