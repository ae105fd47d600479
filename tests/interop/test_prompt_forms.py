"""Prompts that were exported, read by the programs whose form it is."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.prompts.foreign_files import read_foreign, write_foreign

PIECES = st.sampled_from(["hello ", "$5 ", "$$", "a\n", "é", "{ x } ", "}} ", "{{ name }}", "{{ x1 }}"])
TEMPLATES = st.lists(PIECES, min_size=1, max_size=8).map("".join).filter(str.strip)


@pytest.mark.slow
@given(TEMPLATES, TEMPLATES)
def test_llm_says_what_we_say(system: str, template: str) -> None:
    import jinja2
    from llm.templates import Template

    values = {"name": "Ann $1", "x1": "{{ y }}"}
    body = yaml.safe_load(write_foreign(system, template, "llm"))
    prompt, its_system = Template(name="t", **body).evaluate("", dict(values))
    environment = jinja2.Environment(keep_trailing_newline=True)
    assert (its_system, prompt) == tuple(environment.from_string(one).render(values) for one in (system, template))
    found = read_foreign(write_foreign(system, template, "llm"), "llm", "f")
    assert environment.from_string(found.template).render(values) == prompt
