"""Names of models: which are valid, and one derived from any text."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.shards import without_ending

RULE = "Letters, digits and . _ - (at most 100)."
_LONGEST = 100
# No plus sign: it joins a model and an adapter.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def check_name(name: str) -> None:
    """Refuse what is not a valid model name.

    Raises:
        InputRefusedError: ``bad_name``.
    """
    if not _NAME.fullmatch(name):
        raise InputRefusedError("bad_name", f"{name!r} is not a valid model name", f"Use {RULE[0].lower()}{RULE[1:]}")


def fit_name(text: str) -> str:
    """A name for a model made of any text, such as a file's: letters lose their marks, what does not fit becomes a dash."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = _UNFIT.sub("-", bare).strip("-._")
    return plain[:_LONGEST].rstrip("-._") or "model"


def name_of_file(path: str) -> str:
    """A name for a model by the name of its file, or of the first of its files; folders above it do not matter."""
    return fit_name(without_ending(PurePosixPath(path).name))


def derived_name(name: str, what: str) -> str:
    """The name of something made of a model: ``NAME-WHAT``, a long name cut so that it fits."""
    return f"{name[: _LONGEST - 1 - len(what)]}-{what}"
