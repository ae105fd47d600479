"""The answers to a file of requests: one appended line each, on disk before the next is counted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypedDict

import orjson

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.regular_files import open_regular, refuse_irregular
from llmops_tui.workspace.files import sync_folder
from llmops_tui.workspace.ids import new_id


class Answered(TypedDict):
    """The answer of a model's server: its HTTP status, the id of the trace, and the body."""

    status_code: int
    request_id: str
    body: JsonObject


class Failure(TypedDict):
    """Why there is no answer at all."""

    code: str
    message: str


class OutputLine(TypedDict):
    """A line of the output, in OpenAI's form; one of ``response`` and ``error`` is none."""

    id: str
    custom_id: str
    response: Answered | None
    error: Failure | None


def output_line(custom_id: str, response: Answered | None, error: Failure | None = None) -> OutputLine:
    """The line of one request."""
    return {"id": new_id("batch_req"), "custom_id": custom_id, "response": response, "error": error}


def failed(line: OutputLine) -> bool:
    """Whether a line tells of no success."""
    return line["response"] is None or line["response"]["status_code"] != 200


class OutputLog:
    """Appends answers; what a killed job left unfinished of a line is cut off, and what it answered counts."""

    def __init__(self, path: Path) -> None:
        """Open the file of a job, which makes it or goes on with it.

        Raises:
            InputRefusedError: ``output_damaged``: it has lines that are no answers.
            LlmopsError: ``batch_output_failed``: it cannot be written.
        """
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            refuse_irregular(self._file, path)
            self.done, self._size = self._read()
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, 0, os.SEEK_END)
            sync_folder(path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def add(self, line: OutputLine) -> None:
        """Append one; it is on disk when this returns.

        Raises:
            LlmopsError: ``batch_output_failed``; nothing of it is left in the file.
        """
        raw = json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        try:
            left = raw
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, 0, os.SEEK_END)
            raise self._failed(error) from error
        self._size += len(raw)
        self.done[line["custom_id"]] = failed(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _read(self) -> tuple[dict[str, bool], int]:
        """By custom id whether it failed; and the length of the whole lines, in bytes."""
        found: dict[str, bool] = {}
        size = 0
        with open_regular(self.path) as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    break
                found |= _told(raw, self.path, number)
                size += len(raw)
        return found, size

    def _failed(self, error: OSError) -> LlmopsError:
        return LlmopsError(
            "batch_output_failed",
            f"cannot write {self.path}: {error.strerror}",
            "Answers so far are kept; llmops job resume continues once that is mended.",
        )


def output_exists(path: Path) -> InputRefusedError:
    """The refusal to write over a file that is there."""
    hint = "Choose another --output; llmops job resume continues a batch that was interrupted."
    return InputRefusedError("output_exists", f"{path} is there already", hint)


def counts_of(path: Path) -> tuple[int, int]:
    """How many requests were answered, and how many of them failed, by the whole lines of an output."""
    answered = bad = 0
    try:
        with open_regular(path) as file:
            for number, raw in enumerate(file, 1):
                if raw.endswith(b"\n"):
                    answered += 1
                    bad += any(_told(raw, path, number).values())
    except FileNotFoundError:
        return 0, 0
    return answered, bad


def _told(raw: bytes, path: Path, number: int) -> dict[str, bool]:
    try:
        line = orjson.loads(raw)
        return {str(line["custom_id"]): failed(line)}
    except (ValueError, LookupError, TypeError) as error:
        raise InputRefusedError(
            "output_damaged", f"{path}, line {number}: not an answer of a batch: {error}"[:400], "Restore the file."
        ) from error
