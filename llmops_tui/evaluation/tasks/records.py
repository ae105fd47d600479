"""What a job that runs a standard task is given."""

from __future__ import annotations

from typing import TypedDict


class TaskArguments(TypedDict):
    """A task by its name in the harness, the model, and how it is asked.

    ``files`` are data files by split; the split *test* stands for whichever is asked. ``fewshot`` none is as the task says.
    ``program`` is a harness that is a program of its own.
    """

    harness: str
    task: str
    model: str
    files: dict[str, str]
    limit: int | None
    fewshot: int | None
    chat: bool
    fresh: bool
    program: str
