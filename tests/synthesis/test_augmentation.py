"""Rows said otherwise: by a model or by noise; what comes along, and what is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.noise import NOISES, Noise
from llmops_tui.datasets.operations.augmentation import said_otherwise
from llmops_tui.datasets.operations.base import apply, remake
from llmops_tui.datasets.origins import COLUMN
from llmops_tui.datasets.rewording import rewording_of
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.synthesis.attempts import Attempt
from llmops_tui.synthesis.budget import refuse_untranslated
from llmops_tui.synthesis.job import run_synthesis, start_arguments
from llmops_tui.synthesis.plan import check_plan
from llmops_tui.synthesis.prepared import prepare
from llmops_tui.synthesis.prompts import Conversations
from llmops_tui.workspace.catalog import Catalog
from tests.synthesis.conftest import Answer, Context, Fill, says
from tests.synthesis.test_synthesis import rows_of

QUESTION = "Where is the card that I ordered 12 days ago from your bank?"
ROWS = [
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": QUESTION}, {"role": "assistant", "content": "It comes."}], "source": "mail"},
]  # fmt: skip
GERMAN = "Wo ist die Karte, die ich vor 12 Tagen bei Ihrer Bank bestellt habe?"
FRENCH = "Où est la carte que j'ai commandée il y a 12 jours à votre banque ?"


@pytest.mark.parametrize(
    ("answer", "between", "stage"),
    [
        ("The card I asked your bank for 12 days ago, where is it?", FRENCH, ""),
        ("The card I asked your bank for some days ago, where is it?", FRENCH, "numbers"),
        ("The card I asked your bank for 12 days ago, where is it?", QUESTION, "language"),
        (GERMAN, FRENCH, "language"),
        ("It is 12.", FRENCH, "language"),
        (FRENCH, FRENCH, "language"),
        (QUESTION, FRENCH, "copy"),
    ],
)
def test_a_translation_there_and_back_is_looked_at(
    answer: str, between: str, stage: str, fill: Fill, catalog: Catalog
) -> None:
    fill(ROWS, form="messages")
    prepared = prepare(catalog, check_plan({"model": "small", "seeds": "seeds", "way": "back-translation", "rows": 1}))
    assert (prepared.language, prepared.calls_a_row) == ("en", 2)
    attempt = Attempt(0, json.dumps({"text": answer}), between, finish="stop")
    found = prepared.sieve.sort(prepared.tasks, {0: attempt})
    assert [one.stage for one in found.fallen] == ([stage] if stage else [])
    for one in found.kept:
        # The last thing that the user says, and nothing else.
        old = ROWS[0]["messages"]
        assert one.row["messages"] == [*old[:2], {"role": "user", "content": answer}, old[3]]
        assert one.row["source"] == "mail"


def test_a_model_that_does_not_translate_is_refused(fill: Fill, catalog: Catalog) -> None:
    fill(ROWS, form="messages")
    prepared = prepare(catalog, check_plan({"model": "small", "seeds": "seeds", "way": "back-translation", "rows": 1}))
    back = json.dumps({"text": "The card I asked your bank for 12 days ago, where is it?"})
    good, kept, other = Attempt(0, back, FRENCH), Attempt(1, back, QUESTION), Attempt(2, '{"text": "maladez"}', FRENCH)
    task = prepared.tasks[0]
    refuse_untranslated(prepared, [task] * 2, [good, kept])
    with pytest.raises(InputRefusedError, match="translated 1 of 4 texts into fr and back"):
        refuse_untranslated(prepared, [task] * 4, [good, kept, other, Attempt(3, "", error="no")])


@pytest.mark.parametrize(("language", "told"), [("en", "is in en already"), ("qq", "cannot be recognised")])
def test_a_language_that_is_none_between_is_refused(language: str, told: str, fill: Fill, catalog: Catalog) -> None:
    fill(ROWS, form="messages")
    plan = {"model": "small", "seeds": "seeds", "way": "back-translation", "rows": 1, "language": language}
    with pytest.raises(InputRefusedError, match=told):
        prepare(catalog, check_plan(plan))


def test_labels_come_along_and_that_is_told(
    fill: Fill, catalog: Catalog, store: DatasetStore, tmp_path: Path, answering: Callable[[Context, Answer], None]
) -> None:
    fill([{"q": "how do I block it", "intent": "block"}, {"q": "", "intent": "none"}])
    prepared = prepare(catalog, check_plan({"model": "small", "seeds": "seeds", "way": "paraphrase", "rows": 2}))
    assert any("carried along as they are: intent" in told for told in prepared.told)
    assert any("1 row of seeds@1 cannot be seeds" in told for told in prepared.told)
    context = Context(catalog, tmp_path / "job")
    answering(context, lambda task: says(task, "which way is it blocked" if task.number else "blocking it: how"))
    run_synthesis(context, **start_arguments(prepared, "said"))  # type: ignore[arg-type]
    assert [row["intent"] for row in rows_of(store.get("said"))] == ["block", "block"]


def test_of_a_table_the_column_is_named(fill: Fill) -> None:
    version = fill([{"a": "one", "b": "two", "label": "x"}])
    with pytest.raises(InputRefusedError, match="which column") as caught:
        rewording_of(version)
    assert "a, b" in caught.value.told
    assert rewording_of(version, "b").carried == ("a", "label")
    with pytest.raises(InputRefusedError, match="no column of texts 'label2'"):
        rewording_of(version, "label2")


# ── noise ──


@given(st.text(max_size=40), st.sets(st.sampled_from(NOISES), min_size=1), st.integers(1, 4), st.floats(0.01, 1))
def test_noise_gives_other_texts_each_once(text: str, kinds: set[Noise], times: int, rate: float) -> None:
    turns = [(kind, turn) for kind in NOISES if kind in kinds for turn in range(times)]
    found = said_otherwise(text, 3, turns, rate, 1)
    assert text not in found
    assert found == said_otherwise(text, 3, turns, rate, 1)
    assert set(found.values()) <= kinds
    if kinds == {"typos"}:
        assert all(sorted(fresh) == sorted(text) for fresh in found)
    if "upper" in kinds and "typos" not in kinds:
        assert (text.upper() in found) == (text.upper() != text)


def test_rows_in_are_rows_out_and_rows_told(fill: Fill, store: DatasetStore) -> None:
    texts = ["where is my card", "CARD", "", "no", "1 2 3"]
    fill([{"text": text, "n": n} for n, text in enumerate(texts)])
    made = apply(store, "noise", ["seeds"], {"kinds": ["upper", "typos"], "times": 2, "column": "text"}, name="noise")
    rows = rows_of(made)
    # Three turns for each row with a text; what came out as it was, or twice, is told.
    same = int(made.note.split("; ")[1].split()[0])
    assert len(rows) + same == 3 * 4
    assert "1 row without text" in made.note
    assert {row["n"] for row in rows} == {0, 1, 3}
    assert all(row[COLUMN]["parents"][0]["row"] == row["n"] for row in rows)


def test_noise_is_the_same_by_seed_and_can_be_made_again(fill: Fill, store: DatasetStore) -> None:
    fill([{"text": "the quick brown foxes jumped over lazy dogs", "label": "animals"}], form="text")
    wanted: dict[str, Any] = {"kinds": ["typos"], "rate": 0.3, "times": 3, "seed": 7}
    made = apply(store, "noise", ["seeds"], wanted, name="noise")
    assert remake(store, made.ref)[1] == made.sha256
    other = apply(store, "noise", ["seeds"], wanted | {"seed": 8}, name="other")
    assert other.sha256 != made.sha256
    assert all(row["label"] == "animals" and row[COLUMN]["by"] == "rule" for row in rows_of(made))
    with pytest.raises(InputRefusedError, match="is no noise"):
        apply(store, "noise", ["seeds"], {"kinds": ["loud"]})


def test_what_a_model_wrote_cannot_be_made_again(
    fill: Fill, catalog: Catalog, store: DatasetStore, tmp_path: Path, answering: Callable[[Context, Answer], None]
) -> None:
    fill([{"text": "how do I block it"}], form="text")
    context = Context(catalog, tmp_path / "job")
    answering(context, says)
    prepared = prepare(catalog, check_plan({"model": "small", "seeds": "seeds", "rows": 1}))
    run_synthesis(context, **start_arguments(prepared, "new"))  # type: ignore[arg-type]
    with pytest.raises(InputRefusedError, match="may write others"):
        remake(store, "new")


@pytest.mark.parametrize("way", ["paraphrase", "back-translation"])
def test_guidance_is_told_whichever_way_texts_are_said_otherwise(fill: Fill, catalog: Catalog, way: str) -> None:
    seeds = fill([{"text": f"Where is my kettle with the number {n}, please tell me?"} for n in range(3)])
    plan = {"way": way, "model": "small", "seeds": seeds.ref, "rows": 3, "guidance": "They are formal letters."}
    prepared = prepare(catalog, check_plan(plan))
    renderer = TemplateRenderer()
    try:
        talk = Conversations(prepared.plan, prepared.prompt, prepared.shape, renderer).for_text("Where is it?", "fr")
    finally:
        renderer.close()
    assert "They are formal letters." in str(talk[0]["content"])
