"""The file of a prompt in a folder: what stands in it that is no prompt is told by its line."""

from __future__ import annotations

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.prompts.file_form import file_text, parse_file


def test_the_marks_of_a_conflict_are_told_as_git_s() -> None:
    ours, theirs = ("system: ''\n", "template: hi\n"), ("system: ''\n", "template: ho\n")
    text = f"{ours[0]}<<<<<<< HEAD\n{ours[1]}=======\n{theirs[1]}>>>>>>> other\n"
    with pytest.raises(InputRefusedError, match="line 2 is git's mark of a conflict"):
        parse_file(text.encode())


def test_a_text_about_such_marks_is_a_text() -> None:
    told = "Solve it:\n<<<<<<< HEAD\na\n>>>>>>> other\n"
    assert parse_file(file_text("", told).encode())[:2] == ("", told)
