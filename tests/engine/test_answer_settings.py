"""What a version of a prompt holds beside its texts: kept, hashed, read, drawn from datasets, and followed when it is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.datasets.prompt_examples import draw_examples, settings_of_text
from llmops_tui.datasets.records import Column, Row
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.answer_settings import (
    PARTS,
    AnswerSettings,
    VariableUnfitError,
    fields_with,
    kept_settings,
    read_settings,
    refuse_settings,
    values_filled,
    values_of,
)
from llmops_tui.inference.asked_prompt import fields_of, model_of, rendered, rendered_each, sampling_of
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts import prompt_files
from llmops_tui.prompts.blame import blame
from llmops_tui.prompts.file_form import ENDING, file_text, parse_file
from llmops_tui.prompts.folder import PromptFolder
from llmops_tui.prompts.named_variables import named_in
from llmops_tui.prompts.store import PromptStore, content_hash
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from tests.engine.plain_renderer import PlainRenderer

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
TURNS = [{"question": "Where is it?", "answer": '{"label": "order"}'}]
TEXT = "{{ count }} of {{ message }}"
LOOP = {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}
WHOLE: dict[str, Any] = {
    "model": "m",
    "parameters": {"temperature": 0.2, "max_tokens": 9},
    "variables": {"count": {"type": "integer", "default": 3}},
    "schema": SCHEMA,
    "tools": [{"name": "look_up", "description": "Finds it"}],
    "examples": {"turns": TURNS, "variable": "message"},
}


def settings(**parts: Any) -> AnswerSettings:
    found = read_settings(parts or WHOLE, "here")
    assert found is not None
    return found


@pytest.fixture
def store(catalog: Catalog) -> PromptStore:
    return PromptStore(catalog)


def test_settings_are_kept_with_their_version_and_are_a_part_of_its_hash(store: PromptStore) -> None:
    plain, _ = store.save("p", template=TEXT)
    assert plain.settings is None
    assert plain.sha256 == content_hash("", TEXT) == content_hash("", TEXT, "")
    assert "settings" not in plain.as_dict()
    held, new = store.save("p", template=TEXT, settings=settings())
    assert (held.number, held.parent, new) == (2, 1, True)
    assert held.sha256 == content_hash("", TEXT, settings().as_text()) != plain.sha256
    found = store.get("p@2")
    assert found.settings == settings()
    assert found.as_dict()["settings"] == WHOLE
    assert store.save("p", template=TEXT, settings=settings())[1] is False
    assert [v.number for v in store.search("look_up")] == [2]


def test_whoever_changes_the_text_alone_keeps_the_settings_of_its_parent(store: PromptStore) -> None:
    store.save("p", template="a", settings=settings(model="m"))
    assert store.save("p", template="b")[0].settings == settings(model="m")
    assert store.save("p", template="c", settings=None)[0].settings is None
    assert store.save("p", template="d")[0].settings is None
    assert store.save("p", template="e", parent=1)[0].settings == settings(model="m")


def test_a_part_that_says_nothing_is_no_part() -> None:
    assert read_settings({}, "here") is None
    assert read_settings({"model": "", "variables": {}, "tools": [], "parameters": {}}, "here") is None
    assert settings(tools=[{"name": "a", "description": ""}]).as_record() == {"tools": [{"name": "a"}]}
    assert settings().parts == PARTS


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"modle": "m"}, "modle: Extra inputs"),
        ({"parameters": {"temperature": 9}}, "parameters.temperature: Input should be less than or equal to 5"),
        ({"parameters": {"heat": 1}}, "parameters.heat: Extra"),
        ({"variables": {"a b": {}}}, "'a b' is no name of a variable"),
        ({"variables": {"n": {"type": "integer", "default": "x"}}}, "the default 'x' is not a whole number"),
        ({"variables": {"n": {"type": "integer", "default": True}}}, "is not a whole number"),
        ({"schema": {"type": "objekt"}}, "schema is no JSON Schema"),
        ({"schema": {"$ref": "#/$defs/a", "$defs": LOOP}}, "requires itself, so no finite value satisfies it"),
        ({"schema": {"$ref": "#/$defs/b"}}, "which is not in it"),
        ({"tools": [{"name": "a"}, {"name": "a"}]}, "a is there twice"),
        ({"tools": [{"name": "a", "results": []}]}, "tools.0.results: Extra"),
        ({"tools": [{"name": "a", "parameters": {"type": 3}}]}, "the parameters of the tool a"),
        ({"examples": {"turns": []}}, "examples.turns"),
        ({"examples": {"turns": TURNS, "rows": [1, 2]}}, "2 rows, and 1 turn"),
        ({"examples": {"turns": TURNS, "dataset": "faq@1"}}, "belong together"),
        ({"examples": {"turns": [{"question": "x" * 300_000, "answer": "y"}]}}, "more than 256,000"),
        ([1], "here"),
    ],
)
def test_what_cannot_be_held_is_refused_with_its_place(wrong: Any, told: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        read_settings(wrong, "here")
    assert refused.value.code == "bad_settings"
    assert told in refused.value.message


def test_what_a_later_release_wrote_is_refused_and_not_left_out() -> None:
    with pytest.raises(InputRefusedError, match="the settings of p@3 cannot be read") as refused:
        kept_settings('{"model": "m", "voice": "low"}', "p@3")
    assert "later release" in refused.value.hint


def test_values_in_fields_are_read_as_what_they_were() -> None:
    rules = {"on": {"type": "boolean"}, "rows": {"type": "json"}, "n": {"type": "number"}, "tone": {"default": "kind"}}
    held = settings(variables=rules)
    values = {"on": True, "rows": ["é"], "n": 1.5, "tone": "dry", "other": False}
    fields = fields_with(held, values)
    assert fields == {"on": "true", "rows": '["é"]', "n": "1.5", "tone": "dry", "other": "False"}
    # Where nothing says of which type it is, it stands as it is rendered.
    assert values_of(held, fields) == {**values, "other": "False"}
    assert fields_with(held, {"tone": None, "on": None}) == {}
    assert fields_with(None, {"on": True}) == {"on": "True"}


def test_a_version_that_cannot_be_read_stands_in_lists_and_says_so(store: PromptStore, catalog: Catalog) -> None:
    store.save("p", template="a", settings=settings(model="m"))
    later = '{"model": "m", "voice": "low"}'
    catalog.write(lambda db: db.execute("UPDATE prompt_versions SET settings = ? WHERE number = 1", [later]))
    store.save("p", template="b", settings=settings(model="n"))
    newest, oldest = store.versions("p")
    assert [(one.holds, one.unreadable) for one in (newest,)] == [("model n", "")]
    record = oldest.as_dict()
    assert (oldest.holds, "settings" in record) == ("unreadable", False)
    assert record["unreadable"].startswith("the settings of p@1 cannot be read")
    # What would carry it elsewhere does not leave it out.
    with pytest.raises(InputRefusedError, match="the settings of p@1 cannot be read"):
        prompt_files.dump(store.versions("p"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Sort {{ text }}", {"text"}),
        ("text {# {{ text }} #} {% raw %}{{ text }}{% endraw %} {{ 'text' }} {{ row.text }}", {"row"}),
        (
            "{%- if a.b %}{{ '}}' ~ text|upper }}{% endif %} {{ {'k': {'l': n}} }}",
            {"if", "a", "endif", "text", "upper", "n"},
        ),
        ("{{ 'open }} {{ text }}", {"text"}),
        ("Größe {{ größe }} {", {"größe"}),
    ],
)
def test_names_are_found_within_the_marks_of_a_template(text: str, names: set[str]) -> None:
    assert named_in(text) == names


def test_settings_that_speak_of_a_variable_which_no_text_has_are_not_saved(catalog: Catalog) -> None:
    store, turns = PromptStore(catalog), [{"question": "Where?", "answer": "Here."}]
    for record, told in (
        ({"examples": {"turns": turns, "variable": "txt"}}, "the variable txt, which its user template does not have"),
        # Each question would be asked in the same words: those of the system's text are not asked again.
        ({"examples": {"turns": turns, "variable": "shop"}}, "the variable shop, which its user template"),
        (
            {"variables": {"topik": {"default": "a"}, "shop": {"default": "b"}}},
            "speak of topik, which no text of it has",
        ),
    ):
        with pytest.raises(InputRefusedError, match=told) as refused:
            store.save("p", system="For {{ shop }}", template="Sort {{ text }}", settings=read_settings(record, "here"))
        assert refused.value.code == "bad_settings"
    held = read_settings({"variables": {"shop": {}}, "examples": {"turns": turns, "variable": "text"}}, "here")
    assert store.save("p", system="For {{ shop }}", template="Sort {{ text }}", settings=held)[1]
    # Also where the text alone is changed.
    with pytest.raises(InputRefusedError, match="speak of shop"):
        store.save("p", template="Sort {{ text }}")
    assert store.save("p", template="Sort {{ text }}", settings=None)[1]
    assert len(store.versions("p")) == 2


def test_a_file_that_speaks_of_a_variable_which_no_text_has_is_refused_and_the_others_go_on(
    tmp_path: Path, catalog: Catalog, event_log: EventLog
) -> None:
    (tmp_path / f"a{ENDING}").write_text(file_text("", "Sort", '{"variables":{"topik":{}}}'))
    (tmp_path / f"b{ENDING}").write_text(file_text("", "Sort {{ topik }}", '{"variables":{"topik":{}}}'))
    refused, read = PromptFolder(tmp_path, PromptStore(catalog), event_log).sync()
    assert (refused.what, "speak of topik" in refused.detail, read.what) == ("refused", True, "read")


def test_variables_have_types_and_defaults() -> None:
    rules = {
        "count": {"type": "integer", "default": 3},
        "share": {"type": "number"},
        "on": {"type": "boolean"},
        "rows": {"type": "json"},
        "tone": {"default": "kind"},
    }
    held = settings(variables=rules)
    given = {"share": "0.5", "on": "true", "rows": "[1, 2]", "other": "x"}
    assert values_of(held, given) == {
        "count": 3, "share": 0.5, "on": True, "rows": [1, 2], "tone": "kind", "other": "x",
    }  # fmt: skip
    # A text that is given is that text; only in a field of a screen, an empty one says nothing.
    assert values_of(held, {"count": "7", "tone": "", "share": ""}) == {"count": 7, "tone": ""}
    assert values_of(held, {"count": "", "tone": None}) == {"count": 3, "tone": "kind"}
    assert values_filled(held, {"count": "", "tone": "", "share": "", "other": ""}) == {"share": "", "other": ""}
    assert values_filled(held, {"tone": "dry"}) == {"tone": "dry"}
    assert values_of(held, {"tone": 3, "other": True}) == {"count": 3, "tone": "3", "other": True}
    assert values_of(held, {"tone": True})["tone"] == "true"
    for name, value in (
        ("tone", {"a": 1}),
        ("tone", ["a"]),
        ("count", "many"),
        ("count", "1.5"),
        ("on", "1"),
        ("rows", "3"),
        ("share", "true"),
    ):
        with pytest.raises(VariableUnfitError, match=f"the variable {name} is to be") as refused:
            values_of(held, {name: value})
        assert (refused.value.code, refused.value.variable) == ("variable_unfit", name)


def test_examples_are_turns_before_the_users_and_may_be_asked_in_the_words_of_the_template() -> None:
    prompt = SimpleNamespace(system="Be {{ tone }}", template="Sort: {{ message }}", settings=settings())
    made = rendered(prompt, {"message": "Hello", "tone": "kind"}, PlainRenderer())  # type: ignore[arg-type]
    assert [(one["role"], one["content"]) for one in made.messages] == [
        ("system", "Be kind"),
        ("user", "Sort: Where is it?"),
        ("assistant", '{"label": "order"}'),
        ("user", "Sort: Hello"),
    ]
    assert made.values == {"message": "Hello", "tone": "kind", "count": 3}
    assert rendered_each(prompt, [{"message": "Hello", "tone": "kind"}] * 2, PlainRenderer()) == [made, made]  # type: ignore[arg-type]
    prompt.settings = settings(examples={"turns": TURNS})
    assert (
        rendered(prompt, {"message": "Hello", "tone": "kind"}, PlainRenderer()).examples[0]["content"] == "Where is it?"
    )  # type: ignore[arg-type]
    assert rendered_each(prompt, [], PlainRenderer()) == []  # type: ignore[arg-type]


def test_what_a_request_says_counts_before_what_the_version_holds() -> None:
    held = settings()
    sampled = sampling_of(held, SamplingParameters(temperature=0.7))
    assert (sampled.temperature, sampled.max_tokens, sampled.seed) == (0.7, 9, 1)
    assert sampling_of(None, SamplingParameters(seed=4)).seed == 4
    assert model_of(held, None, "p@1") == "m"
    assert model_of(held, "other", "p@1") == "other"
    with pytest.raises(InputRefusedError, match="no model is named, and p@1 holds none"):
        model_of(None, "", "p@1")
    fields = fields_of(held)
    assert fields["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert fields["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "look_up", "description": "Finds it", "parameters": {"type": "object", "properties": {}},
            },
        }
    ]  # fmt: skip


def test_who_cannot_follow_a_part_refuses_it_by_name(store: PromptStore) -> None:
    version, _ = store.save("p", template=TEXT, settings=settings())
    with pytest.raises(InputRefusedError) as refused:
        refuse_settings(version, "a sundial", honoured=("variables", "examples", "model"))
    assert refused.value.message == "p@1 holds parameters, schema and tools, which a sundial cannot follow"
    assert "llmops prompt save p --no-settings" in refused.value.hint
    refuse_settings(version, "all of it", honoured=PARTS)
    refuse_settings(store.save("q", template="a")[0], "a sundial")


def test_files_carry_them(store: PromptStore) -> None:
    version, _ = store.save("p", system="s", template=f"a\n{TEXT}", settings=settings())
    text = file_text(version.system, version.template, version.settings_text)
    assert parse_file(text.encode()) == ("s", f"a\n{TEXT}", version.settings_text)
    assert content_hash(*parse_file(text.encode())) == version.sha256
    whole = prompt_files.parse(prompt_files.dump(store.versions("p")), "here")
    assert prompt_files.load(store, whole).created == 0
    with pytest.raises(InputRefusedError, match="settings: model"):
        parse_file(b"template: a\nsettings: {model: 3}")


def test_blame_tells_who_brought_a_line_of_them(store: PromptStore) -> None:
    store.save("p", template="a", settings=settings(model="m"))
    store.save("p", template="a", settings=settings(model="m", parameters={"seed": 4}))
    lines = blame(store.versions("p"), 2)
    assert [(one.section, one.text, one.version.number) for one in lines] == [
        ("user", "a", 1),
        ("settings", "model: m", 1),
        ("settings", "parameters:", 2),
        ("settings", "  seed: 4", 2),
    ]


class Version:
    """A version of a dataset with these rows."""

    def __init__(self, kind: str, rows: list[Row]) -> None:
        self.kind, self._rows, self.rows = kind, rows, len(rows)
        self.ref, self.sha256 = "faq@3", "f" * 64
        self.columns = tuple(Column(name, "text") for name in dict.fromkeys(name for row in rows for name in row))

    def rows_at(self, numbers: list[int]) -> list[Row]:
        return [self._rows[n] for n in numbers]


def test_examples_are_drawn_from_a_version_of_a_dataset_and_keep_where_they_are_from() -> None:
    rows: list[Row] = [{"q": f"question {n}", "a": f"answer {n}", "n": n} for n in range(20)]
    version: Any = Version("tabular", rows)
    drawn = draw_examples(version, count=4, question="q", answer="a")
    assert (drawn.dataset, drawn.sha256, drawn.seed) == ("faq@3", "f" * 64, 0)
    assert [one.question for one in drawn.turns] == [f"question {n}" for n in drawn.rows]
    assert draw_examples(version, count=4, question="q", answer="a") == drawn
    assert draw_examples(version, count=4, seed=1, question="q", answer="a").rows != drawn.rows
    named = draw_examples(version, count=4, rows=(7, 2), question="q", answer="n")
    assert ([one.answer for one in named.turns], named.seed) == (["7", "2"], None)


def test_turns_that_were_edited_are_no_rows_of_the_dataset_any_more() -> None:
    rows: list[Row] = [{"q": f"question {n}", "a": f"answer {n}"} for n in range(9)]
    version: Any = Version("tabular", rows)
    drawn = draw_examples(version, count=2, question="q", answer="a", variable="message").model_dump(mode="json")
    kept = parse_file(file_text("", "{{ message }}", settings(examples=drawn).as_text()).encode())[2]
    assert settings(examples=drawn).as_text() == kept
    edited = [*drawn["turns"][:1], {"question": "question 1", "answer": "another"}]
    for turns in (edited, drawn["turns"][:1], drawn["turns"][::-1]):
        found = settings(examples={**drawn, "turns": turns}).as_record()["examples"]
        assert found == {"variable": "message", "turns": turns}


@pytest.mark.parametrize(
    ("kind", "rows", "asked", "told"),
    [
        ("tabular", [{"q": "a"}], {"count": 1}, "faq@3 does not tell its questions"),
        ("tabular", [{"q": "a"}], {"count": 1, "question": "q", "answer": "x"}, "faq@3 has no column 'x'"),
        ("tabular", [{"q": "a"}], {"count": 2, "question": "q", "answer": "q"}, "faq@3 has 1 row, fewer than 2"),
        ("tabular", [{"q": " "}], {"count": 1, "question": "q", "answer": "q"}, "row 0 of faq@3 has nothing in q"),
        ("tabular", [{"q": "a"}], {"count": 1, "rows": (4,), "question": "q", "answer": "q"}, "faq@3 has no row 4"),
        ("messages", [{"messages": [{"role": "user", "content": "a"}]}], {"count": 1}, "row 0 of faq@3 has 1 turn"),
    ],
)
def test_a_row_that_is_no_example_is_told_by_its_number(
    kind: str, rows: list[Row], asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputRefusedError) as refused:
        draw_examples(Version(kind, rows), **asked)  # type: ignore[arg-type]
    assert refused.value.message.startswith(told)


def test_conversations_are_questions_and_answers() -> None:
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    drawn = draw_examples(Version("messages", [{"messages": turns}]), count=1)  # type: ignore[arg-type]
    assert [(one.question, one.answer) for one in drawn.turns] == [("a", "b")]


def test_settings_that_people_write_draw_their_examples() -> None:
    rows: list[Row] = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(3)]
    datasets: Any = SimpleNamespace(get=lambda _ref: Version("prompt-completion", rows))
    found = settings_of_text("examples: {dataset: faq@3, rows: [2]}", "here", datasets)
    assert found is not None
    assert found.examples is not None
    assert (found.examples.rows, found.examples.turns[0].question) == ((2,), "q2")
    again = settings_of_text(found.as_yaml(), "here", datasets)
    assert again == found
    assert settings_of_text("# model: m\n", "here", datasets) is None
    for wrong, told in (("examples: {dataset: a, size: 3}", "examples.size"), ("model: [", "here is no YAML")):
        with pytest.raises(InputRefusedError, match=told):
            settings_of_text(wrong, "here", datasets)


def test_versions_without_settings_have_the_hash_that_they_always_had() -> None:
    assert content_hash("s", "t") == "2f14d956f4ce77acd5cc21a1e6afc30af45376e30486b509b884388a603670fc"
