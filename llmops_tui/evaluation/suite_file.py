"""A suite from a file, in the format of llmops or promptfoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.promptfoo.reader import is_promptfoo, read_promptfoo
from llmops_tui.evaluation.suite import Suite, parse_suite
from llmops_tui.foreign_text import text_of


def read_suite(path: Path, tell: Callable[[str], None] = lambda _: None) -> Suite:
    """A suite from a file; the name of a data file in it is taken from the suite's folder.

    ``tell`` is given what a foreign format says and what changes nothing here.

    Raises:
        InputRefusedError: ``bad_suite``, ``file_missing``.
    """
    try:
        text = text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("file_missing", f"{path} cannot be read: {error}") from error
    if is_promptfoo(text):
        return read_promptfoo(path, tell)
    suite = parse_suite(text, path.stem)
    if isinstance(suite.cases, str) and (path.parent / suite.cases).is_file():
        return suite.model_copy(update={"cases": str((path.parent / suite.cases).resolve())})
    return suite
