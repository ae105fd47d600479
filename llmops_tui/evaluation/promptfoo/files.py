"""Files that a promptfoo configuration names: ``file://`` values, patterns of names, tables of tests."""

from __future__ import annotations

import csv
import datetime as dt
import io
from pathlib import Path
from typing import Any

import yaml

from llmops_tui.evaluation.promptfoo.keys import refused
from llmops_tui.foreign_text import parse_json, parse_yaml, text_of
from llmops_tui.regular_files import matching_files

SCHEME = "file://"
_CODE = {
    ".py",
    ".js",
    ".cjs",
    ".mjs",
    ".ts",
    ".cts",
    ".mts",
    ".tsx",
    ".jsx",
    ".rb",
    ".go",
    ".sh",
    ".bash",
    ".exe",
    ".bat",
    ".cmd",
    ".ps1",
    ".pl",
}
_MAGIC = set("*?[")


def parsed(text: str, where: str) -> Any:
    """The value of a YAML text as promptfoo reads it.

    Raises:
        InputRefusedError: ``bad_suite``: it is no YAML, or has a date that is not in quotes.
    """
    try:
        value = parse_yaml(text, core=True)
    except yaml.YAMLError as error:
        raise refused(where, f"it is not valid YAML: {error}") from error
    _refuse_dates(value, where)
    return value


def _refuse_dates(value: Any, where: str) -> None:
    if isinstance(value, dt.date):
        raise refused(where, f"{value} is a date", "Put it in quotes to have it as a text.")
    if isinstance(value, dict):
        for name, one in value.items():
            _refuse_dates(one, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            _refuse_dates(one, f"{where}[{number}]")


def read_text(path: Path, where: str) -> str:
    """A file's text.

    Raises:
        InputRefusedError: ``bad_suite``: it cannot be read; ``file_too_large``.
    """
    try:
        return text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise refused(where, f"{path} cannot be read: {error}") from error


def is_file_name(value: Any) -> bool:
    """Whether a value names a file."""
    return isinstance(value, str) and value.startswith(SCHEME)


def refuse_code(name: str, where: str) -> None:
    """Refuse a file that promptfoo would run; a function may be named behind a colon."""
    bare = name.removeprefix(SCHEME)
    if Path(bare).suffix in _CODE or Path(bare.rpartition(":")[0]).suffix in _CODE:
        raise refused(
            where, f"{name} is code, and reading a configuration runs none", "Write its values into the file."
        )


def found_files(folder: Path, name: str, where: str) -> list[Path]:
    """The files that a name or a pattern of names stands for, by name.

    Raises:
        InputRefusedError: ``bad_suite``: it is code, or there is none.
    """
    refuse_code(name, where)
    bare = name.removeprefix(SCHEME)
    if "{{" in bare:
        raise refused(where, f"{name}: names of files with templates are not read")
    if not _MAGIC & set(bare):
        path = folder / bare
        if not path.is_file():
            raise refused(where, f"{path} is not there")
        return [path]
    base, pattern = (Path("/"), bare.lstrip("/")) if bare.startswith("/") else (folder, bare.removeprefix("./"))
    found = matching_files(base, pattern)
    if not found:
        raise refused(where, f"no file in {base} has a name like {pattern}")
    return found


def external(value: Any, folder: Path, where: str) -> Any:
    """A value of a file of tests, with all files it names read in; those of variables are read with the prompt."""
    if isinstance(value, list):
        return [external(one, folder, f"{where}[{number}]") for number, one in enumerate(value)]
    if isinstance(value, dict):
        return {
            name: one if name == "vars" else external(one, folder, f"{where}.{name}") for name, one in value.items()
        }
    if not is_file_name(value):
        return value
    found = [_value_of(path, where) for path in found_files(folder, value, where)]
    if not _MAGIC & set(value):
        return found[0]
    return [part for one in found for part in (one if isinstance(one, list) else [one])]


def _value_of(path: Path, where: str) -> Any:
    text = read_text(path, where)
    if path.suffix == ".json":
        return json_of(text, where)
    if path.suffix in {".yaml", ".yml"}:
        return parsed(text, where)
    if path.suffix == ".csv":
        rows = table(text, where)
        return [next(iter(row.values())) for row in rows] if rows and len(rows[0]) == 1 else rows
    return text


def json_of(text: str, where: str) -> Any:
    """The value of a JSON text."""
    try:
        return parse_json(text, constants=False)
    except ValueError as error:
        raise refused(where, f"it is not valid JSON: {error}") from error


def table(text: str, where: str) -> list[dict[str, str]]:
    """The rows of a CSV text by its head.

    Raises:
        InputRefusedError: ``bad_suite``: a row has more or fewer cells than the head.
    """
    try:
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))
    except csv.Error as error:
        raise refused(where, f"it is no table of commas: {error}") from error
    if not rows:
        return []
    head, *body = rows
    for number, row in enumerate(body, 2):
        if len(row) != len(head) and not (not row and len(head) == 1):
            raise refused(where, f"row {number} has {len(row)} cells, and the head has {len(head)}")
    return [dict(zip(head, row or [""], strict=True)) for row in body]


def assertion_value(value: Any, folder: Path, where: str) -> Any:
    """What an assertion's value names: a file's JSON or YAML, or its text without blanks around it."""
    if not is_file_name(value):
        return value
    refuse_code(value, where)
    path = folder / value.removeprefix(SCHEME)
    text = read_text(path, where)
    if path.suffix in {".json", ".yaml", ".yml"}:
        return parsed(text, where)
    if path.suffix == ".txt":
        return text.strip()
    raise refused(where, f"{value}: assertions take .txt, .json and .yaml files")
