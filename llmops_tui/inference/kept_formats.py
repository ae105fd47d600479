"""Formats that were read off chat templates, kept on disk by the template and the reader that read them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from llmops_tui import chat_format
from llmops_tui.chat_format import ChatFormat
from llmops_tui.foreign_text import JsonObject
from llmops_tui.user_files import state_folder
from llmops_tui.workspace.files import write_atomic

_MOST = 64
_Kind = TypeVar("_Kind")


@functools.lru_cache(maxsize=1)
def _reader() -> str:
    """Which reader this is: a format that another one read may lack what this one finds."""
    found = hashlib.sha256()
    for path in sorted(Path(chat_format.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


class KeptFormats:
    """A folder of the newest few; losing it costs reading them again, and nothing in it is trusted further."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_folder() / "chat-formats"

    def _path(self, template: str) -> Path:
        name = hashlib.sha256(_reader().encode() + template.encode("utf-8", "replace")).hexdigest()
        return self._folder / f"{name}.json"

    def find(self, template: str) -> ChatFormat | None:
        """The format of a template, where this reader read it before."""
        try:
            kept = json.loads(self._path(template).read_text(encoding="utf-8"))
            return made(ChatFormat, {**kept, "template": template})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def keep(self, chat: ChatFormat) -> None:
        """Keep a format; a folder that cannot be written keeps nothing."""
        body = {name: value for name, value in dataclasses.asdict(chat).items() if name != "template"}
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomic(self._path(chat.template), json.dumps(body))
            newest = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in newest[_MOST:]:
                path.unlink(missing_ok=True)


def made(kind: type[_Kind], given: JsonObject) -> _Kind:
    """A dataclass from what JSON has of it, with the dataclasses and tuples in it.

    Raises:
        TypeError, KeyError, AttributeError: that is something else.
    """
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in given.items()})


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        kinds = [one for one in arguments if one is not type(None)]
        # A text, or something that has fields.
        chosen = next((one for one in kinds if dataclasses.is_dataclass(one) == isinstance(value, dict)), kinds[0])
        return _value(chosen, value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_value(arguments[0], one) for one in value)
        return tuple(_value(one, part) for one, part in zip(arguments, value, strict=True))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return made(hint, value)
    return value
