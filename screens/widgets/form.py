"""A form made from a pydantic model: one row a field, with its description, checked as it is typed."""

from __future__ import annotations

import json
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
from textual.widgets import Checkbox, Input

from llmops_tui.figures import figure
from llmops_tui.safe_text import safe_line
from screens.widgets.fields import Field, TickBox
from screens.widgets.motions import motions

Model = TypeVar("Model", bound=BaseModel)


def to_text(value: Any) -> str:
    """A field's value as it is typed. Lists are written as JSON, so that a text may hold any character."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, dict)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return str(value)


def from_text(info: FieldInfo, text: str) -> Any:
    """What was typed, as pydantic takes it."""
    if get_origin(info.annotation) is tuple:
        text = text.strip()
        if not text:
            return ()
        try:
            return tuple(json.loads(text)) if text.startswith("[") else (text,)
        except (ValueError, TypeError):
            return (text,)
    if not text.strip() and type(None) in get_args(info.annotation):
        return None
    if get_origin(info.annotation) is dict:
        try:
            return json.loads(text or "{}")
        except ValueError:
            return text
    return text


_YES_NO = {True: "yes", False: "no"}
# A row is a line or two of text, and the space below it.
_ROW_LINES = 3
# The width of names, and the room between a field and its note.
_LABEL_COLUMNS, _GAP = 16, 2


def _typed(value: BaseModel) -> dict[str, object]:
    """What a form of this value has in its fields, as pydantic takes it."""
    out: dict[str, object] = {}
    for name, info in type(value).model_fields.items():
        current = getattr(value, name)
        out[name] = bool(current) if info.annotation is bool else from_text(info, to_text(current))
    return out


class FormRow(Widget):
    """A field, with its name before it and a note behind.

    Name and note are drawn by the row: widgets of their own would take as long again to come up.
    """

    def __init__(self, label: str, field: Widget, note: str, width: int) -> None:
        super().__init__(field, classes="form-row")
        field.styles.margin = (0, 0, 0, _LABEL_COLUMNS)
        field.styles.width = width
        self._label, self._note, self._indent = label, note, _LABEL_COLUMNS + width + _GAP
        self._wrong = self._current = False
        self.field = field

    def mark(self, *, current: bool) -> None:
        """Show whether it is the one that would be edited."""
        if current is not self._current:
            self._current = current
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
        name = Content.styled(self._label, "reverse") if self._current else Content(self._label)
        names = name.wrap(_LABEL_COLUMNS - 1)
        pairs = zip_longest(names, note, fillvalue=Content(""))
        return [name.pad_right(self._indent - name.cell_length) + beside for name, beside in pairs]


class ModelForm(VerticalScroll, Generic[Model]):
    """Edits one pydantic model. ``value`` is the last valid state; ``suggestions`` complete what is typed in a field.

    One that ``browses`` takes the focus itself: rows are gone through as those of a list, :meth:`edit` goes into the field of
    the row, and escape out of it. Until then keys are those of the screen.
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
    ) -> None:
        super().__init__(classes="model-form", can_focus=browses)
        self._field_columns = field_columns
        self._browses, self._at = browses, 0
        self._rows: dict[str, FormRow] = {}
        self.value = value
        self._suggestions = dict(suggestions or {})
        self.problems: dict[str, str] = {}
        self._typed = _typed(value)
        self._notes: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """One row a field: as many as there is room for; the others follow the first frame."""
        names = list(type(self.value).model_fields)
        seen = self.app.size.height // _ROW_LINES + 1
        for name in names[:seen]:
            yield self._row(name)
        if names[seen:]:
            self.call_after_refresh(lambda: self.mount_all([self._row(name) for name in names[seen:]]))

    def _row(self, name: str) -> FormRow:
        info, current = type(self.value).model_fields[name], getattr(self.value, name)
        field: Widget
        if info.annotation is bool:
            field = TickBox(_YES_NO[current], current, name=name, compact=True)
        else:
            known = self._suggestions.get(name)
            suggester = SuggestFromList(known) if known else None
            field = Field(to_text(current), name=name, compact=True, suggester=suggester)
        note = self._notes[name] = self._note(name, info)
        row = self._rows[name] = FormRow(name.replace("_", " "), field, note, self._field_columns)
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
        list(self._rows.values())[self._at].scroll_visible(animate=False)

    def action_half_page(self, direction: int) -> None:
        """Half of what is seen down or up."""
        self.action_row(direction * max(1, self.size.height // _ROW_LINES // 2))

    def edit(self) -> None:
        """Go into the field of the row; yes and no are turned over at once."""
        field = list(self._rows.values())[self._at].field
        if isinstance(field, TickBox):
            field.toggle()
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
        typed = _typed(value)
        if typed == self._typed and not self.problems:
            return
        self.value, self._typed = value, typed
        for field in self.query(Input):
            field.value = to_text(getattr(value, field.name or ""))
        for box in self.query(Checkbox):
            box.value = bool(getattr(value, box.name or ""))
            box.label = _YES_NO[box.value]
        self._check()

    @on(Input.Changed)
    @on(Checkbox.Changed)
    def _field_changed(self, event: Input.Changed | Checkbox.Changed) -> None:
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
        told = f" Now {figure(value, name)}." if name.endswith("bytes") and value else ""
        allowed = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
        return (info.description or "") + (f" One of: {', '.join(allowed)}." if allowed else "") + told
