"""What chat templates of the field use is there, with the results that transformers gives."""

from __future__ import annotations

import datetime as dt

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.template_renderer import TemplateRenderer

VALUE = {"b": ["é", 1.5, None], "a": "<x>"}


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("{{ v | tojson }}", '{"b": ["é", 1.5, null], "a": "<x>"}'),
        ("{{ v | tojson(true) }}", '{"b": ["\\u00e9", 1.5, null], "a": "<x>"}'),
        ("{{ v | tojson(separators=(',', ':'), sort_keys=true) }}", '{"a":"<x>","b":["é",1.5,null]}'),
        ("{{ v.a | tojson(indent=2) }}{{ [1] | tojson(indent=1) }}", '"<x>"[\n 1\n]'),
        ("{{ ('[1, {\"k\": true}]' | from_json)[1].k }}", "True"),
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "13"),
        ("{% generation %}{{ v.a }}{% endgeneration %}!", "<x>!"),
        # A block of what the assistant says is a scope of its own.
        ("{% set n = 1 %}{% generation %}{% set n = 2 %}{{ n }}{% endgeneration %}{{ n }}", "21"),
        ("{{ 'a' if strftime_now('%Y') | int >= year }}", "a"),
    ],
)
def test_filters_and_blocks(template: str, written: str, renderer: TemplateRenderer) -> None:
    year = dt.datetime.now().year  # noqa: DTZ005  templates write the local date
    assert renderer.render(template, {"v": VALUE, "year": year}, "chat") == written


def test_each_of_many_is_rendered_or_refused_by_itself(renderer: TemplateRenderer) -> None:
    template = "{% if bad %}{{ raise_exception('not this one') }}{% endif %}{{ gone.deeper }}"
    good, bad, missing = renderer.render_each(template, [{"gone": {"deeper": 1}}, {"bad": True}, {}])
    assert good == "1"
    assert isinstance(bad, InputRefusedError)
    assert "not this one" in bad.message
    assert isinstance(missing, InputRefusedError)
    assert missing.code == "variable_missing"
