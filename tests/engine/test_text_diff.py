"""Differences of texts as people read them: changed words in one text, or both texts where they have little in common."""

from __future__ import annotations

import pytest

from llmops_tui.text_diff import apart, diff_words, marked_text


@pytest.mark.parametrize(("before", "after", "told"), [
    ("answer the question briefly", "answer a query briefly", "answer [-the question-]{+a query+} briefly"),
    ("Hello", "Hello you there, how are you", "Hello{+ you there, how are you+}"),
    ("yes", "no", "[-yes-]{+no+}"), ("", "a b", "{+a b+}"), ("a b", "", "[-a b-]"), ("same", "same", "same"),
    ('{"intent": "refund", "urgency": "high"}', '{"intent": "delivery", "urgency": "high"}',
     '{"intent": "[-refund-]{+delivery+}", "urgency": "high"}'),
    ("one\ntwo", "three\nfour\none\ntwo", "{+three\nfour\n+}one\ntwo"),
])  # fmt: skip
def test_changed_words_are_marked_as_phrases(before: str, after: str, told: str) -> None:
    assert marked_text(diff_words(before, after)) == told


@pytest.mark.parametrize(("before", "after"), [
    ("We will give you your money back.", '{"intent": "refund", "urgency": "high"}'),
    ("You are the support agent of a shop. Answer briefly.", "Triage the message of a customer into one intent, in JSON."),
])  # fmt: skip
def test_of_texts_with_little_in_common_both_are_read_whole(before: str, after: str) -> None:
    parts = diff_words(before, after)
    assert apart(parts)
    assert [part.text for part in parts] == [before, after]
    assert marked_text(parts) == f"[-{before}-]\n{{+{after}+}}"
