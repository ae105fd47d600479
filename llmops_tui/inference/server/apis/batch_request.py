"""The bodies of OpenAI's files and batches, and which part of a list is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from llmops_tui.inference.filed.files import DAYS
from llmops_tui.inference.server.fields import Checked, Rules, refuse

_DAY = 24 * 3600
_DIGITS = 19


def _read_digits(given: object) -> object:
    """The number that digits are; all else as it is."""
    digits = isinstance(given, str) and given.isdecimal() and given.isascii() and len(given) < _DIGITS
    return int(str(given)) if digits else given


def as_number(given: object) -> object:
    """A number as addresses have it, which know only texts."""
    given = _read_digits(given)
    if not isinstance(given, int) or isinstance(given, bool):
        refuse("", f"{str(given)[:40]!r} is no whole number", "Give one, such as 100.")
    return given


_Seconds = Annotated[int, Field(ge=3600, le=DAYS * _DAY)]


class Expiry(Checked):
    """When a file goes: so many seconds after it was made."""

    anchor: Literal["created_at"]
    seconds: _Seconds


class FileForm(Checked):
    """What is sent beside a file."""

    purpose: Literal["batch"]
    expires_after: Expiry | None = None

    @property
    def seconds(self) -> int:
        """How long it is kept."""
        return self.expires_after.seconds if self.expires_after is not None else DAYS * _DAY


class BatchRequest(Checked):
    """Body of ``POST /v1/batches``. A batch is not ended when its window is over: there is one, and it is OpenAI's."""

    rules: ClassVar[Rules] = Rules()

    input_file_id: Annotated[str, Field(min_length=1, max_length=100)]
    endpoint: Annotated[str, Field(min_length=1, max_length=100)]
    completion_window: Literal["24h"]
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] = Field(
        default_factory=dict
    )
    output_expires_after: Expiry | None = None

    @property
    def seconds(self) -> int:
        """How long what it comes to is kept."""
        return self.output_expires_after.seconds if self.output_expires_after is not None else DAYS * _DAY


class Page(Checked):
    """Which part of a list is asked for, in an address."""

    limit: Annotated[int, BeforeValidator(as_number), Field(ge=1, le=10_000)] = 100
    after: Annotated[str, Field(max_length=100)] = ""


class FilePage(Page):
    """The same of files."""

    purpose: Literal["batch", "batch_output"] | None = None
    order: Literal["asc", "desc"] = "desc"


def form_fields(given: Mapping[str, str]) -> dict[str, object]:
    """The fields of a form, those of an object (``expires_after[seconds]``) as one; digits in it are numbers."""
    made: dict[str, object] = {}
    inner: dict[str, object] = {}
    for name, value in given.items():
        if name.startswith("expires_after[") and name.endswith("]"):
            inner[name.removeprefix("expires_after[").removesuffix("]")] = _read_digits(value)
        else:
            made[name] = value
    return made | ({"expires_after": inner} if inner else {})
