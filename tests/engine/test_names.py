"""Names in the letters of any script, one text for one name."""

from __future__ import annotations

import pytest

from llmops_tui.names import as_name, is_name


@pytest.mark.parametrize(
    "name", ["triage", "a", "3.5", "x" * 100, "Übersicht", "问答", "हिन्दी", "ответы-2", "اسئلة", "質問_1", "ก่อน"]
)
def test_names_of_all_scripts_are_names(name: str) -> None:
    assert is_name(name)
    assert as_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".hidden", "-x", "_x", "a b", "a/b", "a@b", "a\x1b", "a\u202eb", "a\u200bb", "x" * 101, "语" * 70, "e\u0301te\u0301", "\u0301a",
        "a\n", "🎉", "a\ud800",
    ],
)  # fmt: skip
def test_what_would_confuse_people_or_files_is_none(name: str) -> None:
    assert not is_name(name)


def test_what_is_typed_is_made_a_name_where_that_is_sure() -> None:
    assert as_name("  zwei  Wörter ") == "zwei-Wörter"
    assert as_name("e\u0301te\u0301") == "été"
