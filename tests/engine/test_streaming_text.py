from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.inference.streaming_text import StreamingText

ALPHABET = st.text("ab\nü日", max_size=30)
STOPS = st.lists(st.text("ab\nü", min_size=1, max_size=4), max_size=3)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(p % (len(raw) + 1) for p in places)})
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


def first_stop(text: str, stops: list[str]) -> str:
    """The reference: what stands before the stop whose end comes first, as a reader of the whole text sees it."""
    for end in range(1, len(text) + 1):
        hits = [text[:end].find(s) for s in stops if s in text[:end]]
        if hits:
            return text[: min(hits)]
    return text


@given(ALPHABET, st.lists(st.integers(0, 200), max_size=10))
def test_any_split_of_the_bytes_gives_the_same_text(text: str, places: list[int]) -> None:
    stream = StreamingText(())
    assert "".join(map(stream.feed, cut(text.encode(), places))) + stream.finish() == text


@given(ALPHABET, STOPS)
def test_stop_strings_are_found_as_a_reader_of_the_whole_text_finds_them(text: str, stops: list[str]) -> None:
    stream = StreamingText(stops)
    out = "".join(stream.feed(c.encode()) for c in text) + stream.finish()
    assert out == first_stop(text, stops)
    assert stream.stopped == any(s in text for s in stops)


@given(ALPHABET, STOPS, st.lists(st.integers(0, 200), max_size=10))
def test_no_part_of_a_stop_string_is_ever_shown(text: str, stops: list[str], places: list[int]) -> None:
    stream = StreamingText(stops)
    out = "".join(map(stream.feed, cut(text.encode(), places))) + stream.finish()
    assert not any(s in out for s in stops)
    assert text.startswith(out)


def test_undecodable_bytes_are_shown_and_do_not_stall() -> None:
    stream = StreamingText(())
    assert stream.feed(b"a\xffb") == "a\ufffdb"
    assert stream.feed("é".encode()[:1]) == ""
    assert stream.feed("é".encode()[1:]) == "é"
