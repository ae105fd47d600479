"""The specification of a job: its record, and its entry, an engine function with a typed result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypedDict, TypeVar

Result = TypeVar("Result", bound=Mapping[str, object])


class JobSpec(TypedDict):
    """What the record of a job says it is to do. It is kept whole, with what a newer version says beside."""

    entry: str
    # By name, as the entry's function takes them.
    arguments: dict[str, Any]


class JobRecord(TypedDict):
    """A job as it is shown; ``progress`` from 0 to 1, ``result`` what its entry came to, moments in seconds since 1970."""

    job: str
    kind: str
    title: str
    state: str
    cause: str
    pid: int | None
    progress: float
    message: str
    result: dict[str, Any] | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    exit_code: int | None
    resumes: str | None


class JobEntry(str, Generic[Result]):
    """A function of the engine as ``module:function``, which does a job's work and returns a ``Result``, as JSON has it."""

    __slots__ = ()
