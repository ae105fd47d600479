from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts import prompt_files
from llmops_tui.prompts.drafts import Draft, Drafts, Session
from llmops_tui.prompts.store import PromptStore
from llmops_tui.text_diff import diff_words
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.lineage import ancestors


@pytest.fixture
def store(catalog: Catalog) -> PromptStore:
    return PromptStore(catalog)


def test_changed_text_is_a_new_version_and_the_same_text_the_same_one(store: PromptStore) -> None:
    first, new = store.save("p", template="a", system="s", note="n")
    assert (first.number, first.parent, new) == (1, None, True)
    second, _ = store.save("p", template="b", system="s")
    assert (second.number, second.parent) == (2, 1)
    again, new = store.save("p", template="a", system="s")
    assert (again.number, new) == (1, False)
    branch, _ = store.save("p", template="c", parent=1)
    assert (branch.number, branch.parent) == (3, 1)


def test_a_prompt_without_text_makes_no_version(store: PromptStore) -> None:
    with pytest.raises(InputRefusedError, match="p has no text"):
        store.save("p", template=" \n", system="")
    assert store.summaries() == []
    assert store.save("p", template="", system="s")[1]


def test_versions_carry_their_lineage(store: PromptStore, catalog: Catalog) -> None:
    first, _ = store.save("p", template="a")
    store.save("p", template="b")
    third, _ = store.save("p", template="c")
    edges = catalog.read(lambda connection: ancestors(connection, third.sha256))
    assert edges[-1][2] == first.sha256


def test_a_version_is_named_in_many_ways(store: PromptStore) -> None:
    first, _ = store.save("p", template="a")
    second, _ = store.save("p", template="b")
    store.move_label("p@1", "production")
    assert store.get("p").number == 1
    assert store.get("p@latest").number == 2
    assert store.get("p@2") == store.get("p@v2") == store.get(second.id) == store.get(second.sha256[:12])
    assert store.get("p@production").sha256 == first.sha256
    for wrong in ("p@9", "q", "p@nope", "p@"):
        if wrong != "p@":
            with pytest.raises(NotFoundError):
                store.get(wrong)


def test_labels_move(store: PromptStore) -> None:
    store.save("p", template="a")
    store.save("p", template="b")
    store.move_label("p@1", "production")
    store.move_label("p@2", "production")
    assert store.get("p@production").number == 2
    assert store.get("p@1").labels == ()
    for bad in ("latest", "1", "a b", ""):
        with pytest.raises(InputRefusedError):
            store.move_label("p@1", bad)


def test_search_finds_names_notes_and_text_whatever_the_case(store: PromptStore) -> None:
    store.save("greeting", template="Hello World", note="polite")
    store.save("other", template="%_", system="Kettle")
    assert [v.prompt for v in store.search("hello")] == ["greeting"]
    assert [v.prompt for v in store.search("POLITE")] == ["greeting"]
    assert [v.prompt for v in store.search("%_")] == ["other"]
    assert [v.prompt for v in store.search("kettle")] == ["other"]


def test_any_text_is_kept_byte_for_byte(store: PromptStore) -> None:
    for number, text in enumerate(
        ["", "\n\n", "a\tb ", "日本語 👩‍💻", "\x1b[31m\x00\x9b", "'; DROP TABLE prompts; --", "x" * 200_000]
    ):
        saved, _ = store.save("raw", template=text, system=f"{number}")
        assert store.get(saved.ref).template == text


@pytest.mark.parametrize("name", ["", "a b", "../x", "@", "a@b", "-x", "x" * 101, "\x1b[0m"])
def test_unfit_names_are_refused(store: PromptStore, name: str) -> None:
    with pytest.raises(InputRefusedError):
        store.save(name, template="x")


def test_prompts_travel_as_yaml(store: PromptStore, tmp_path) -> None:
    from llmops_tui.workspace.layout import Workspace
    from llmops_tui.workspace.marker import make_workspace

    store.save("p", template="a: {{ b }}\n", system="é\n\n x", note="first")
    store.save("p", template="b", parent=1)
    store.save("p", template="c", parent=1)
    store.move_label("p@2", "production")
    text = prompt_files.dump(store.versions("p"))
    other = PromptStore(Catalog(make_workspace(Workspace(tmp_path / "other"))))
    loaded = prompt_files.load(other, prompt_files.parse(text, "file"))
    saved, created = loaded.versions, loaded.created
    assert created == 3
    assert [(v.system, v.template, v.parent, v.note) for v in other.versions("p")] == [
        (v.system, v.template, v.parent, v.note) for v in store.versions("p")
    ]
    assert other.get("p").number == 2
    created = prompt_files.load(other, prompt_files.parse(text, "file")).created
    assert created == 0
    assert len(saved) == 3


@pytest.mark.parametrize("label", ["v3", "V12", "3", "latest", "draft"])
def test_a_label_never_reads_as_a_version(store: PromptStore, label: str) -> None:
    store.save("p", template="a")
    with pytest.raises(InputRefusedError):
        store.move_label("p@1", label)
    assert store.move_label("p@1", "v3-live").labels == ("v3-live",)


def test_a_number_is_a_number_even_where_an_earlier_version_made_a_label_of_it(store: PromptStore) -> None:
    for text in "abc":
        store.save("p", template=text)
    store._point("p", "v1", 3)
    assert store.get("p@v1").number == 1
    assert store.get("p@1").number == 1


def test_an_import_leaves_labels_where_they_are_and_says_so(store: PromptStore) -> None:
    store.save("p", template="a")
    store.save("p", template="b")
    store.move_label("p@1", "production")
    store.move_label("p@1", "old")
    file = prompt_files.parse(prompt_files.dump(store.versions("p")), "file")
    store.move_label("p@2", "production")
    store.remove_label("p", "old")
    loaded = prompt_files.load(store, file)
    assert loaded.created == 0
    told = {c.label: (c.before, c.number, c.moved) for c in loaded.labels}
    assert told == {"production": (2, 1, False), "old": (None, 1, True)}
    assert "production" in store.get("p@2").labels
    (change,) = prompt_files.load(store, file, move_labels=True).labels
    assert (change.label, change.before, change.number, change.moved) == ("production", 2, 1, True)
    assert set(store.get("p@1").labels) == {"production", "old"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("[", "not YAML"), ("prompt: p", "versions"), ("prompt: p\nversions: [{templte: x}]", "versions.0"),
     ("!!python/object/apply:os.system [id]", "not YAML")],
)  # fmt: skip
def test_bad_prompt_files_are_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(InputRefusedError, match=words):
        prompt_files.parse(text, "file")


@given(st.text("ab \n.", max_size=60), st.text("ab \n.", max_size=60))
@settings(max_examples=200)
def test_a_diff_holds_both_texts(before: str, after: str) -> None:
    parts = diff_words(before, after)
    assert "".join(p.text for p in parts if p.change != "added") == before
    assert "".join(p.text for p in parts if p.change != "removed") == after


def test_a_long_diff_is_made_in_lines_and_in_time() -> None:
    before = "\n".join(f"line {n} with some words" for n in range(3000))
    parts = diff_words(before, before.replace("line 7 ", "line seven "))
    assert [p.change for p in parts] == ["same", "removed", "added", "same"]


def test_drafts_and_session_are_kept(event_log: EventLog) -> None:
    drafts = Drafts(event_log)
    assert drafts.load("p") is None
    draft = Draft(system="s", template="t", variables={"a": "1"}, base=3)
    drafts.save("p", draft)
    assert drafts.load("p") == draft
    assert drafts.names() == {"p"}
    session = Session(prompt="p", model="m", parameters=SamplingParameters(temperature=0.5, stop=("x",)))
    drafts.save_session(session)
    assert drafts.load_session() == session
    event_log.save_draft("session", {"parameters": {"temperature": 99}})
    assert drafts.load_session() == Session()
