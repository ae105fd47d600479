"""What is kept of a batch that a client asked for, and what of such a record is believed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.filed.files import FILE_ID

BATCH_ID = re.compile(r"batch_[0-9a-z]{1,40}")
"""What the id of a batch looks like; it is part of a path."""
_JOB = re.compile(r"job_[0-9a-z]{1,40}")


class Problem(TypedDict):
    """A line that cannot be asked; lines count from 1."""

    line: int
    custom_id: str | None
    message: str


class BatchRecord(TypedDict):
    """A batch as it was asked for, and what it came to; moments in seconds since 1970.

    ``model`` is the one that it may ask, empty for all. ``job`` is the id of its first job, ``seconds`` how long what it comes
    to is kept. ``ended`` is when that was put in files, and ``last`` the id of the job that ended it: where somebody goes on
    with its work since, it is not over.
    """

    id: str
    owner: str
    input: str
    endpoint: str
    model: str
    metadata: dict[str, str]
    created_at: int
    job: str
    seconds: int
    stopped: NotRequired[int]
    ended: NotRequired[int]
    last: NotRequired[str]
    state: NotRequired[str]
    output: NotRequired[str | None]
    errors: NotRequired[str | None]
    answered: NotRequired[int]
    bad: NotRequired[int]
    total: NotRequired[int | None]
    problems: NotRequired[list[Problem]]


_STATES = {"completed", "cancelled", "failed"}
# What a record says of its end.
_END = {"stopped", "ended", "last", "state", "output", "errors", "answered", "bad", "total", "problems"}


def not_over(record: BatchRecord) -> BatchRecord:
    """A record as it was before its end, or before it was asked to stop."""
    kept = {name: value for name, value in record.items() if name not in _END}
    return cast("BatchRecord", kept)


def are_problems(found: object) -> bool:
    """Whether a list is one of lines that cannot be asked."""
    return isinstance(found, list) and all(
        isinstance(one, dict)
        and type(one.get("line")) is int
        and isinstance(one.get("custom_id"), str | None)
        and isinstance(one.get("message"), str)
        for one in found
    )


def read_record(path: Path) -> BatchRecord | None:
    """A record; none where it is gone or damaged, or another's: a workspace may come from elsewhere."""
    try:
        given: BatchRecord = parse_json(path.read_bytes())
        whole = (
            given["id"] == path.stem
            and bool(_JOB.fullmatch(given["job"]))
            and bool(FILE_ID.fullmatch(given["input"]))
            and all(isinstance(text, str) for text in (given["owner"], given["endpoint"], given["model"]))
            and all(type(number) is int for number in (given["created_at"], given["seconds"]))
            and isinstance(given["metadata"], dict)
            and ("ended" in given) == ("state" in given)
            and given.get("state", "failed") in _STATES
            and all(type(given[name]) is int for name in ("stopped", "ended", "answered", "bad") if name in given)
            and type(given.get("total")) in {int, type(None)}
            and all(type(given.get(name)) in {str, type(None)} for name in ("last", "output", "errors"))
            and are_problems(given.get("problems", []))
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return given if whole else None
