"""Texts in chunks: along their structure, whole, in order, each where it says that it is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmops_tui.retrieval.chunking import cut, estimate_tokens
from llmops_tui.retrieval.terms import MOST_TERMS, coded_terms, query_terms

GUIDE = """\
Welcome to the shop.

# Orders

An order can be changed.

## Refunds

You get your money back within five days.

```python
# no heading
refund(order)
```

## Delivery

It comes by mail.

Gifts
=====

They are wrapped.
"""
# What of Markdown and of other scripts decides where a text is cut.
_PARTS = st.sampled_from(
    ["# One\n", "### Deep\n", "Title\n===\n", "\n", "\n\n", "\f", "\r\n", "```\n", "word ", "Sentence. ", "日本語。", "a" * 40, "e\u0301", "👩\u200d👧",
     "| a | b |\n", "- item\n", "\u2028", " \t", "12345 "]
)  # fmt: skip


@given(st.lists(_PARTS, max_size=60).map("".join), st.booleans(), st.integers(1, 40))
@example("", False, 1)
@example("#", True, 1)
@example("```\nnever closed", True, 2)
@example("e" + "\u0301" * 30, False, 1)
def test_chunks_are_where_they_say_and_leave_out_nothing_but_space(text: str, structured: bool, tokens: int) -> None:
    chunks = cut(text, structured=structured, tokens=tokens)
    last = 0
    for chunk in chunks:
        said = text[chunk.start : chunk.end]
        assert said == said.strip()
        assert said
        assert not text[last : chunk.start].strip()
        assert chunk.tokens == estimate_tokens(said)
        last = chunk.end
    assert not text[last:].strip()


@given(st.text(alphabet="abc de.\n日語", max_size=300), st.integers(5, 50))
def test_a_chunk_of_plain_text_has_no_more_tokens_than_asked_for(text: str, tokens: int) -> None:
    assert all(chunk.tokens <= tokens for chunk in cut(text, structured=False, tokens=tokens))


def test_a_text_that_fits_is_one_chunk() -> None:
    (chunk,) = cut(GUIDE, structured=True)
    assert GUIDE[chunk.start : chunk.end] == GUIDE.strip()


def test_sections_are_cut_at_headings_and_say_where_they_stand() -> None:
    chunks = cut(GUIDE, structured=True, tokens=30)
    found = [(GUIDE[c.start : c.end].splitlines()[0], c.heading, c.above) for c in chunks]
    assert found == [
        ("Welcome to the shop.", "", ""),
        ("# Orders", "Orders", ""),
        ("## Refunds", "Orders › Refunds", "Orders"),
        ("## Delivery", "Orders › Delivery", "Orders"),
        ("Gifts", "Gifts", ""),
    ]
    # A comment in code is no heading.
    assert "# no heading" in GUIDE[chunks[2].start : chunks[2].end]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("# Orders ##", "Orders"),
        ("#\tC#", "C#"),
        ("## ##", ""),
        ("#", ""),
        # Of so many spaces an expression that tries all ways takes minutes.
        ("# a" + " " * 200_000 + "b #", "a b"),
        ("# " + "# " * 100_000 + "b", ("# " * 100_000)[:200]),
    ],
)
def test_the_text_of_a_heading_is_what_is_between_its_signs(line: str, title: str) -> None:
    (chunk,) = cut(f"{line}\ntext", structured=True, tokens=10**6)
    assert chunk.heading == title


def test_what_is_cut_within_a_section_stands_under_its_heading() -> None:
    text = "# Terms\n\n" + "One sentence more. " * 60
    first, *rest = cut(text, structured=True, tokens=50)
    assert (first.heading, first.above) == ("Terms", "")
    assert {(c.heading, c.above) for c in rest} == {("Terms", "Terms")}
    assert all(text[c.start : c.end].endswith("more.") for c in [first, *rest])
    # A heading is never a chunk of its own.
    assert first.tokens > 30


def test_tables_and_lists_are_cut_between_lines() -> None:
    text = "\n".join(f"| row {n} | {n * 7} |" for n in range(80))
    assert all(text[c.start : c.end].startswith("|") for c in cut(text, structured=True, tokens=60))


def test_pages_are_not_put_together_with_what_is_cut_in_the_middle() -> None:
    text = ("First page has words. " * 20).strip() + "\f" + ("Second page has words. " * 20).strip()
    starts = {c.start for c in cut(text, structured=False, tokens=60)}
    assert text.index("\f") + 1 in starts or all("\f" not in text[c.start : c.end] for c in cut(text, structured=False))


def test_a_long_text_without_spaces_is_cut_fast() -> None:
    text = "x" * 200_000
    assert sum(c.end - c.start for c in cut(text, structured=False, tokens=300)) == len(text)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("C++", ["C", "C++"]),
        ("error E-1042.", ["error", "E", "1042", "E-1042"]),
        ("-5 degrees", ["5", "degrees", "-5"]),
        ("日本", ["日本"]),
        ("本", ["本"]),
        ("日本語 text", ["text", "日本", "本語"]),
        ("word Word WORD", ["word"]),
        ('" OR * NOT (', ["OR", "NOT"]),
        ("___ !!", []),
    ],
)
def test_terms_of_a_query(query: str, said: list[str]) -> None:
    assert [term.said for term in query_terms(query)] == said


def test_a_query_has_a_bounded_number_of_terms() -> None:
    assert len(query_terms(" ".join(f"w{n}" for n in range(1000)))) == MOST_TERMS


_WRITINGS = st.from_regex(r"[abq2]+[+#\-.]+[abq2]+\+?", fullmatch=True)


@given(_WRITINGS, _WRITINGS)
@example("a+a+", "aq2b+a+")
@example("a++", "aq2b+")
def test_other_writings_have_other_codes(left: str, right: str) -> None:
    assert (set(coded_terms(left).split()) == set(coded_terms(right).split())) == (left == right)
