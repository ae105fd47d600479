"""Files that take long to make, and are the same each time: made once by a process, copied afterwards."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec

P = ParamSpec("P")
Writer = Callable[Concatenate[Path, P], Path]


def made_once(write: Writer[P]) -> Writer[P]:
    """For a function that writes a file to its first argument, of which and of whose place nothing in it depends."""
    made: dict[str, Path] = {}

    @functools.wraps(write)
    def copied(path: Path, *arguments: P.args, **options: P.kwargs) -> Path:
        asked = repr((arguments, sorted(options.items())))
        if asked not in made:
            made[asked] = write(_folder() / f"{write.__name__}-{len(made)}{path.suffix}", *arguments, **options)
        shutil.copyfile(made[asked], path)
        return path

    return copied


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="llmops-made"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
