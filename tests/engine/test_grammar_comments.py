"""Comments of a grammar, which are left out where all requests pass: the same as by a definition that is short and slow."""

from __future__ import annotations

import random
import re

import pytest

from llmops_tui.inference.gbnf_reader import without_comments
from tests.representatives import representatives

# Tried at each place anew: right, and quadratic for what is never closed and for blanks.
_DEFINITION = re.compile(r"""("(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\])|[ \t]*#[^\r\n]*|[ \t]+(?=[\r\n]|$)""", re.DOTALL)
_SIGNS = '"[]\\# \t\r\na'


def defined(text: str) -> str:
    return _DEFINITION.sub(lambda found: found[1] or "", text)


def test_just_what_the_definition_names_is_left_out() -> None:
    rng = random.Random(1)
    texts = ["".join(rng.choices(_SIGNS, k=rng.randint(0, 16))) for _ in range(30_000)]
    assert sum(defined(text) != text for text in texts) > 1000
    for text in texts:
        assert without_comments(text) == defined(text), text


def test_comments_go_and_what_only_looks_like_one_stays() -> None:
    text = '# said first\nroot ::= "a # b" [#"] c  # said of it\n\t \nc ::= "\\"#"\t\n'
    assert without_comments(text) == '\nroot ::= "a # b" [#"] c\n\nc ::= "\\"#"\n'


@pytest.mark.parametrize(
    "sign", ["[", '"', '["', "[\\", " ", " \t", " #", "#", "\\", '\\"', "\\]", " \n", " \r", " #\n", " a"]
)
@pytest.mark.parametrize("before", representatives(["", '"', "[", '"[', "a"], "["))
def test_the_longest_grammar_takes_no_time_whatever_it_is(before: str, sign: str) -> None:
    """The definition takes many minutes for some of these; what it leaves of short ones says what is left of long ones."""

    def made(count: int) -> str:
        return before + sign * count + "b"

    count = 200_000 // len(sign) - 4
    # What comes twice as often as another is left twice as often; by twos, since every other quote opens one.
    few, more = len(defined(made(count % 2 + 10))), len(defined(made(count % 2 + 12)))
    assert len(without_comments(made(count))) == few + (more - few) * (count // 2 - 5)
