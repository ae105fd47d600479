"""A form made from a pydantic model: one row a field, with its description, checked as it is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Static

from llmops_tui.field_words import is_byte_count, size_words, word_of
from llmops_tui.figures import figure
from llmops_tui.safe_text import safe_line
from screens.widgets.field_text import from_text, shown_text, typed_of
from screens.widgets.fields import Choice, Field, TickBox
from screens.widgets.motions import motions

Model = TypeVar("Model", bound=BaseModel)


_YES_NO = {True: "yes", False: "no"}
# A row is a line or two of text, and the space below it.
_ROW_LINES = 3
# The width of names of a dialog and of a form that has the whole screen, and the room between a field and its note.
_LABEL_COLUMNS, _LONG_LABEL_COLUMNS, _GAP = 16, 24, 2
# The width of a terminal on which names need not be wrapped.
_WIDE = 100


class FormRow(Widget):
    """A field, with its name before it and a note behind.

    Name and note are drawn by the row: widgets of their own would take as long again to come up.
    """

    def __init__(self, label: str, field: Widget, note: str, width: int, labels: int = _LABEL_COLUMNS) -> None:
        super().__init__(field, classes="form-row")
        field.styles.margin = (0, 0, 0, labels)
        field.styles.width = width
        self._label, self._labels, self._note, self._indent = label, labels, note, labels + width + _GAP
        self._wrong = self._current = False
        self.field = field

    def mark(self, *, current: bool) -> None:
        """Show whether it is the one that would be edited."""
        if current is not self._current:
            self._current = current
            self.set_class(current, "-current")
            self.refresh()

    def tell(self, note: str, *, wrong: bool) -> None:
        """Show another note; one that says what is wrong stands out."""
        self._note, self._wrong = note, wrong
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  Textual's
        """As many lines as the note takes, or the name."""
        return len(self._lines(width))

    def render(self) -> Content:
        """The name, room for the field, and the lines of the note."""
        return Content("\n").join(self._lines(self.size.width))

    def _lines(self, width: int) -> list[Content]:
        note = Content.styled(self._note, "$error" if self._wrong else "$muted").wrap(max(1, width - self._indent))
        name = Content.styled(self._label, "bold") if self._current else Content(self._label)
        names = name.wrap(self._labels - 1)
        pairs = zip_longest(names, note, fillvalue=Content(""))
        return [name.pad_right(self._indent - name.cell_length) + beside for name, beside in pairs]


class ModelForm(VerticalScroll, Generic[Model]):
    """Edits one pydantic model. ``value`` is the last valid state; ``suggestions`` complete what is typed in a field.

    One that ``browses`` takes the focus itself: rows are gone through as those of a list, :meth:`edit` goes into the field of
    the row, and escape out of it. Until then keys are those of the screen. Words to choose from are gone through there, as
    yes and no are. ``groups`` are headings, each with the fields below it, in the order of the model; ``ending`` stands
    below the last field.
    """

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # narrower than the base allows
        *motions("row(1)", "row(-1)", "row(-1000)", "row(1000)"),
        Binding("down", "row(1)", show=False),
        Binding("up", "row(-1)", show=False),
        Binding("escape", "leave_field", show=False),
    ]

    class Changed(Message):
        """A field was changed, and all fields are valid."""

    def __init__(
        self,
        value: Model,
        *,
        suggestions: dict[str, tuple[str, ...]] | None = None,
        field_columns: int = 20,
        browses: bool = False,
        groups: Mapping[str, Sequence[str]] | None = None,
        ending: Widget | None = None,
    ) -> None:
        super().__init__(classes="model-form", can_focus=browses)
        self._headings = {names[0]: heading for heading, names in (groups or {}).items()}
        self._ending = ending
        self._field_columns = field_columns
        self._browses, self._at = browses, 0
        self._rows: dict[str, FormRow] = {}
        self.value = value
        self._suggestions = dict(suggestions or {})
        self.problems: dict[str, str] = {}
        self._typed = typed_of(value)
        self._notes: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """One row a field: as many as there is room for; the others follow the first frame."""
        names = list(type(self.value).model_fields)
        seen = self.app.size.height // (_ROW_LINES - 1 if self._headings else _ROW_LINES) + 1
        for name in names[:seen]:
            yield from self._below_heading(name)
        rest = names[seen:]
        if rest:
            self.call_after_refresh(
                lambda: self.mount_all([w for name in rest for w in self._below_heading(name)] + self._end)
            )
        else:
            yield from self._end

    @property
    def _end(self) -> list[Widget]:
        return [self._ending] if self._ending is not None else []

    def _below_heading(self, name: str) -> list[Widget]:
        """The row of a field, below its heading where it is the first of a group."""
        heading = self._headings.get(name)
        first = " -first" if name == next(iter(self._headings), "") else ""
        above: list[Widget] = [Static(heading, classes=f"form-heading{first}", markup=False)] if heading else []
        return [*above, self._row(name)]

    def _row(self, name: str) -> FormRow:
        info, current = type(self.value).model_fields[name], getattr(self.value, name)
        field: Widget
        if info.annotation is bool:
            field = TickBox(_YES_NO[current], current, name=name, compact=True)
        elif self._browses and get_origin(info.annotation) is Literal:
            field = Choice(get_args(info.annotation), current, name=name)
        else:
            known = self._suggestions.get(name)
            suggester = SuggestFromList(known) if known else None
            nothing = word_of(info, "") or ""
            field = Field(shown_text(info, current), placeholder=nothing, name=name, compact=True, suggester=suggester)
        note = self._notes[name] = self._note(name, info)
        labels = _LABEL_COLUMNS
        if self._browses and self.app.size.width >= _WIDE:
            labels = _LONG_LABEL_COLUMNS
        row = self._rows[name] = FormRow(name.replace("_", " "), field, note, self._field_columns, labels)
        return row

    # ── going through its rows ──

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  the interface
        """Rows are gone through while no field has the focus, and a field is left for them."""
        if action in {"row", "half_page"}:
            return self._browses and self.has_focus
        return action != "leave_field" or (self._browses and not self.has_focus)

    def on_focus(self) -> None:
        """Show which row it is."""
        self._mark(self._at)

    def on_blur(self) -> None:
        """Its field is in use, or something else."""
        self._mark(None)

    def on_descendant_focus(self) -> None:
        """The row of the field that has the focus is the one to come back to."""
        for place, row in enumerate(self._rows.values()):
            if row.field.has_focus:
                self._at = place

    def _mark(self, at: int | None) -> None:
        for place, row in enumerate(self._rows.values()):
            row.mark(current=place == at)

    def action_row(self, step: int) -> None:
        """Go some rows down, or up with a number below 0."""
        self._at = max(0, min(self._at + step, len(self._rows) - 1))
        self._mark(self._at)
        if self._at == len(self._rows) - 1:
            # With what stands below it.
            self.scroll_end(animate=False)
        else:
            list(self._rows.values())[self._at].scroll_visible(animate=False)

    def action_half_page(self, direction: int) -> None:
        """Half of what is seen down or up."""
        self.action_row(direction * max(1, self.size.height // _ROW_LINES // 2))

    def edit(self) -> None:
        """Go into the field of the row; yes and no are turned over at once, and of a few words the next is chosen."""
        field = list(self._rows.values())[self._at].field
        if isinstance(field, TickBox):
            field.toggle()
        elif isinstance(field, Choice):
            field.action_step(1)
        else:
            field.focus()

    def action_leave_field(self) -> None:
        """Back to the rows."""
        self.focus()

    # ── its value ──

    def suggest(self, name: str, known: tuple[str, ...]) -> None:
        """Complete other words in a field from now on."""
        self._suggestions[name] = known
        for field in self.query(Field):
            if field.name == name:
                field.suggester = SuggestFromList(known)

    def fill(self, value: Model) -> None:
        """Show another value."""
        typed = typed_of(value)
        if typed == self._typed and not self.problems:
            return
        self.value, self._typed = value, typed
        for field in self.query(Input):
            name = field.name or ""
            field.value = shown_text(type(value).model_fields[name], getattr(value, name))
        for choice in self.query(Choice):
            choice.value = getattr(value, choice.name or "")
        for box in self.query(Checkbox):
            box.value = bool(getattr(value, box.name or ""))
            box.label = _YES_NO[box.value]
        self._check()

    @on(Input.Changed)
    @on(Checkbox.Changed)
    @on(Choice.Changed)
    def _field_changed(self, event: Input.Changed | Checkbox.Changed | Choice.Changed) -> None:
        event.stop()
        name = event.control.name or ""
        if isinstance(event, Checkbox.Changed):
            # A box without its tick beside "yes" could be read either way.
            event.control.label = _YES_NO[event.control.value]
            typed: Any = event.control.value
        else:
            typed = from_text(type(self.value).model_fields[name], event.control.value)
        # Each field tells of its first text, too.
        if typed != self._typed[name]:
            self._typed[name] = typed
            self._check()

    def _check(self) -> None:
        try:
            self.value = type(self.value).model_validate(self._typed)
            self.problems = {}
        except ValidationError as error:
            self.problems = {str(e["loc"][0]): e["msg"] for e in error.errors(include_url=False)}
        for name, info in type(self.value).model_fields.items():
            problem = self.problems.get(name)
            told = safe_line(problem) if problem else self._note(name, info)
            if self._notes.get(name, told) != told:
                self._notes[name] = told
                self._rows[name].tell(told, wrong=problem is not None)
        if not self.problems:
            self.post_message(self.Changed())

    def _note(self, name: str, info: FieldInfo) -> str:
        """The description, the values that are allowed, and a number of bytes as people read it."""
        value = getattr(self.value, name)
        unsaid = is_byte_count(info) and value and size_words(value) is None
        told = f" Now {figure(value, name)}." if unsaid else ""
        # A field that goes through its words shows them itself.
        typed = get_origin(info.annotation) is Literal and not self._browses
        allowed = get_args(info.annotation) if typed else ()
        default = info.get_default(call_default_factory=True)
        if self._browses and not info.is_required() and value != default:
            plain = _YES_NO[default] if isinstance(default, bool) else shown_text(info, default)
            told += f" Changed; the default is {plain or word_of(info, default) or 'empty'}."
        return (info.description or "") + (f" One of: {', '.join(allowed)}." if allowed else "") + told
