"""Partials of prompts: put in when a version is saved, and known again in its text."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import DictLoader

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.inference.nunjucks import NunjucksEnvironment
from llmops_tui.inference.prompt_versions import PromptVersion, content_hash
from llmops_tui.inference.template_worker import answer, prompt_environment
from llmops_tui.prompts import partials, prompt_files
from llmops_tui.prompts.partial_versions import held_partials, take_newer, users
from llmops_tui.prompts.partials import has_includes, is_put_in, partials_of, put_in, without_marks
from llmops_tui.prompts.plain_templates import parts_of
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.lineage import ancestors

ENVIRONMENT, NUNJUCKS = prompt_environment(), NunjucksEnvironment()


@pytest.fixture
def store(catalog: Catalog) -> PromptStore:
    return PromptStore(catalog)


def rendered(text: str, /, **values: object) -> str:
    return ENVIRONMENT.from_string(text).render(values)


def version(text: str, name: str = "tone", number: int = 1, system: str = "", held: str = "") -> PromptVersion:
    digest = content_hash(system, text, held)
    return PromptVersion("pv", name, number, digest, None, system, text, "", 0.0, settings_text=held)


def known(**texts: str) -> partials.Get:
    def get(ref: str) -> PromptVersion:
        name = ref.partition("@")[0]
        if name not in texts:
            raise NotFoundError("prompt", ref)
        return version(texts[name], name)

    return get


def code_of(get: partials.Get, text: str, name: str = "bot") -> str:
    with pytest.raises(InputRefusedError) as refused:
        put_in(get, name, text)
    assert refused.value.code == "bad_partial"
    return refused.value.message


def test_an_include_becomes_the_partials_text(store: PromptStore) -> None:
    tone, _ = store.save("tone", template="Be {{ mood }}.")
    bot, _ = store.save("bot", template='{% include "tone" %} Sort {{ text }}.', system="{% include 'tone@1' %}")
    mark = tone.sha256[:12]
    assert bot.system == f"{{# partial tone@1 {mark} #}}Be {{{{ mood }}}}.{{# end partial tone@1 #}}"
    assert bot.template == f"{bot.system} Sort {{{{ text }}}}."
    assert rendered(bot.template, mood="kind", text="it") == "Be kind. Sort it."
    assert ENVIRONMENT.from_string(bot.template)
    (held,) = partials_of(bot.system)
    assert (held.ref, held.text, held.sha256, held.edited) == ("tone@1", tone.template, tone.sha256, False)


def test_the_same_text_is_the_same_version_and_another_partial_another_one(store: PromptStore) -> None:
    store.save("tone", template="Be brief.")
    first, new = store.save("bot", template='{% include "tone" %}')
    again, anew = store.save("bot", template="{%include 'tone'%}")
    whole, anew_whole = store.save("bot", template=first.template)
    assert (new, anew, anew_whole) == (True, False, False)
    assert first.sha256 == again.sha256 == whole.sha256 == content_hash("", first.template)
    store.save("tone", template="Be long.")
    other, new = store.save("bot", template='{% include "tone" %}')
    assert new
    assert other.sha256 != first.sha256
    assert [partials_of(one.template)[0].number for one in (first, other)] == [1, 2]


def test_a_partial_is_found_as_any_version_is(store: PromptStore) -> None:
    for text in ("one", "two", "three"):
        store.save("tone", template=text)
    store.move_label("tone@2", "production")
    store.move_label("tone@1", "stable")

    def of(ref: str) -> str:
        return rendered(store.save("bot", template=f'{{% include "{ref}" %}}')[0].template)

    refs = ("tone", "tone@3", "tone@v3", "tone@stable", "tone@latest", "tone@production")
    assert [of(ref) for ref in refs] == ["two", "three", "three", "one", "three", "two"]


def test_partials_of_partials_are_put_in(store: PromptStore, catalog: Catalog) -> None:
    style, _ = store.save("style", template="In verse.")
    tone, _ = store.save("tone", template='Be brief. {% include "style" %}')
    bot, _ = store.save("bot", template='{% include "tone" %} Now.')
    assert rendered(bot.template) == "Be brief. In verse. Now."
    assert [(one.ref, one.within) for one in partials_of(bot.template)] == [("tone@1", ()), ("style@1", ("tone",))]
    assert (partials_of(bot.template)[0].sha256) == tone.sha256
    edges = catalog.read(lambda connection: ancestors(connection, bot.sha256))
    assert [source for _, _, source in edges] == [tone.sha256, style.sha256]


def test_a_partial_that_was_saved_before_there_were_any_is_put_in_whole() -> None:
    get = known(style="In verse.", tone='Be brief. {% include "style" %}')
    assert rendered(put_in(get, "bot", '{% include "tone" %}')) == "Be brief. In verse."


def test_a_circle_is_refused_by_its_way(store: PromptStore) -> None:
    store.save("tone", template="Be brief.")
    store.save("bot", template='{% include "tone" %}')
    with pytest.raises(InputRefusedError, match="tone → bot → tone"):
        store.save("tone", template='{% include "bot" %}')
    with pytest.raises(InputRefusedError, match="tone → tone"):
        store.save("tone", template='{% include "tone@1" %}')
    assert len(store.versions("tone")) == 1
    get = known(a='{% include "b" %}', b='{% include "a" %}')
    assert "a → b → a" in code_of(get, '{% include "a" %}')


@pytest.mark.parametrize(
    "said",
    [
        "{% include name %}",
        '{% include ["tone", "style"] %}',
        '{% include "tone" ignore missing %}',
        '{% include "tone" ~ n %}',
        '{% include "tone" without context %}',
        "{% include %}",
    ],
)
def test_an_include_that_is_no_name_is_refused_as_it_was_said(said: str) -> None:
    assert said in code_of(known(tone="x"), f"before {said}")


def test_a_partial_that_is_not_there_is_refused_by_name(store: PromptStore) -> None:
    store.save("tone", template="Be brief.")
    for ref in ("nope", "tone@9", "tone@nope", "chain/tone", "../tone"):
        with pytest.raises(InputRefusedError) as refused:
            store.save("bot", template=f'{{% include "{ref}" %}}')
        assert refused.value.code == "bad_partial"
        assert repr(ref) in refused.value.message
    digest = store.get("tone").sha256
    with pytest.raises(InputRefusedError, match="no name of a prompt"):
        store.save("bot", template=f'{{% include "{digest}" %}}')
    assert [one.name for one in store.summaries()] == ["tone"]


def test_what_a_partial_holds_beside_its_template_is_not_lost(store: PromptStore) -> None:
    store.save("a", template="x", system="You are kind.")
    store.save("b", template="x", settings=read_settings({"model": "m"}, "b"))
    for name, told in (("a", "a system text"), ("b", "settings")):
        with pytest.raises(InputRefusedError, match=told):
            store.save("bot", template=f'{{% include "{name}" %}}')


@pytest.mark.parametrize("text", ["Say {", "{# a note", "{% raw %} x", "{{ 'a", "{% if x"])
def test_a_partial_that_does_not_end_is_refused(text: str) -> None:
    assert "does not end" in code_of(known(tone=text), '{% include "tone" %} and "this" too')


def test_what_is_too_long_with_its_partials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partials, "MOST", 100)
    assert "more than 100 characters" in code_of(known(tone="x" * 60), '{% include "tone" %}')


def test_only_includes_that_jinja_would_read_are_put_in() -> None:
    get = known(tone="Be brief.")
    for text in (
        '{# {% include "tone" %} #}',
        '{% raw %}{% include "tone" %}{% endraw %}',
        """{{ '{% include "tone" %}' }}""",
        "include the tone",
        "an open {{ value, {% include 'tone' %}",
    ):
        assert put_in(get, "bot", text) == text
        assert not has_includes(text)


def test_long_texts_of_signs_are_read_once() -> None:
    """Neither quotes that do not end nor many partials take longer than their length."""
    get = known(tone="Be brief.")
    for odd in ("{{ '" + r"\'" * 100_000, "{#" * 200_000, "{{" * 200_000, "{% raw %}" * 50_000):
        text = f'{odd} {{% include "tone" %}}'
        assert put_in(get, "bot", text) == text
    text = '{% include "tone" %} ' * 300
    whole = put_in(get, "bot", text)
    assert is_put_in(text, whole)
    assert not is_put_in(text, f"{whole}!")


def test_marks_that_do_not_belong_together_are_refused() -> None:
    get = known(tone="Be brief.")
    whole = put_in(get, "bot", '{% include "tone" %}')
    begin, end = whole.split("Be brief.")
    for text in (
        begin,
        end,
        f"{end}{begin}",
        begin + begin + end,
        whole.replace("end partial tone@1", "end partial tone@2"),
    ):
        code_of(get, text)
        assert partials_of(text) == []
    assert put_in(get, "bot", whole + whole) == whole + whole


@pytest.mark.parametrize(
    "text",
    ["{# partial #}", "{# partial of the rules #} x", "{# partial tone@3 #}", "a partial {{ x }}", "{# end partial #}"],
)
def test_comments_that_speak_of_partials_by_chance_stay(store: PromptStore, text: str) -> None:
    made, _ = store.save("old", template=text)
    assert made.template == text
    assert partials_of(text) == []
    assert without_marks(text) == text


def test_an_edited_partial_is_known_and_kept(store: PromptStore) -> None:
    store.save("tone", template="Be brief.")
    bot, _ = store.save("bot", template='A {% include "tone" %} B')
    edited, _ = store.save("bot", template=bot.template.replace("brief", "very brief"))
    (held,) = held_partials(store, edited.template)
    assert (held.partial.edited, held.told) == (True, "tone@1 (edited here)")
    store.save("tone", template="Be long.")
    with pytest.raises(InputRefusedError) as refused:
        take_newer(store, "bot", edited.template)
    assert refused.value.code == "partial_edited"
    assert rendered(take_newer(store, "bot", edited.template, edited=True)) == "A Be long. B"


def test_newer_partials_are_told_and_taken(store: PromptStore) -> None:
    store.save("tone", template="Be brief.")
    store.save("style", template="In verse.")
    bot, _ = store.save("bot", template='{% include "tone" %} {%- include "style" -%} !')
    assert [held.told for held in held_partials(store, bot.template)] == ["tone@1", "style@1"]
    assert take_newer(store, "bot", bot.template) == bot.template
    store.save("tone", template="Be long.")
    assert [held.told for held in held_partials(store, bot.template)] == ["tone@1 (tone@2 is newer)", "style@1"]
    taken = take_newer(store, "bot", bot.template)
    assert rendered(taken) == "Be long.In verse.!"
    made, _ = store.save("bot", template=taken)
    store.move_label("tone@1", "production")
    assert held_partials(store, made.template)[0].told == "tone@2 (tone stands for @1 now)"
    assert take_newer(store, "bot", taken) == bot.template


def test_what_is_newer_within_a_partial_comes_with_that_one(store: PromptStore) -> None:
    store.save("style", template="In verse.")
    store.save("tone", template='Be brief. {% include "style" %}')
    bot, _ = store.save("bot", template='{% include "tone" %}')
    store.save("style", template="In prose.")
    told = [held.told for held in held_partials(store, bot.template)]
    assert told == ["tone@1", "style@1 in tone (style@2 is newer)"]
    assert take_newer(store, "bot", bot.template) == bot.template
    store.save("tone", template=take_newer(store, "tone", store.get("tone").template))
    assert rendered(take_newer(store, "bot", bot.template)) == "Be brief. In prose."


def test_who_uses_a_partial_is_known(store: PromptStore) -> None:
    store.save("tone", template="Be brief.")
    store.save("bot", template='{% include "tone" %}')
    store.save("bot", template="without, now")
    store.save("sorter", template="x", system='{% include "tone" %}')
    store.save("other", template="partial tone@1 by word alone")
    assert [(version.ref, [h.partial.ref for h in held]) for version, held in users(store, "tone")] == [
        ("bot@1", ["tone@1"]),
        ("sorter@1", ["tone@1"]),
    ]


def test_a_version_stays_whole_when_its_partial_goes(store: PromptStore, catalog: Catalog) -> None:
    store.save("tone", template="Be brief.")
    bot, _ = store.save("bot", template='{% include "tone" %}')
    catalog.write(lambda connection: connection.execute("DELETE FROM prompt_versions WHERE prompt = 'tone'"))
    assert [held.told for held in held_partials(store, bot.template)] == ["tone@1 (there is no prompt tone here)"]
    assert take_newer(store, "bot", bot.template) == bot.template
    assert store.save("copy", template=bot.template)[0].sha256 == bot.sha256


BLANKS = st.sampled_from(["", " ", "\n", "  \n  ", "\n\n", "\t"])
SIGNS = st.sampled_from(["", "-"])
PARTS = st.lists(
    st.sampled_from(
        ["word", "{{ x }}", "{{- x -}}", "{% if x %}a{% endif %}", "{%- if x -%} b {%- endif -%}", "{# c #}"]
    ),
    max_size=3,
).map("".join)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(BLANKS, PARTS, SIGNS, BLANKS, PARTS, BLANKS, SIGNS, BLANKS)
def test_it_renders_as_jinja_renders_the_include(
    head: str, before: str, left: str, first: str, part: str, last: str, right: str, tail: str
) -> None:
    """Jinja itself, given a loader, is the oracle: the same environment, whose include renders the partial by itself."""
    text = f'{before}{head}{{%{left} include "tone" {right}%}}{tail}after'
    partial = f"{first}{part}{last}"
    oracle = ENVIRONMENT.overlay()
    oracle.loader = DictLoader({"tone": partial})
    whole = put_in(known(tone=partial), "bot", text)
    assert rendered(whole, x="v") == oracle.from_string(text).render(x="v")
    assert is_put_in(text, whole)
    assert not is_put_in(text, f"{whole} ")
    assert NUNJUCKS.from_string(whole.replace("{{-", "{{").replace("-}}", "}}")).render(x="v") == rendered(
        whole.replace("{{-", "{{").replace("-}}", "}}"), x="v"
    )


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(BLANKS, SIGNS, BLANKS, BLANKS, SIGNS, BLANKS)
def test_without_its_marks_a_text_renders_the_same(
    head: str, left: str, first: str, last: str, right: str, tail: str
) -> None:
    partial = f"{first}{{{{ x }}}}{last}"
    whole = put_in(known(tone=partial), "bot", f'a{head}{{%{left} include "tone" {right}%}}{tail}b')
    plain = without_marks(whole)
    assert "partial" not in plain
    assert rendered(plain, x="v") == rendered(whole, x="v")


def test_exports_hold_the_partials_text(store: PromptStore) -> None:
    store.save("tone", template="Be {{ mood }}.")
    bot, _ = store.save("bot", template='{% include "tone" %} Sort.')
    assert parts_of(bot.template) == [("Be ", False), ("mood", True), (". Sort.", False)]
    file = prompt_files.parse(prompt_files.dump([bot]), "bot.yaml")
    assert file.versions[0].template == bot.template


def test_the_renderer_says_to_save_what_is_not_put_in() -> None:
    environments = {"prompt": ENVIRONMENT}
    for said in ('{% include "tone" %}', '{% extends "tone" %}', '{% import "tone" as t %}'):
        reply = answer(environments, {"op": "render", "kind": "prompt", "source": said, "context": {}})
        assert "'tone' is not put in: save the prompt" in reply["error"]
