"""Lists of expressions in files: one a line, with names for what stands in several of them."""

from __future__ import annotations

import functools
import re
from pathlib import Path


def read_phrases(path: Path) -> list[re.Pattern[str]]:
    """The expressions of a file, whatever case texts have: ``name = meaning`` is what ``{name}`` stands for below it."""
    named: dict[str, str] = {}
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, sign, meaning = line.partition(" = ")
        if sign and name.isidentifier():
            named[f"{{{name}}}"] = meaning
        else:
            whole = functools.reduce(lambda text, one: text.replace(*one), named.items(), line)
            found.append(re.compile(whole, re.IGNORECASE))
    return found
