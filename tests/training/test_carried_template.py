"""The chat template of a recipe is part of its results: compared as it will be served, carried by each form, served with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.chat_format import read_format
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.gguf import read_header
from llmops_tui.models.registry import with_adapter
from llmops_tui.models.safetensors import read_folder
from llmops_tui.training.export.adapter import read_adapter, write_adapter_gguf
from llmops_tui.training.export.conversion import convert
from llmops_tui.training.export.merge import Carried, merge_gguf, merge_safetensors
from llmops_tui.training.export.proof import Case, ask_gguf
from llmops_tui.training.families import Family
from llmops_tui.training.parity import check_parity, compare_with_serving
from llmops_tui.training.preflight_template import check_template
from llmops_tui.training.recipe import check, parse
from llmops_tui.training.recipe_input import from_text
from llmops_tui.training.runs import RunStore
from llmops_tui.training.template_variables import with_defaults
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace
from tests.later import Later
from tests.training.conftest import Llmops
from tests.training.models import make_adapter, make_model
from tests.training.test_methods import dataset

base_model = Later("llmops_tui.training.worker.base_model")

OTHER = (
    "{% for m in messages %}<|im_start|>{{ m.role }}:{{ ' short' if brief }}\n{{ m.content }}<|endoftext|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant:{{ ' short' if brief }}\n{% endif %}"
)
BODY: dict[str, Any] = {"name": "r", "base": "b", "data": "d"}
TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8).filter(lambda t: t.isprintable()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def renderer() -> Any:
    found = TemplateRenderer()
    yield found
    found.close()


@given(
    values=st.dictionaries(st.sampled_from(["one", "two"]), VALUES, max_size=2), start=st.sampled_from(["", "\n", " "])
)
def test_a_template_with_defaults_writes_what_it_writes_with_the_variables(
    renderer: TemplateRenderer, values: dict[str, Any], start: str
) -> None:
    template = start + "{{ one is defined }}{{ one | tojson if one is defined }}{{ two | tojson if two is defined }}"
    assert renderer.render(with_defaults(template, values), {}, "chat") == renderer.render(template, values, "chat")
    asked = {"one": "asked"}
    expected = renderer.render(template, values | asked, "chat")
    assert renderer.render(with_defaults(template, values), asked, "chat") == expected


def test_a_recipe_says_which_variables_and_is_refused_where_it_cannot() -> None:
    text = (
        "name: r\nbase: b\ndata: [{dataset: d, chat_template_kwargs: {brief: true}}]\nchat_template_kwargs: {x: [1]}\n"
    )
    found = parse(text)
    assert (found.data[0].chat_template_kwargs, found.chat_template_kwargs) == ({"brief": True}, {"x": [1]})
    assert parse(found.to_yaml()) == found
    assert from_text("chat_template_kwargs", "{brief: true}") == {"brief": True}
    for wrong, told in (({"messages": []}, "set from the data"), ({"a b": 1}, "no name of a variable")):
        with pytest.raises(Exception, match=told):
            check(BODY | {"chat_template_kwargs": wrong})
    plain = check(BODY)
    assert (plain.template("own"), check(BODY | {"chat_template": "T"}).template("own")) == (None, "T")
    assert len({one.sha256 for one in (plain, found, check(BODY | {"mask_history": True}))}) == 3


def test_findings_about_templates_come_from_what_they_write(renderer: TemplateRenderer) -> None:
    def codes(recipe: dict[str, Any], own: str | None, *known: str) -> list[tuple[str, str]]:
        wanted = check(BODY | recipe)
        template = wanted.chat_template or own
        chat = read_format(template, renderer) if template else None
        return [(one.level, one.code) for one in check_template(wanted, own, chat, known)]

    assert codes({}, OTHER, "<|im_start|>", "<|endoftext|>") == []
    assert codes({}, OTHER, "<|im_start|>") == [("error", "template_tokens")]
    assert codes({"chat_template": OTHER}, None, "<|endoftext|>") == [("error", "template_tokens")]
    # A model may have been trained with roles in plain text, but not with such an end.
    assert codes({}, OTHER, "<|endoftext|>") == [("warn", "template_tokens")]
    assert codes({}, OTHER.replace("<|im_start|>", "[ROLE]"), "<|endoftext|>") == []
    assert codes({}, None) == [("warn", "no_template")]
    wrong = {"chat_template_kwargs": {"brieff": True}, "data": [{"dataset": "d", "chat_template_kwargs": {"brief": 1}}]}
    assert codes(wrong, OTHER) == [("error", "template_variable")]


def test_what_will_be_served_is_compared_with_what_is_trained(sample: Workspace) -> None:
    registry = RunStore(sample).registry
    serving, rows = registry.get("support-base"), [("messages", {"messages": TURNS})]
    recipe = check(BODY | {"chat_template": OTHER, "chat_template_kwargs": {"brief": True}})
    carried = recipe.template(None)
    with ModelText(registry.get("support-base-hf"), carried) as text:
        assert "assistant: short" in text.row_text("messages", rows[0][1]).text
        # With the template that the result carries, and as it would be with the base's own.
        assert compare_with_serving(text, serving, carried, rows).different == 0
        assert compare_with_serving(text, serving, None, rows).different == 1
    opened = OTHER.replace("{% endif %}", "<think>\n{% endif %}")
    with ModelText(registry.get("support-base-hf"), opened) as text:
        found = compare_with_serving(text, serving, opened, rows)
        assert (found.different, found.prompts) == (0, 1)
        (told,) = check_parity(found)
        assert (told.level, told.code) == ("warn", "prompt")
        assert "<think>" in told.message


@pytest.mark.slow
def test_each_form_of_a_result_carries_the_template(sample: Workspace, tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base")
    adapter = read_adapter(make_adapter(base, tmp_path / "adapter"))
    family = Family("llama", json.loads((base / "config.json").read_text(encoding="utf-8")))
    convert(base, tmp_path / "base.gguf", "base", lambda *_: None)
    write_adapter_gguf(family, adapter, tmp_path / "adapter.gguf", "adapter", OTHER)
    chat = Carried(OTHER, 0)
    merge_gguf(family, adapter, tmp_path / "base.gguf", tmp_path / "merged.gguf", "m", lambda *_: None, base, chat)
    merge_safetensors(adapter, base, tmp_path / "merged", lambda *_: None, chat)

    assert read_header(tmp_path / "base.gguf").chat_template != OTHER
    assert read_header(tmp_path / "merged.gguf").chat_template == OTHER
    fields = gguf.GGUFReader(tmp_path / "merged.gguf").fields
    assert fields[gguf.Keys.Tokenizer.EOT_ID].contents() == 0
    assert read_folder(tmp_path / "merged").chat_template == OTHER
    settings = json.loads((tmp_path / "merged" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "chat_template" not in settings
    generation = json.loads((tmp_path / "merged" / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] == [2, 0]
    assert base_model.load_tokenizer(base, OTHER).chat_template == OTHER
    assert base_model.load_tokenizer(base).chat_template == read_folder(base).chat_template

    registry = RunStore(sample).registry
    whole = with_adapter(registry.add(tmp_path / "base.gguf", "tiny"), registry.add(tmp_path / "adapter.gguf", "tone"))
    assert (whole.header["chat_template"], whole.base.header["chat_template"] == OTHER) == (OTHER, False)
    assert registry.get("tiny+tone").header["chat_template"] == OTHER
    with ModelText(whole) as text:
        assert text.template == OTHER
    # llama.cpp takes both files with what they carry.
    case = Case("a", [5, 6], [7])
    assert ask_gguf(tmp_path / "base.gguf", tmp_path / "adapter.gguf", [case], lambda _: None).tokens
    assert ask_gguf(tmp_path / "merged.gguf", None, [case], lambda _: None).tokens


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_with_a_template_of_its_own_is_served_with_it(llmops: Llmops) -> None:
    store = RunStore(llmops.workspace)
    rows = [
        {"messages": [{"role": "user", "content": f"a{n}"}, {"role": "assistant", "content": f"b{n}"}]}
        for n in range(24)
    ]
    dataset(store, "messages", rows, "few")
    file = llmops.workspace.root / "recipe.yaml"
    body = {"name": "other", "base": "support-base-hf", "data": "few", "chat_template": OTHER, "max_steps": 4}
    body |= {"chat_template_kwargs": {"brief": True}, "quantization": {"type": "none"}, "trackers": []}
    body |= {"batch": {"size": 4, "accumulation": 1, "max_length": 64}, "evaluation": {"share": 0.2}}
    file.write_text(json.dumps(body), encoding="utf-8")
    llmops.run("train", "start", str(file), "--beside")
    done = llmops.wait("other-1", "done")
    carried = with_defaults(OTHER, {"brief": True})
    assert done["recipe"]["chat_template_kwargs"] == {"brief": True}
    folder = store.get("other-1").folder
    assert (folder / "adapter" / "chat_template.jinja").read_text(encoding="utf-8") == carried
    whole = llmops.workspace.root / "whole"
    made = llmops.run("train", "export", "other-1", "--gguf", "--merge", "--safetensors", str(whole))
    assert {step["same_tokens"] for step in made["proof"]} == {1.0}, made["proof"]
    assert all(step["chat_template_kwargs"] == {"brief": True} for step in made["proof"])
    assert {step["chat_template_sha256"] for step in made["proof"]} == {sha256_text(carried)}
    assert store.registry.get("other-1-F16").header["chat_template"] == carried
    assert store.registry.get("support-base+other-1").header["chat_template"] == carried
    assert read_folder(whole).chat_template == carried
