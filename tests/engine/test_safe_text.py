from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.safe_text import safe_line, safe_text, strip_frame_controls
from tests.fakes import hostile_strings

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def obeyed(text: str) -> list[str]:
    """Characters that a terminal obeys or that reorder a line; told by Unicode's tables, not by our expression."""
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return [
        c
        for c in text
        if (unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} and c not in "\n\t")
        or unicodedata.bidirectional(c) in bidi
    ]


@given(ANY_TEXT)
def test_nothing_obeyed_is_left(text: str) -> None:
    assert obeyed(safe_text(text)) == []
    assert obeyed(safe_line(text)) == []
    assert "\n" not in safe_line(text)


@given(ANY_TEXT, ANY_TEXT)
def test_an_escape_split_between_two_tokens_is_as_harmless_as_a_whole_one(first: str, second: str) -> None:
    assert obeyed(safe_text(first) + safe_text(second)) == []


@given(ANY_TEXT)
def test_making_safe_twice_changes_nothing_more(text: str) -> None:
    once = safe_text(text)
    assert safe_text(once) == once


@given(ANY_TEXT)
def test_the_last_filter_leaves_nothing_that_moves_the_cursor(text: str) -> None:
    left = strip_frame_controls(text)
    assert obeyed(left) == []
    assert "\n" not in left
    assert "\t" not in left


@pytest.mark.parametrize("text", ["plain", "naïve café", "日本語", "👩‍💻"[:1], "a\tb\nc", "⛭ ▣ ▁▂▃"])
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


def test_hidden_characters_become_visible() -> None:
    assert safe_text("a\x1b[31mb") == "a␛[31mb"
    assert safe_text("a\u202eb") == "a⟨U+202E⟩b"
    assert safe_text("a\u200bb") == "a⟨U+200B⟩b"
    assert safe_text("\x7f\x9b") == "␡⟨9B⟩"


def test_there_are_a_hundred_hostile_strings() -> None:
    assert len(set(hostile_strings())) >= 100
    assert all(obeyed(safe_text(text)) == [] for text in hostile_strings())
