"""Sheets as files: to be graded elsewhere, and read back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.grading.sheets import GradeSheet, Item, VoteSheet
from llmops_tui.evaluation.grading.words import value_of
from llmops_tui.evaluation.metrics.model_graded import conversation_of, conversation_text
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.regular_files import read_regular_text
from llmops_tui.spreadsheet_text import inert
from llmops_tui.workspace.files import write_atomic

_SUFFIXES = (".csv", ".jsonl")


class Line(TypedDict, total=False):
    """An item for somebody to look at: nothing in it tells which run it is of. ``grade`` or ``vote`` is to be filled in."""

    item: str
    question: str
    context: str
    expected: str
    answer: str
    answer_1: str
    answer_2: str
    grade: str
    vote: str


def line_of(item: Item) -> Line:
    """An answer with what was asked."""
    case = item.result.case
    return {
        "item": item.id,
        "question": question_of(item),
        "context": case.context,
        "expected": "" if case.expected is None else case.expected_text,
        "answer": item.result.answer.text,
    }


def question_of(item: Item) -> str:
    """The conversation that an answer answers; of a run that did not keep it, the variables."""
    case = item.result.case
    talk = conversation_of(case, item.result.answer)
    return conversation_text(talk) if talk else "\n".join(f"{name}: {value}" for name, value in case.variables.items())


def lines_of(sheet: GradeSheet | VoteSheet) -> list[Line]:
    """What this person has not done yet, in the person's order."""
    found: list[Line] = []
    for id_ in sheet.queue():
        if isinstance(sheet, VoteSheet):
            one, two = sheet.shown(id_)
            line = line_of(one)
            line["item"] = id_
            line["answer_1"], line["answer_2"] = line.pop("answer"), two.result.answer.text
            if (other := question_of(two)) != line["question"]:
                line["question"] = f"{line['question']}\n\nAnswer 2 was asked:\n{other}"
            line["vote"] = ""
        else:
            line = line_of(sheet.items[id_])
            line["grade"] = ""
        found.append(line)
    return found


def write_sheet(sheet: GradeSheet | VoteSheet, path: Path) -> int:
    """Write what is to be done as CSV or JSON Lines; returns how many lines.

    Raises:
        InputRefusedError: ``bad_suffix``, ``file_exists``.
    """
    if path.suffix not in _SUFFIXES:
        raise InputRefusedError("bad_suffix", f"{path}: the suffix is none of {', '.join(_SUFFIXES)}")
    if path.exists():
        raise InputRefusedError("file_exists", f"{path} already exists", "Choose another name.")
    lines = lines_of(sheet)
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    else:
        buffer = io.StringIO()
        names = list(lines[0]) if lines else ["item"]
        writer = csv.DictWriter(buffer, names)
        writer.writeheader()
        # The item is what a line is known by when it comes back.
        writer.writerows({k: v if k == "item" else inert(str(v)) for k, v in line.items()} for line in lines)
        text = buffer.getvalue()
    write_atomic(path, text.encode())
    return len(lines)


def read_sheet(sheet: GradeSheet | VoteSheet, path: Path) -> tuple[int, int]:
    """Keep what a file says, all of it or nothing; returns how many words there were, and how many lines had none.

    Votes are 1, 2 or tie, by the places of the answers in the file that was written for this person.

    Raises:
        InputRefusedError: ``bad_grades``: a line is none of these runs, says nothing known, or an item stands twice.
    """
    column = "vote" if isinstance(sheet, VoteSheet) else "grade"
    words: dict[str, str] = {}
    empty = 0
    for number, row in enumerate(_rows(path), 1):
        place = f"{path}, row {number}"
        item, said = str(row.get("item") or "").strip(), row.get(column)
        text = "" if said is None else str(said).strip()
        if column not in row:
            raise InputRefusedError("bad_grades", f"{place}: there is no {column}", f"Write it under {column}.")
        if item in words:
            raise InputRefusedError("bad_grades", f"{place}: item {item} stands twice", "Nothing was saved.")
        try:
            value = value_of(sheet, item, text) if text else ""
        except InputRefusedError as error:
            raise InputRefusedError("bad_grades", f"{place}: {error.message}", error.hint) from error
        if value:
            words[item] = value
        else:
            empty += 1
    sheet.say_all(words)
    return len(words), empty


def _rows(path: Path) -> Sequence[JsonObject]:
    if path.suffix not in _SUFFIXES:
        raise InputRefusedError("bad_suffix", f"{path}: the suffix is none of {', '.join(_SUFFIXES)}")
    try:
        text = read_regular_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("file_missing", f"{path} cannot be read: {error}") from error
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = parse_json(line)
            except ValueError as error:
                raise InputRefusedError("bad_grades", f"{path}, line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InputRefusedError("bad_grades", f"{path}, line {number}: not an object")
            rows.append(row)
    return rows
