"""All formats: those that are built in, and those from plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from llmops_tui.datasets.formats.alpaca import Alpaca
from llmops_tui.datasets.formats.base import Format, RowRefusedError
from llmops_tui.datasets.formats.gemini import Gemini
from llmops_tui.datasets.formats.kto import Kto
from llmops_tui.datasets.formats.messages import Messages
from llmops_tui.datasets.formats.plain_text import PlainText
from llmops_tui.datasets.formats.preference import Preference
from llmops_tui.datasets.formats.prompt_completion import PromptCompletion
from llmops_tui.datasets.formats.sharegpt import ShareGpt
from llmops_tui.datasets.formats.tabular import Tabular
from llmops_tui.datasets.records import KIND_COLUMNS, Row
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.plugins import Plugins, made_of

T = TypeVar("T")
Given = TypeVar("Given")
# In the order in which they are preferred: the more a row must have, the earlier. A new one is a class in a module beside
# this one, and an entry here.
FORMATS: tuple[Format, ...] = (
    Preference(), Kto(), Messages(), ShareGpt(), Gemini(), Alpaca(), PromptCompletion(), PlainText(), Tabular(),
)  # fmt: skip
_BUILT_IN = {form.name: form for form in FORMATS}


def _accept(name: str, given: object) -> Format:
    form = made_of(Format)(name, given)
    if form.name != name:
        raise ValueError(f"its name is {form.name!r}, which must be the name of its entry point")
    if form.kind not in KIND_COLUMNS:
        raise ValueError(f"{form.kind!r} is not a kind of dataset; the kinds are {', '.join(KIND_COLUMNS)}")
    names = [*form.columns, *form.implies, form.sign, form.turns]
    if not all(isinstance(name, str) for name in names):
        raise TypeError("its columns and signs must all be strings")
    return form


PLUGINS: Plugins[Format] = Plugins("formats", _accept, lambda: _BUILT_IN)


def all_formats() -> list[Format]:
    """All formats in the order in which they are preferred: those of packages behind the built-in ones, a table last."""
    return [*FORMATS[:-1], *PLUGINS.all().values(), FORMATS[-1]]


def find_format(name: str) -> Format:
    """A format by its name.

    Raises:
        InputRefusedError: ``unknown_format``, with what is wrong with it where a package brings it.
    """
    found = _BUILT_IN.get(name) or PLUGINS.get(name)
    if found is None:
        problem = PLUGINS.problem(name) or f"{name!r} is not a format"
        raise InputRefusedError("unknown_format", problem, f"One of: {', '.join(f.name for f in all_formats())}")
    return found


def calls(form: Format) -> Calls:
    """How a format's code is called: that of a package may raise anything, which becomes the reason to refuse a row."""
    if form.name in _BUILT_IN:
        return Calls(form.recognises, form.alone, form.read, form.write)
    return _guarded(form)


@dataclass(frozen=True)
class Calls:
    """What a format does with rows; each raises :class:`RowRefusedError` alone."""

    recognises: Callable[[Row], bool]
    alone: Callable[[Sequence[Row]], bool]
    read: Callable[[Row], Row]
    write: Callable[[Row], Row]


def _guarded(form: Format) -> Calls:
    def named(call: Callable[[Given], T], given: Given) -> T:
        try:
            with PLUGINS.at_work(form.name, RowRefusedError):
                return call(given)
        except LlmopsError as error:
            raise RowRefusedError(error.message) from error

    def read(row: Row) -> Row:
        made = named(form.read, row)
        missing = [name for name in KIND_COLUMNS[form.kind] if name not in made] if isinstance(made, dict) else ["row"]
        if missing:
            raise RowRefusedError(f"the format {form.name} read it without {', '.join(missing)}")
        return made

    return Calls(
        lambda row: named(form.recognises, dict(row)),
        lambda rows: named(form.alone, rows),
        read,
        lambda row: named(form.write, row),
    )
