"""Few-shot examples of a prompt, drawn from the rows of a version of a dataset."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmops_tui.counts import counted
from llmops_tui.datasets.records import Row, dump_json
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.answer_settings import (
    MOST_EXAMPLES,
    AnswerSettings,
    Example,
    Examples,
    read_settings,
    settings_body,
    turns_hash,
)

# The columns of questions and answers of a kind of dataset, where none are named.
_COLUMNS = {"prompt-completion": ("prompt", "completion"), "preference": ("prompt", "chosen")}
_MESSAGES = "messages"
_HINT = "Examples are drawn by dataset, count, seed, rows, question, answer and variable; or written as turns."


def draw_examples(
    version: DatasetVersion,
    *,
    count: int,
    seed: int = 0,
    rows: Sequence[int] = (),
    question: str = "",
    answer: str = "",
    variable: str = "",
) -> Examples:
    """Examples with the texts of their rows; the rows that are named, else ``count`` drawn by ``seed``, each at most once.

    The columns may be left out where the kind of the dataset says them. Of conversations each is a question and its answer.

    Raises:
        InputRefusedError: ``bad_examples``: there are not so many rows, a column is missing, or a row says no question or no
            answer; it is named.
    """
    wanted = list(rows)
    if not wanted:
        if count > version.rows:
            raise _bad(f"{version.ref} has {counted(version.rows, 'row')}, fewer than {count}", "Draw fewer.")
        wanted = sorted(random.Random(seed).sample(range(version.rows), count))  # noqa: S311  a seed decides
    if len(wanted) > MOST_EXAMPLES:
        raise _bad(f"{len(wanted)} examples: a prompt takes {MOST_EXAMPLES} at most", "Take fewer.")
    if beyond := [row for row in wanted if not 0 <= row < version.rows]:
        raise _bad(f"{version.ref} has no row {beyond[0]}", f"Its rows are 0 to {version.rows - 1}.")
    columns = _columns(version, question, answer)
    found = version.rows_at(wanted)
    turns = [_turn(version, number, row, columns) for number, row in zip(wanted, found, strict=True)]
    return Examples(
        dataset=version.ref,
        sha256=version.sha256,
        rows=tuple(wanted),
        seed=None if rows else seed,
        question=columns[0],
        answer=columns[1],
        variable=variable,
        turns_sha256=turns_hash(turns),
        turns=tuple(turns),
    )


def settings_of_text(text: str, source: str, datasets: DatasetStore) -> AnswerSettings | None:
    """Settings as people write them, in YAML or JSON; examples without turns are drawn.

    Then they say ``dataset``, and if need be ``count``, ``seed``, ``rows``, ``question``, ``answer`` and ``variable``.

    Raises:
        InputRefusedError: ``bad_settings``, ``bad_examples``. NotFoundError: there is no such dataset.
    """
    body = settings_body(text, source)
    asked = body.get("examples") if isinstance(body, dict) else None
    if isinstance(body, dict) and isinstance(asked, dict) and "turns" not in asked:
        try:
            drawing = _Drawing.model_validate(asked)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputRefusedError("bad_settings", f"{source}: examples.{place}: {first['msg']}", _HINT) from error
        found = draw_examples(datasets.get(drawing.dataset), **drawing.model_dump(exclude={"dataset"}))
        body = {**body, "examples": found.model_dump(mode="json", exclude_defaults=True)}
    return proven(read_settings(body, source), datasets)


def proven(settings: AnswerSettings | None, datasets: DatasetStore) -> AnswerSettings | None:
    """Settings whose examples are of the rows that they name, or name none.

    An earlier release kept no hash of the turns with them, so only the rows themselves tell whether they were edited since.
    """
    examples = settings.examples if settings is not None else None
    if settings is None or examples is None or not examples.dataset or examples.turns_sha256:
        return settings
    found = _as_drawn(examples, datasets)
    if found is None or found.turns != examples.turns:
        found = Examples(variable=examples.variable, turns=examples.turns)
    else:
        found = examples.model_copy(update={"turns_sha256": found.turns_sha256})
    return settings.model_copy(update={"examples": found})


def _as_drawn(examples: Examples, datasets: DatasetStore) -> Examples | None:
    """The examples of the same rows as they are in the dataset, by whatever name; none where it has no such rows any more."""
    version = next((one for log in datasets.logs().values() for one in log if one.sha256 == examples.sha256), None)
    if version is None:
        return None
    try:
        return draw_examples(
            version, count=len(examples.rows), rows=examples.rows, question=examples.question, answer=examples.answer
        )
    except InputRefusedError:
        return None


class _Drawing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dataset: str
    count: Annotated[int, Field(ge=1, le=MOST_EXAMPLES)] = 4
    seed: int = 0
    rows: tuple[int, ...] = ()
    question: str = ""
    answer: str = ""
    variable: str = ""


def _columns(version: DatasetVersion, question: str, answer: str) -> tuple[str, str]:
    names = [column.name for column in version.columns]
    usual = (_MESSAGES, _MESSAGES) if version.kind == _MESSAGES else _COLUMNS.get(version.kind, ("", ""))
    chosen = (question or usual[0], answer or usual[1])
    for column, what in zip(chosen, ("questions", "answers"), strict=True):
        if column not in names:
            told = f"{version.ref} has no column {column!r}" if column else f"{version.ref} does not tell its {what}"
            raise _bad(told, f"Name the column of {what}, of: {', '.join(names)[:300]}.")
    return chosen


def _turn(version: DatasetVersion, number: int, row: Row, columns: tuple[str, str]) -> Example:
    place = f"row {number} of {version.ref}"
    asked, said = (
        _of_conversation(row.get(_MESSAGES), place)
        if columns == (_MESSAGES, _MESSAGES)
        else (_text(row.get(column), place, column) for column in columns)
    )
    return Example(question=asked, answer=said)


def _text(value: object, place: str, column: str) -> str:
    if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
        if len(value) > 1:
            raise _bad(f"{place}: {column} has {len(value)} turns, and an example is one question and one answer")
        value = value[0].get("content")
    text = value if isinstance(value, str) else "" if value is None else dump_json(value)
    if not text.strip():
        raise _bad(f"{place} has nothing in {column}")
    return text


def _of_conversation(value: object, place: str) -> tuple[str, str]:
    turns = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    said = [one for one in turns if one.get("role") not in {"system", "developer"}]
    if [one.get("role") for one in said] != ["user", "assistant"]:
        raise _bad(f"{place} has {counted(len(said), 'turn')}, and an example is one question and one answer")
    asked, answered = (_text(one.get("content"), place, str(one.get("role"))) for one in said)
    return asked, answered


def _bad(told: str, hint: str = "Name other rows, or draw by another seed.") -> InputRefusedError:
    return InputRefusedError("bad_examples", told, hint)
