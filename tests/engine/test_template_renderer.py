from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.gguf import read_header
from tests.representatives import representatives


@pytest.fixture(scope="module")
def renderer() -> Iterator[TemplateRenderer]:
    made = TemplateRenderer()
    yield made
    made.close()


def test_a_prompt_is_rendered_as_it_is_typed(renderer: TemplateRenderer) -> None:
    assert renderer.render("Hello {{ name }}\n", {"name": "{{ x }}<b>"}) == "Hello {{ x }}<b>\n"


def test_what_is_no_text_is_printed_as_json(renderer: TemplateRenderer) -> None:
    source = "{{ a }} {{ b }} {{ c }} {{ d }} {{ e }} {{ f }} {{ a.x }}"
    values = {"a": {"x": ["é"]}, "b": True, "c": None, "d": 3, "e": "it's", "f": 0.5}
    assert renderer.render(source, values) == '{"x": ["é"]} true null 3 it\'s 0.5 ["é"]'


def test_variables_are_found_in_the_order_of_their_use(renderer: TemplateRenderer) -> None:
    source = "{% set own = 1 %}{{ beta }} {{ alpha }} {% for i in items %}{{ i }}{{ own }}{% endfor %}"
    assert renderer.variables(source) == ["beta", "alpha", "items"]


def test_a_missing_variable_is_named(renderer: TemplateRenderer) -> None:
    with pytest.raises(InputRefusedError, match="'name'") as caught:
        renderer.render("{{ name }}", {})
    assert caught.value.code == "variable_missing"


def test_a_syntax_error_says_where(renderer: TemplateRenderer) -> None:
    with pytest.raises(InputRefusedError, match="line 2"):
        renderer.render("a\n{% if %}", {})


@pytest.mark.parametrize(
    "source",
    representatives(
        [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{{ 'a' * 10**9 }}",
            "{{ '%999999999d' % 1 }}",
            "{{ range(10**12) | list }}",
            "{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}",
            "{{ [[1] * 10**4] * 10**4 | string | length }}{{ ('a' * 10**8) | length }}{{ 'a' * 10**8 ~ 'b' * 10**9 }}",
        ],
        1,
        4,
    ),
)
def test_bombs_are_stopped_and_the_next_template_works(renderer: TemplateRenderer, source: str) -> None:
    with pytest.raises(InputRefusedError):
        renderer.render(source, {})
    assert renderer.render("{{ x }}", {"x": "alive"}) == "alive"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ x.__class__ }}",
        "{{ messages.append(1) }}",
        "{% set _ = messages.clear() %}",
        "{{ lipsum.__globals__['os'].system('id') }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}",
        "{{ ''['__cla' ~ 'ss__']['__mro__'] }}",
        "{{ '{0.__class__.__mro__}'.format(x) }}",
        "{{ raise_exception.__globals__ }}",
    ],
)
@pytest.mark.parametrize("kind", ["chat", "prompt"])
def test_nothing_of_python_can_be_reached(renderer: TemplateRenderer, source: str, kind: str) -> None:
    try:
        text = renderer.render(source, {"messages": [1], "x": "x"}, kind)  # type: ignore[arg-type]
    except InputRefusedError:
        return
    assert "class" not in text
    assert "uid=" not in text
    assert "os" not in text


CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße, <|im_end|> {{ x }}"},
    {"role": "assistant", "content": "ok\n"},
    {"role": "user", "content": "bye"},
]
TEMPLATES = {
    "sample": None,
    "llama-like": (
        "{{ bos_token }}{% for m in messages %}\n  {%- if m.role == 'system' %}\n<<SYS>>{{ m.content | trim }}\n"
        "  {%- else %}\n[{{ m.role | upper }}] {{ m['content'] }}{{ eos_token }}\n  {%- endif %}\n{% endfor %}"
    ),
    "tools": "{% for m in messages %}{{ m | tojson }}{% if loop.last %}{% break %}{% endif %}{% endfor %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_chat_templates_render_as_in_transformers(renderer: TemplateRenderer, name: str) -> None:
    from transformers import AutoTokenizer

    from llmops_tui.sample_files import sample_folder

    folder = sample_folder() / "models"
    source = TEMPLATES[name] or read_header(folder / "support-base-Q8_0.gguf").chat_template
    assert source is not None
    tokenizer = AutoTokenizer.from_pretrained(folder / "support-base")
    expected = tokenizer.apply_chat_template(
        CONVERSATION,
        chat_template=source,
        tokenize=False,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
    )
    context = {"messages": CONVERSATION, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    assert renderer.render(source, context, "chat") == expected
