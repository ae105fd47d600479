"""Columns of a comparison: a prompt version, a model, parameters; sweeps that make several of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, cast

import pydantic

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import AnswerSettings, defaults_of, read_settings
from llmops_tui.inference.asked_prompt import sampling_of
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.inference.sampling import SamplingParameters, told_parameter

if TYPE_CHECKING:
    from llmops_tui.inference.prompt_versions import PromptVersion

MOST_COLUMNS = 6
# What is swept over, by the names that people write.
_SHORT = {"temp": "temperature", "thinking": "enable_thinking", "max": "max_tokens", "repeat": "repeat_penalty"}
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_YES = {"on": "true", "off": "false"}
_LISTS = {"stop", "logit_bias"}


class _ColumnRecord(TypedDict):
    prompt: str
    version: int | None
    system: str
    template: str
    model: str
    parameters: SamplingRecord


class ColumnRecord(_ColumnRecord, total=False):
    """A column as boards and ``--json`` have it; a version of none is a text that is in no version yet.

    ``settings`` are there where the prompt holds some beside its texts.
    """

    settings: JsonObject


@dataclass(frozen=True)
class Column:
    """What answers in a column. ``model`` is a name as requests have it, with an adapter ``MODEL+ADAPTER``.

    ``parameters`` are all that it is sampled by, those included that the ``settings`` of its prompt hold.
    """

    prompt: str
    version: int | None
    system: str
    template: str
    model: str
    parameters: SamplingParameters
    settings: AnswerSettings | None = None

    @property
    def ref(self) -> str:
        """Its prompt's version, or that it is a draft."""
        return f"{self.prompt}@{self.version}" if self.version is not None else f"{self.prompt} draft"

    def as_dict(self) -> ColumnRecord:
        """The column as JSON."""
        record: ColumnRecord = {
            "prompt": self.prompt,
            "version": self.version,
            "system": self.system,
            "template": self.template,
            "model": self.model,
            "parameters": cast("SamplingRecord", self.parameters.model_dump(mode="json", exclude_none=True)),
        }
        if self.settings is not None:
            record["settings"] = self.settings.as_record()
        return record


def column_of(given: ColumnRecord) -> Column:
    """A column from what :meth:`Column.as_dict` made of it.

    Raises:
        ValueError: it is none.
    """
    version = given["version"]
    texts = [str(given[name]) for name in ("prompt", "system", "template", "model")]
    prompt, system, template, model = texts
    return Column(
        prompt,
        version if isinstance(version, int) else None,
        system,
        template,
        model,
        SamplingParameters.model_validate(given["parameters"]),
        read_settings(given.get("settings"), f"the column of {prompt}"),
    )


def of_version(version: PromptVersion, model: str, parameters: SamplingParameters) -> Column:
    """A column of a version; what ``parameters`` set counts before what it holds."""
    sampled = sampling_of(version.settings, parameters)
    return Column(version.prompt, version.number, version.system, version.template, model, sampled, version.settings)


def with_version(column: Column, version: PromptVersion) -> Column:
    """The column with another version, and with the model and the sampling that this one holds in place of those held before."""
    before = _held(column.settings)
    kept = {name: value for name, value in column.parameters.model_dump().items() if before.get(name, ...) != value}
    parameters = SamplingParameters.model_validate({**kept, **_held(version.settings)})
    model = version.settings.model if version.settings is not None else ""
    return of_version(version, model or column.model, parameters)


def defaults_in(columns: Sequence[Column]) -> set[str]:
    """The variables that need no value, since a column's prompt has one for them."""
    return {name for column in columns for name in defaults_of(column.settings)}


def _held(settings: AnswerSettings | None) -> dict[str, object]:
    return settings.parameters.model_dump(exclude_unset=True) if settings is not None else {}


def titles(columns: Sequence[Column]) -> list[str]:
    """What each column is called: what is not the same in all of them, in short; its model where all is the same."""
    refs, models = {c.ref for c in columns}, {c.model for c in columns}
    dumps = [c.parameters.model_dump() for c in columns]
    varied = [name for name in SamplingParameters.model_fields if len({str(d[name]) for d in dumps}) > 1]
    found = []
    for column, dump in zip(columns, dumps, strict=True):
        parts = [column.ref] if len(refs) > 1 else []
        parts += [column.model] if len(models) > 1 else []
        parts += [told_parameter(name, dump[name]) for name in varied]
        found.append(" · ".join(parts) or column.model)
    return found


def common_title(columns: Sequence[Column]) -> str:
    """What is the same in all columns and over none of them by :func:`titles`: the version or its prompt, and the model."""
    refs, prompts, models = ({getattr(c, name) for c in columns} for name in ("ref", "prompt", "model"))
    parts = refs if len(refs) == 1 else prompts if len(prompts) == 1 else set()
    # Where nothing differs the model is what a column is called.
    named = models if len(models) == 1 and titles(columns)[:1] != [*models] else set()
    return " · ".join([*parts, *named])


def read_sweep(text: str) -> tuple[str, list[str]]:
    """A sweep as it is written, such as ``temperature 0 0.5 1``, ``seed 1..4`` or ``thinking on off``.

    Returns the parameter and its values, as text.

    Raises:
        InputRefusedError: ``bad_sweep``.
    """
    name, *words = text.replace("=", " ").replace(",", " ").split() or [""]
    field = _SHORT.get(name, name)
    known = [n for n in SamplingParameters.model_fields if n not in _LISTS]
    if field not in known:
        raise InputRefusedError(
            "bad_sweep",
            f"{name!r} is no parameter to sweep over" if name else "no parameter is named",
            f"Write one of {', '.join(known)} and its values, such as temperature 0 0.5 1, or seed 1..4.",
        )
    values: list[str] = []
    count = 0
    for word in words:
        if span := _RANGE.fullmatch(word):
            first, last = int(span[1]), int(span[2])
            values += [str(n) for n in range(first, min(last, first + MOST_COLUMNS) + 1)]
            count += max(0, last - first + 1)
        else:
            values.append(_YES.get(word, word))
            count += 1
    if count < 2 or count > MOST_COLUMNS:
        raise InputRefusedError(
            "bad_sweep",
            f"a sweep has 2 to {MOST_COLUMNS} values, and this one {count:,}",
            "Write the values behind the parameter, with blanks between.",
        )
    return field, values


def swept(column: Column, field: str, values: Sequence[str]) -> list[Column]:
    """A column for each value of one of its parameters.

    Raises:
        InputRefusedError: ``bad_sweep``: a value is out of bounds, or stands there twice.
    """
    found: list[Column] = []
    for value in values:
        try:
            changed = SamplingParameters.model_validate(column.parameters.model_dump() | {field: value})
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputRefusedError("bad_sweep", f"{field} {value}: {first['msg']}", "Choose other values.") from error
        if any(one.parameters == changed for one in found):
            raise InputRefusedError("bad_sweep", f"{field} {value} is there twice", "Each value makes one column.")
        found.append(replace(column, parameters=changed))
    return found


def with_next_seed(columns: Sequence[Column]) -> list[Column]:
    """The same columns, each with the next seed; those that differ in their seeds keep apart."""
    step = 1 + max(c.parameters.seed for c in columns) - min(c.parameters.seed for c in columns)
    most = 2**32 - 1
    return [
        replace(c, parameters=c.parameters.model_copy(update={"seed": (c.parameters.seed + step) % most}))
        for c in columns
    ]


def check_count(count: int) -> None:
    """Refuse a comparison that nobody can read.

    Raises:
        InputRefusedError: ``too_many_columns``, ``no_columns``.
    """
    if count > MOST_COLUMNS:
        raise InputRefusedError(
            "too_many_columns", f"{count} columns: at most {MOST_COLUMNS} are compared at once", "Leave some out."
        )
    if count < 1:
        raise InputRefusedError("no_columns", "there is nothing to compare", "Name a prompt version and a model.")
