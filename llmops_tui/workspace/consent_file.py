"""A small file of user consents; if it cannot be read, nothing is allowed."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from llmops_tui.workspace.files import make_private_folder, write_atomic
from llmops_tui.workspace.locks import locked

T = TypeVar("T")

_WAIT_SECONDS = 5.0
# What a reader of the parsed JSON raises where its shape is another one.
_UNFIT = (ValueError, TypeError, AttributeError)


def read_own(path: Path, parse: Callable[[Any], T], empty: T, load: Callable[[bytes], Any] = json.loads) -> T:
    """What the file says; ``empty`` where it is missing or damaged, so that nothing is allowed by an accident."""
    try:
        return parse(load(path.read_bytes()))
    except (OSError, *_UNFIT):
        return empty


def _indented(value: Any) -> str:
    return json.dumps(value, indent=1)


def change_own(
    path: Path,
    parse: Callable[[Any], T],
    empty: T,
    work: Callable[[T], Any],
    *,
    load: Callable[[bytes], Any] = json.loads,
    dump: Callable[[Any], str] = _indented,
) -> None:
    """Write what ``work`` makes of what the file says; one that is damaged is kept for whoever wants to look.

    Raises:
        OSError: it cannot be read or written, or stayed locked by another process.
    """
    make_private_folder(path.parent)
    with locked(path.with_name(path.name + ".lock"), _WAIT_SECONDS) as alone:
        if not alone:
            raise OSError(errno.EAGAIN, "stayed locked by another process", str(path))
        try:
            before = parse(load(path.read_bytes()))
        except FileNotFoundError:
            before = empty
        except _UNFIT:
            path.replace(path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"))
            before = empty
        write_atomic(path, dump(work(before)))
