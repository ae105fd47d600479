"""What was probably meant by a path that is no field of a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def meant(path: str, known: Sequence[str]) -> str:
    """The field that is nearest to a path, as the end of a sentence that refuses it; empty where none is near."""
    parent, _, leaf = path.rpartition(".")
    beside = [one for one in known if parent and one.rpartition(".")[0] == parent]
    near = _by_leaf(leaf, beside) or [one for one in known if one.rpartition(".")[2] == leaf]
    if not near and not beside:
        near = difflib.get_close_matches(path, known, 1, 0.6)
    near = near or _by_leaf(leaf, known)
    return f"; did you mean {near[0]}?" if near else ""


def _by_leaf(leaf: str, known: Sequence[str]) -> list[str]:
    """Fields whose own name is near: as its initials, such as lr, or by its letters; that of the group says nothing."""
    names = {one.rpartition(".")[2]: one for one in reversed(known)}
    initials = [one for name, one in names.items() if "_" in name and "".join(w[:1] for w in name.split("_")) == leaf]
    return initials or [names[name] for name in difflib.get_close_matches(leaf, names, 1, 0.6)]
