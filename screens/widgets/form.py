"""A form made from a pydantic model: one row a field, with its description, checked as it is typed."""

from __future__ import annotations

import json
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Checkbox, Input, Static

from llmops_tui.safe_text import safe_line
from screens.widgets.fields import Field
from screens.widgets.figures import figure

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


class ModelForm(VerticalScroll, Generic[Model]):
    """Edits one pydantic model. ``value`` is the last valid state; ``suggestions`` complete what is typed in a field."""

    class Changed(Message):
        """A field was changed, and all fields are valid."""

    def __init__(self, value: Model, *, suggestions: dict[str, tuple[str, ...]] | None = None) -> None:
        super().__init__(classes="model-form", can_focus=False)
        self.value = value
        self._suggestions = suggestions or {}
        self.problems: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """One row a field."""
        for name, info in type(self.value).model_fields.items():
            current = getattr(self.value, name)
            with Horizontal(classes="form-row"):
                yield Static(name.replace("_", " "), classes="form-name", markup=False)
                if info.annotation is bool:
                    yield Checkbox(_YES_NO[current], current, name=name, compact=True)
                else:
                    known = self._suggestions.get(name)
                    suggester = SuggestFromList(known) if known else None
                    yield Field(to_text(current), name=name, compact=True, suggester=suggester)
                yield Static(self._note(name, info), classes="form-note", id=f"note-{name}", markup=False)

    def fill(self, value: Model) -> None:
        """Show another value."""
        self.value = value
        for field in self.query(Input):
            field.value = to_text(getattr(value, field.name or ""))
        for box in self.query(Checkbox):
            box.value = bool(getattr(value, box.name or ""))

    @on(Input.Changed)
    @on(Checkbox.Changed)
    def _field_changed(self, event: Input.Changed | Checkbox.Changed) -> None:
        event.stop()
        fields = type(self.value).model_fields
        raw: dict[str, Any] = {f.name or "": from_text(fields[f.name or ""], f.value) for f in self.query(Input)}
        for box in self.query(Checkbox):
            # A box without its tick beside "yes" could be read either way.
            box.label = _YES_NO[box.value]
            raw[box.name or ""] = box.value
        try:
            value = type(self.value).model_validate(raw)
            self.problems = {}
            self.value = value
        except ValidationError as error:
            self.problems = {str(e["loc"][0]): e["msg"] for e in error.errors(include_url=False)}
        for name, info in fields.items():
            note = self.query_one(f"#note-{name}", Static)
            problem = self.problems.get(name)
            note.update(safe_line(problem) if problem else self._note(name, info))
            note.set_class(problem is not None, "-wrong")
        if not self.problems:
            self.post_message(self.Changed())

    def _note(self, name: str, info: FieldInfo) -> str:
        """The description, the values that are allowed, and a number of bytes as people read it."""
        value = getattr(self.value, name)
        told = f" Now {figure(value, name)}." if name.endswith("bytes") and value else ""
        allowed = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
        return (info.description or "") + (f" One of: {', '.join(allowed)}." if allowed else "") + told
