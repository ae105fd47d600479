"""What was probably meant by a path that is no field of a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def meant(path: str, known: Sequence[str]) -> str:
    """The field that is nearest to a path, as the end of a sentence that refuses it; empty where none is near."""
    leaf = path.rpartition(".")[2]
    near = difflib.get_close_matches(path, known, 1, 0.6)
    near = near or [one for one in known if one.rpartition(".")[2] == leaf]
    near = near or difflib.get_close_matches(leaf, [one.rpartition(".")[2] for one in known], 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""
