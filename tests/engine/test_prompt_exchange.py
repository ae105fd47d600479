"""Prompts as other programs keep them: the very text, or a refusal that names what cannot be carried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.prompts.foreign_files import FORMS, Form, form_of, read_foreign, write_foreign
from llmops_tui.prompts.foreign_settings import left_behind
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops, llmops

PIECES = st.sampled_from(
    [
        "hello ",
        "$5 ",
        "$$",
        "a\n",
        "é",
        "{ x } ",
        "} ",
        "}",
        "# %",
        "'q' ",
        '"d"',
        "\\",
        "{{ '{' }}",
        "{{ '{%' }}",
        "---\n",
    ]
)
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
    try:
        written = write_foreign(system, template, form)
    except InputRefusedError as error:
        assert form == "dotprompt"
        assert error.code == "cannot_export"  # noqa: PT017
        return
    found = read_foreign(written, form, "f")
    expected, got = rendered([system, template], values), rendered([found.system, found.template], values)
    if form == "dotprompt" and system:
        expected, got = [one.strip("\n") for one in expected], [one.strip("\n") for one in got]
    assert got == expected
    assert found.left == (("providers", "tests") if form == "promptfoo" else ())


@pytest.mark.parametrize(
    ("form", "text", "system", "template", "left"),
    [
        ("openai", '[{"role": "user", "content": "hi {{ x }}"}]', "", "hi {{ x }}", ()),
        ("openai", '{"model": "m", "messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}', "s", "ab", ()),
        ("llm", "just a text with $input\n", "", "just a text with {{ input }}", ()),
        ("llm", "system: You like ${animal}.\nmodel: m\noptions: {temperature: 1}\n", "You like {{ animal }}.", "{{ input }}", ()),
        ("llm", "prompt: 'costs $$5 {% raw %} {{ x }}'\n", "", "costs $5 {{ '{%' }} raw %} {{ '{{' }} x }}", ()),
        ("dotprompt", "---\nmodel: googleai/x\ninput: {schema: {name: string}}\n---\nHi {{name}}{{{name}}}!", "", "Hi {{ name }}{{ name }}!", ("input.schema",)),
        ("llm", "prompt: '{$x} {{$x}} {%$x'\n", "", "{{ '{' }}{{ x }}} {{ '{{' }}{{ x }}}} {{ '{%' }}{{ x }}", ()),
        ("dotprompt", "\n# A license\n---\nmodel: m\n---\n\n Hi {{имя}} \n", "", "Hi {{ имя }}", ()),
        ("dotprompt", '{{role "system"}}\r\nBe kind.\r\n{{role "user"}}\r\nHi\r\nyou', "Be kind.", "Hi\nyou", ()),
        ("dotprompt", r"\{{x}} \\{{x}} \\\{{x}}", "", "{{ '{{' }}x}} \\{{ x }} \\\\{{ x }}", ()),
        ("dotprompt", '{{role "system"}}\nBe kind.\n{{ role "user" }}\nHi {{name}}\n', "Be kind.", "Hi {{ name }}", ()),
        ("promptfoo", "prompts: ['Hi {{name}}: {% raw']\nproviders: [m]\n", "", "Hi {{ name }}: {{ '{%' }} raw", ("providers",)),
        ("promptfoo", "prompts:\n- label: a\n  raw: |\n    - role: system\n      content: Be kind.\n    - role: user\n      content: Hi {{x}}\n", "Be kind.", "Hi {{ x }}", ()),
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
        ("dotprompt", "a {{this}}", r"\{\{this\}\} is no plain variable"),
        ("dotprompt", "a {{name", "at character 3 of the text is not closed"),
        ("dotprompt", "a {{not}}", "not is a word of Jinja"),
        ("llm", "prompt: a $True\n", "True is a word of Jinja"),
        ("promptfoo", "prompts: [file://a.txt]\n", r"prompts\[0\]: file://a.txt is a file"),
        ("promptfoo", "prompts: [{id: exec:a.py}]\n", "is a file"),
        ("promptfoo", "prompts: [hi, prompts/a.txt]\n", r"prompts\[1\]: prompts/a.txt is a file"),
        ("promptfoo", "prompts: {a.json: one}\n", "is a file"),
        ("promptfoo", "prompts: [a.mjs:made]\n", "is a file"),
        ("promptfoo", "prompts: ['langfuse://p:3']\n", "kept elsewhere"),
        ("promptfoo", "prompts: [a, '{{ x | upper }}']\n", r"prompts\[1\]: .* is more than a variable"),
        ("promptfoo", 'prompts: [\'[{"role": "assistant", "content": "a"}]\']\n', "turn 1 is of role assistant"),
        ("promptfoo", "prompts: []\n", "no prompts"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_by_name(form: Form, text: str, why: str) -> None:
    with pytest.raises(InputRefusedError, match=why):
        read_foreign(text, form, "f")


@pytest.mark.parametrize("text", ["{% for x in y %}{{ x }}{% endfor %}", "{{ x | upper }}", "{# note #}"])
def test_more_than_variables_is_not_exported(text: str) -> None:
    for form in ("llm", "dotprompt", "promptfoo"):
        with pytest.raises(InputRefusedError, match="is more than a variable"):
            write_foreign("", text, form)
    assert json.loads(write_foreign("s", text, "openai"))["messages"][1]["content"] == text


@pytest.mark.parametrize(
    ("template", "written"),
    [
        # Without front matter a file is the text alone; an empty one would be text itself.
        ("Hi {{ name }}\n", "Hi {{name}}\n"),
        ("---\nx\n---\ny", "---\n{}\n---\n---\nx\n---\ny"),
        # Handlebars takes a backslash before a variable and a brace behind one for its own.
        ("a\\{{ name }}", "a\\\\{{name}}"),
        ("{{ name }}}", "{{{name}}}}"),
    ],
)
def test_a_prompt_file_says_to_handlebars_what_it_says_here(template: str, written: str) -> None:
    assert write_foreign("", template, "dotprompt") == written


@pytest.mark.parametrize(
    ("form", "template", "why"),
    [
        ("dotprompt", "{{ '{' }}{{ name }}", "right before a variable"),
        ("dotprompt", "{{ '{' }}{{ '{' }}", "as text"),
        ("dotprompt", "{{ log }}", "log is a word of Handlebars"),
        ("llm", "{{ имя }}", "only the letters a to z"),
        ("llm", "{{ true }}", "is more than a variable"),
        ("promptfoo", "{{ env }}", "env is a word of promptfoo"),
    ],
)
def test_what_a_form_would_take_for_its_own_is_not_exported(form: Form, template: str, why: str) -> None:
    with pytest.raises(InputRefusedError, match=why):
        write_foreign("", template, form)


def test_examples_that_look_like_templates_are_read_again_as_they_stand() -> None:
    turns = [{"question": "What is {{ 7*7 }}?", "answer": "{% if %} {# none #} {"}]
    written = write_foreign(
        "s", "Say {{ x }}", "openai", settings=read_settings({"examples": {"turns": turns}}, "here")
    )
    found = read_foreign(written, "openai", "f")
    assert found.settings is not None
    assert found.settings.as_record()["examples"] == {"turns": turns}
    assert found.template == "Say {{ x }}"


def test_descriptions_of_variables_that_a_file_does_not_carry_are_told() -> None:
    held = read_settings({"variables": {"x": {"default": "a", "description": "A letter"}}}, "here")
    assert left_behind(held, "llm") == left_behind(held, "dotprompt") == ("the descriptions of variables",)
    assert left_behind(held, "openai") == ("variables",)


def test_a_form_is_known_by_the_file() -> None:
    assert form_of("a.prompt", "x") == "dotprompt"
    assert form_of("a.json", "[]") == "openai"
    assert form_of("a.json", '{"prompt": "p", "versions": [{"template": "a"}]}') is None
    assert form_of("a.yaml", "prompt: hi $input\nmodel: m\n") == "llm"
    assert form_of("a.yaml", "prompt: hi\nversions: []\n") is None
    assert form_of("a.yaml", "prompt: hi\nother: 1\n") is None
    assert form_of("a.yaml", "prompts: [hi]\ntests: []\n") == "promptfoo"


def test_through_the_command_line(sample: Workspace, tmp_path: Any) -> None:
    cli = Llmops(sample)
    file = tmp_path / "greeting.prompt"
    file.write_text('---\nmodel: m\n---\n{{role "system"}}Be kind.\n{{role "user"}}Hi {{name}}')
    told = cli.run("prompt", "import", str(file))
    assert (told["prompt"], told["created"], told["left"]) == ("greeting", 1, [])
    out = tmp_path / "out.yaml"
    cli.run("prompt", "export", "greeting", "--as", "llm", "--to", str(out))
    assert yaml.safe_load(out.read_text()) == {"model": "m", "system": "Be kind.", "prompt": "Hi ${name}"}
    again = cli.run("prompt", "import", str(out), "--name", "greeting")
    assert again["created"] == 0
    cli.run("prompt", "import", str(file), "--move-labels", code=3)
    cli.run("prompt", "export", "greeting", "--as", "pickle", code=3)


def test_a_configuration_of_promptfoo_has_the_values_of_the_draft_and_may_have_variants(
    sample: Workspace, tmp_path: Path
) -> None:
    cli, out = Llmops(sample), tmp_path / "promptfooconfig.yaml"
    cli.run("prompt", "export", "support@1", "--as", "promptfoo", "--to", str(out))
    body = yaml.safe_load(out.read_text())
    assert body["tests"] == [{"vars": {"question": "When are you open?"}}]
    assert [one["label"] for one in body["prompts"]] == ["support@1"]
    body["prompts"].append("Please: {{ question }}")
    out.write_text(yaml.safe_dump(body))
    told = cli.run("prompt", "import", str(out), "--name", "support")
    assert (told["versions"], told["created"], told["left"]) == ([1, 3], 1, ["providers", "tests"])
    with pytest.raises(InputRefusedError, match="puts the value of x"):
        write_foreign("", "{{ x }} {{ y }}", "promptfoo", values={"y": "a {{x}}"})
    assert (
        yaml.safe_load(write_foreign("", "{{ x }}", "promptfoo", values={"x": "a {{ b"}))["tests"][0]["vars"]["x"]
        == "a {{ b"
    )
    with pytest.raises(InputRefusedError, match="reads as a file"):
        write_foreign("", "{{ x }}", "promptfoo", values={"x": "file:///etc/passwd"})


def test_an_export_to_a_pipe_has_each_character(sample: Workspace) -> None:
    text = "می\u200cخواهم \U0001f468\u200d\U0001f469 \t{{ x }}"
    PromptStore(Catalog(sample)).save("persian", template=text)
    done = llmops("prompt", "export", "persian", "--as", "dotprompt", workspace=sample)
    assert done.stdout == text.replace("{{ x }}", "{{x}}")


def test_files_are_read_or_it_is_said_what_reads_them(sample: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "greeting.prompt.yaml"
    file.write_text("system: be kind\n")
    refused = llmops("prompt", "import", str(file), workspace=sample)
    assert f"llmops prompt sync {tmp_path} --prompt greeting reads it" in refused.stderr
    assert "Give --name" in llmops("prompt", "import", "-", "--as", "llm", workspace=sample, stdin="hi").stderr
    marked = tmp_path / "marked.json"
    marked.write_bytes(b'\xef\xbb\xbf[{"role": "user", "content": "hi"}]')
    assert Llmops(sample).run("prompt", "import", str(marked))["prompt"] == "marked"


def test_what_was_read_renders_here(sample: Workspace) -> None:
    renderer = TemplateRenderer()
    try:
        found = read_foreign("prompt: 'say {{ $what }} $$'\n", "llm", "f")
        assert renderer.render(found.template, {"what": "hi"}) == "say {{ hi }} $"
    finally:
        renderer.close()
