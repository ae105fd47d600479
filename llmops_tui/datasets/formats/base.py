"""What a format of rows is: how its rows are known, read into the canonical row of their kind, and written from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from llmops_tui.datasets.records import Kind, Message, RepeatedKeyError, Row, load_whole_json


class RowRefusedError(ValueError):
    """A row that is not what its format says, or that its format cannot hold; the text says why."""


class Format:
    """A format. A subclass says what its rows are in its docstring, and overrides what differs from the canonical row.

    What :meth:`write` makes, :meth:`read` has to make the same canonical row of again: that is tried for each row that is
    exported, and a row for which it is not so is refused.
    """

    # What it is called.
    name: ClassVar[str]
    # The kind of dataset that its rows become; ``datasets/records.py`` says what columns each kind has.
    kind: ClassVar[Kind]
    # The columns that it reads; all others are kept beside.
    columns: ClassVar[frozenset[str]] = frozenset()
    # What its rows have, after "12 of 20 rows", such as "have 'messages'".
    sign: ClassVar[str] = ""
    # The column of turns whose roles are counted for the preview.
    turns: ClassVar[str] = ""
    # Formats whose rows look like this one's because they are part of them: not told as others.
    implies: ClassVar[tuple[str, ...]] = ()

    def recognises(self, row: Row) -> bool:
        """Whether a row looks like one of this format; it may not be changed."""
        del row
        return False

    def alone(self, rows: Sequence[Row]) -> bool:
        """Whether the rows, most of which look like this format, are not rather a table."""
        del rows
        return True

    def read(self, row: Row) -> Row:
        """The canonical row; it may change the one it is given.

        Raises:
            RowRefusedError: the row is not what the format says.
        """
        return row

    def write(self, row: Row) -> Row:
        """The format's row of a canonical one, which it may change.

        Raises:
            RowRefusedError: the format cannot hold it.
        """
        return row


def has(row: Row, *names: str) -> bool:
    """Whether a row has a value in each of these columns."""
    return all(row.get(name) is not None for name in names)


def structured(value: Any) -> Any:
    """Lists and objects that a table holds as JSON text, with all digits of their numbers; anything else as it is.

    Only for columns that hold no text of a person: an answer may be JSON, and is a text then.

    Raises:
        RowRefusedError: a key is repeated in it, of whose values one would be lost.
    """
    if not (isinstance(value, str) and value[:1] in {"[", "{"}):
        return value
    try:
        return load_whole_json(value)
    except RepeatedKeyError:
        raise RowRefusedError("a key is repeated in the JSON of one of its columns") from None
    except ValueError:
        return value


def checked_messages(value: Any, name: str) -> list[Message]:
    """A list of messages.

    Raises:
        RowRefusedError: it is something else; ``name`` is the column.
    """
    if not isinstance(value, list):
        raise RowRefusedError(f"{name} is {kind_name(value)}, not a list of messages")
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise RowRefusedError(f"{name}[{index}] is {kind_name(message)}, not an object with role and content")
    return value


def ordered(message: Message) -> Message:
    """A message with role and content first, so that the same message is always written the same."""
    keys = iter(message)
    if next(keys, "") == "role" and next(keys, "") == "content":
        return message
    if "content" not in message or "role" not in message:
        return message
    return {"role": message["role"], "content": message["content"]} | message


def kind_name(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "missing"
    names = {str: "a text", int: "a number", float: "a number", bool: "true or false", list: "a list"}
    return names.get(type(value), "an object")
