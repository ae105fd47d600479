"""The form of a search: how it chooses, what it is after, and what each field of the recipe is tried with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.figures import figure
from llmops_tui.safe_text import safe_line
from llmops_tui.training.recipe import value_at
from llmops_tui.training.recipe_words import grouped
from llmops_tui.training.search_methods import OBJECTIVES, PRUNERS, SAMPLERS
from llmops_tui.training.search_space import default_space, searchable, span_from_text, span_text
from screens.training.recipe_form import about, columns_for, row
from screens.widgets.fields import Choice, Field
from screens.widgets.form import FormRow
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.search_space import Space


class SweepArguments(TypedDict):
    """What a search is started with, as its job takes it."""

    recipe: dict[str, Any]
    space: Space
    trials: int
    sampler: str
    pruner: str
    objectives: list[str]
    at_once: int


_MOST_TRIALS, _MOST_AT_ONCE = 10_000, 1000
_HOW = {
    "trials": ("8", "How many short runs there are."),
    "sampler": ("tpe", "How the values of a trial are chosen."),
    "pruner": ("median", "Which trials are ended early."),
    "objectives": ("loss", "; ".join(f"{name}: {told}" for name, told in OBJECTIVES.items())),
    "at once": ("", "On a cluster: how many trials train at once; empty: one a GPU, or one a node."),
}
_CHOICES = {"sampler": SAMPLERS, "pruner": PRUNERS}
_SPANS = "Values with commas, or LOW..HIGH, then log or step N; empty: as the recipe has it."


class SweepForm(Modal["SweepArguments | None"]):
    """What to search around a recipe; ctrl+s gives the search's arguments, escape none."""

    CSS_PATH = ["../dialog.tcss", "../widgets/form.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS: ClassVar[list[Any]] = [
        Binding("ctrl+s,f2", "keep", "Search", priority=True),
        Binding("escape", "give_up", "Cancel"),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe
        self._typed = {name: default for name, (default, _) in _HOW.items()}
        self._spans = {path: span_text(span) for path, span in default_space(recipe).items()}

    def compose(self) -> ComposeResult:
        """How it is searched, and a row for each field."""
        width = self.app.size.width
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content(f"Search around {safe_line(self._recipe.name)}"), classes="dialog-title")
            yield Static(_SPANS, classes="dialog-told", markup=False)
            with VerticalScroll(id="sweep-fields", can_focus=False):
                for name, (default, told) in _HOW.items():
                    yield FormRow(name, _field(name, default), _told(name, default) or told, *columns_for(width))
                known = dict(searchable())
                for group, paths in grouped(known):
                    yield Static(group, classes="form-heading", markup=False)
                    for path in paths:
                        now = figure(value_at(self._recipe, path), path)[:40]
                        field = Field(self._spans.get(path, ""), name=path, compact=True)
                        yield row(path, field, f"Now {now}. {about(known[path])}", width)
            yield Static("", id="sweep-verdict", markup=False)
            yield KeysLine(("tab ↑ ↓", "fields"), ("← →", "choices"), ("ctrl+s", "search"), ("esc", "cancel"))

    def on_mount(self) -> None:
        """The first verdict."""
        self._judge()

    @on(Input.Changed)
    @on(Choice.Changed)
    def _field_changed(self, event: Input.Changed | Choice.Changed) -> None:
        event.stop()
        name = event.control.name or ""
        (self._typed if name in _HOW else self._spans)[name] = event.control.value
        if isinstance(event.control.parent, FormRow) and (told := _told(name, event.control.value)):
            event.control.parent.tell(told, wrong=False)
        self._judge()

    def _arguments(self) -> SweepArguments:
        """What was typed, where all of it goes together and each trial could be run.

        Raises:
            InputRefusedError: what does not.
        """
        from llmops_tui.training.sweeps import check_search

        trials = self._number("trials", _MOST_TRIALS)
        at_once = self._number("at once", _MOST_AT_ONCE) if self._typed["at once"].strip() else 0
        space = {path: span_from_text(path, text) for path, text in self._spans.items() if text.strip()}
        if not space:
            raise InputRefusedError("bad_space", "no field is searched: give one of them values")
        objectives = [one.strip() for one in self._typed["objectives"].split(",") if one.strip()]
        sampler, pruner = self._typed["sampler"].strip(), self._typed["pruner"].strip()
        check_search(self._recipe.model_dump(), space, sampler, pruner, objectives, at_once)
        return {
            "recipe": self._recipe.model_dump(),
            "space": space,
            "trials": trials,
            "sampler": sampler,
            "pruner": pruner,
            "objectives": objectives,
            "at_once": at_once,
        }

    def _number(self, name: str, most: int) -> int:
        typed = self._typed[name].strip()
        if not typed.isdecimal() or not 1 <= int(typed) <= most:
            raise InputRefusedError("bad_search", f"{name}: {typed[:20]!r} is not a number from 1 to {most:,}")
        return int(typed)

    def _judge(self) -> SweepArguments | None:
        verdict = self.query_one("#sweep-verdict", Static)
        try:
            found = self._arguments()
        except LlmopsError as error:
            told = f"{error.message.removeprefix('the recipe: ')} {error.hint}".rstrip()
            verdict.update(Content.styled(safe_line(told), "$error"))
            return None
        what = f"✓ {counted(found['trials'], 'trial')} over {', '.join(found['space'])}"
        verdict.update(Content.styled(what, "$success"))
        return found

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Close with what was asked for, where it can be searched."""
        found = self._judge()
        if found is None:
            self.app.bell()
            return
        self.dismiss(found)

    def action_give_up(self) -> None:
        """Close without a search."""
        self.dismiss(None)


def _told(name: str, word: str) -> str:
    """What a word stands for that is chosen among a few; nothing for what is written."""
    return _CHOICES.get(name, {}).get(word, "")


def _field(name: str, default: str) -> Choice | Field:
    if name in _CHOICES:
        return Choice(tuple(_CHOICES[name]), default, name=name)
    suggester = SuggestFromList(list(OBJECTIVES)) if name == "objectives" else None
    return Field(default, name=name, compact=True, suggester=suggester)
