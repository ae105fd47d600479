"""Prompts as other programs keep them: the very text, or a refusal that names what cannot be carried."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.prompts.foreign_files import FORMS, Form, form_of, read_foreign, write_foreign
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops

PIECES = st.sampled_from(["hello ", "$5 ", "$$", "a\n", "é", "{ x } ", "} ", "# %", "'q' ", '"d"', "\\"])
VARIABLES = st.sampled_from(["{{ name }}", "{{name}}", "{{ _x1 }}"])
TEMPLATES = st.lists(PIECES | VARIABLES, min_size=1, max_size=8).map("".join)


def rendered(texts: list[str], values: dict[str, str]) -> list[str]:
    import jinja2

    return [jinja2.Environment(keep_trailing_newline=True).from_string(text).render(values) for text in texts]


@pytest.mark.parametrize("form", FORMS)
@given(st.just("") | TEMPLATES, TEMPLATES)
def test_what_is_written_is_read_again_and_says_the_same(form: Form, system: str, template: str) -> None:
    assume(template.strip() and (not system or system.strip()))
    values = {"name": "{{ Ann }} $1", "_x1": "<b>"}
    found = read_foreign(write_foreign(system, template, form), form, "f")
    expected, got = rendered([system, template], values), rendered([found.system, found.template], values)
    if form == "dotprompt" and system:
        expected, got = [one.strip("\n") for one in expected], [one.strip("\n") for one in got]
    assert got == expected
    assert found.left == ()


@pytest.mark.parametrize(
    ("form", "text", "system", "template", "left"),
    [
        ("openai", '[{"role": "user", "content": "hi {{ x }}"}]', "", "hi {{ x }}", ()),
        ("openai", '{"model": "m", "messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}', "s", "ab", ("model",)),
        ("llm", "just a text with $input\n", "", "just a text with {{ input }}", ()),
        ("llm", "system: You like ${animal}.\nmodel: m\noptions: {temperature: 1}\n", "You like {{ animal }}.", "{{ input }}", ("model", "options")),
        ("llm", "prompt: 'costs $$5 {% raw %} {{ x }}'\n", "", "costs $5 {{ '{%' }} raw %} {{ '{{' }} x }}", ()),
        ("dotprompt", "---\nmodel: googleai/x\ninput: {schema: {name: string}}\n---\nHi {{name}}{{{name}}}!", "", "Hi {{ name }}{{ name }}!", ("input", "model")),
        ("dotprompt", '{{role "system"}}\nBe kind.\n{{ role "user" }}\nHi {{name}}\n', "Be kind.", "Hi {{ name }}", ()),
    ],
)  # fmt: skip
def test_texts_are_read(form: Form, text: str, system: str, template: str, left: tuple[str, ...]) -> None:
    found = read_foreign(text, form, "f")
    assert (found.system, found.template, found.left) == (system, template, left)


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        ("openai", '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]', "message 2 is of role assistant"),
        ("openai", '[{"role": "user", "content": [{"type": "image_url"}]}]', "message 1 has content that is no text"),
        ("openai", '[{"role": "user", "content": "a", "name": "x"}]', "message 1 has name"),
        ("openai", '{"messages": 3}', "no list of messages"),
        ("openai", "{", "as openai"),
        ("openai", "[]", "no text"),
        ("llm", "prompt: a\nfragments: [x]\n", "fragments: they put text of other files"),
        ("llm", "prompt: 'costs $5'\n", r"a \$ alone at character 7"),
        ("llm", "promt: a\n", "promt: no field"),
        ("llm", "prompt: [a]\n", "prompt is no text"),
        ("dotprompt", "{{#each items}}{{this}}{{/each}}", r"\{\{#each items\}\} is no plain variable"),
        ("dotprompt", '{{role "model"}}hi', "a turn of role model"),
        ("dotprompt", 'hi {{role "system"}} s', "behind the user's"),
        ("dotprompt", "---\n- a\n---\nhi", "no mapping"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_by_name(form: Form, text: str, why: str) -> None:
    with pytest.raises(InputRefusedError, match=why):
        read_foreign(text, form, "f")


@pytest.mark.parametrize("text", ["{% for x in y %}{{ x }}{% endfor %}", "{{ x | upper }}", "{# note #}"])
def test_more_than_variables_is_not_exported(text: str) -> None:
    for form in ("llm", "dotprompt"):
        with pytest.raises(InputRefusedError, match="is more than a variable"):
            write_foreign("", text, form)  # type: ignore[arg-type]
    assert json.loads(write_foreign("s", text, "openai"))["messages"][1]["content"] == text


def test_a_form_is_known_by_the_file() -> None:
    assert form_of("a.prompt", "x") == "dotprompt"
    assert form_of("a.json", "[]") == "openai"
    assert form_of("a.yaml", "prompt: hi $input\nmodel: m\n") == "llm"
    assert form_of("a.yaml", "prompt: hi\nversions: []\n") is None
    assert form_of("a.yaml", "prompt: hi\nother: 1\n") is None


def test_through_the_command_line(sample: Workspace, tmp_path: Any) -> None:
    llmops = Llmops(sample)
    file = tmp_path / "greeting.prompt"
    file.write_text('---\nmodel: m\n---\n{{role "system"}}Be kind.\n{{role "user"}}Hi {{name}}')
    told = llmops.run("prompt", "import", str(file))
    assert (told["prompt"], told["created"], told["left"]) == ("greeting", 1, ["model"])
    out = tmp_path / "out.yaml"
    llmops.run("prompt", "export", "greeting", "--as", "llm", "--to", str(out))
    assert yaml.safe_load(out.read_text()) == {"system": "Be kind.", "prompt": "Hi ${name}"}
    again = llmops.run("prompt", "import", str(out), "--name", "greeting")
    assert again["created"] == 0
    llmops.run("prompt", "import", str(file), "--move-labels", code=3)
    llmops.run("prompt", "export", "greeting", "--as", "pickle", code=3)


def test_what_was_read_renders_here(sample: Workspace) -> None:
    renderer = TemplateRenderer()
    try:
        found = read_foreign("prompt: 'say {{ $what }} $$'\n", "llm", "f")
        assert renderer.render(found.template, {"what": "hi"}) == "say {{ hi }} $"
    finally:
        renderer.close()
