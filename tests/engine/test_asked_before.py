"""What was asked before as a template: it renders to itself, whatever marks of templates stand in it."""

from __future__ import annotations

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.prompts.asked_before import _plain

PIECES = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "raw",
    "endraw",
    "-",
    "+",
    " ",
    "\n",
    "a",
    '"',
    "\\",
    "{% endraw %}",
    "{%-endraw+%}",
]


def rendered(text: str) -> str:
    return jinja2.Environment(keep_trailing_newline=True).from_string(_plain(text)).render()


@pytest.mark.parametrize("text", ["plain", "{{ name }}", "{% raw %}x{% endraw %}{{", "a {# b #} {%+ endraw -%}\n"])
def test_a_message_is_asked_as_it_was(text: str) -> None:
    assert rendered(text) == text


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_whatever_marks_a_message_has_none_is_lost(text: str) -> None:
    assert rendered(text) == text
