"""Held-out rows: from all of the data, of every kind, by the seed, and without twins in training."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.identity import row_key
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.records import dump_json
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.jobs.worker import JobContext
from llmops_tui.training import held_out
from llmops_tui.training.examples import Examples, Report, build, some_held_out
from llmops_tui.training.held_out import HeldOut, Looked, choose, measured_on
from llmops_tui.training.preflight_data import held_out_findings
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.training.worker.job import _keep_held_out
from llmops_tui.workspace.layout import Workspace


def row(index: int, number: int, text: str, label: str = "") -> Looked:
    key = row_key("text", {"text": text}, "text")
    return Looked((index, number), key, label or text, text)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=200),
    st.floats(0.01, 0.6),
    st.integers(1, 50),
    st.integers(0, 5),
)
def test_no_held_out_row_has_a_twin_in_training(numbers: list[int], share: float, most: int, seed: int) -> None:
    rows = [row(n % 2, at, f"Text   {n}" if at % 3 else f"text {n}") for at, n in enumerate(numbers)]
    found = choose(rows, share, most, seed)
    held = set(found.rows)
    inside = {one.key for one in rows if one.place in held}
    outside = {one.key for one in rows if one.place not in held}
    assert not inside & outside
    assert len(held) == len(found.rows) <= most
    assert choose(rows[::-1], share, most, seed).rows == found.rows


def test_classes_of_a_sorted_file_all_have_held_out_rows_and_datasets_their_share() -> None:
    rows = [row(0, n, f"mail {n}", f"class {n // 250}") for n in range(1000)]
    rows += [row(1, n, f"letter {n}") for n in range(500)]
    found = choose(rows, 0.05, 500, 1)
    assert abs(len(found.rows) - 75) <= 1
    classes = Counter(number // 250 for index, number in found.rows if index == 0)
    assert sorted(classes) == [0, 1, 2, 3]
    assert max(classes.values()) - min(classes.values()) <= 1
    assert sum(index == 1 for index, _ in found.rows) == 75 - sum(classes.values())
    assert not found.missing
    assert found.classes == 5
    # A limit takes from all of the data too.
    few = choose(rows, 0.05, 15, 1)
    assert {(index, number // 250 if index == 0 else 0) for index, number in few.rows} == {
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 0),
    }  # fmt: skip
    assert set(choose(rows, 0.05, 500, 2).rows) != set(found.rows)


def test_what_is_too_few_is_told() -> None:
    rows = [row(0, n, f"mail {n}", "rare" if n < 4 else "often") for n in range(100)]
    assert choose(rows, 0.02, 500, 1).missing == ["rare"]
    # Five texts, twenty times each: none is small enough to be held out.
    repeated = [row(0, n, f"text {n % 5}") for n in range(100)]
    assert choose(repeated, 0.05, 500, 1).rows == []
    words = " one two three four five six seven eight nine ten eleven twelve"
    near = [row(0, n, f"{n // 2}{words * 3} {'x' if n % 2 else 'y'}") for n in range(40)]
    assert choose(near, 0.2, 500, 1).near
    # What is near to an evaluation dataset's own rows that were not drawn is not trained on.
    alone = measured_on(near, near, 20, 1)
    assert (alone.twins, alone.near) == (20, 0)


def test_a_text_that_is_too_often_there_does_not_have_the_others_held_out_for_it() -> None:
    for seed in range(4):
        rows = [row(0, n, "again" if n < 5000 else f"text {n}") for n in range(5100)]
        assert abs(len(choose(rows, 0.05, 500, seed).rows) - 5) <= 1


def test_held_out_rows_of_all_datasets_are_asked_before_any_that_were_trained_on(sample: Workspace) -> None:
    store = RunStore(sample)
    for name, count in (("few", 12), ("many", 200)):
        file = store.workspace.root / f"{name}.jsonl"
        rows = [{"prompt": f"{name} {n}:", "completion": f" {n}"} for n in range(count)]
        file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
        import_now(store.datasets, [file], name, "prompt-completion")
    wanted = check(
        {"name": "r", "base": "support-base-hf", "data": ["few", "many"], "batch": {"max_length": 64},
         "evaluation": {"share": 0.05}}
    )  # fmt: skip
    with ModelText(store.registry.get("support-base-hf")) as text:
        held = {dump_json(example) for example in build(wanted, store.datasets, text).held_out}
        asked = [dump_json(example) for example in some_held_out(wanted, store.datasets, text, 20)]
    assert len(asked) == 20
    assert set(asked[: len(held)]) == held


def test_long_texts_are_not_compared_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(0, n, f"text {n} of some length") for n in range(40)]
    assert choose(rows, 0.2, 500, 1).near is not None
    monkeypatch.setattr(held_out, "_MOST_CHARACTERS", 100)
    assert choose(rows, 0.2, 500, 1).near is None


def test_an_evaluation_dataset_that_gives_nothing_is_named() -> None:
    wanted = check({"name": "r", "base": "b", "data": ["d"], "evaluation": {"dataset": "other@1"}})
    nothing = Examples([], [], [], Report(drawn=HeldOut([(0, 0), (0, 1)])))
    (found,) = held_out_findings(wanted, nothing)
    assert (found.level, found.code) == ("warn", "no_evaluation")
    assert "2 rows" in found.message
    assert "other@1" in found.message


def test_an_evaluation_dataset_of_its_own_is_drawn_from_its_whole_and_its_twins_are_counted() -> None:
    own = [row(0, n, f"question {n}", f"class {n // 100}") for n in range(400)]
    trained = [row(0, n, f"QUESTION {n}") for n in range(0, 400, 2)]
    found = measured_on(own, trained, 40, 1)
    assert len(found.rows) == 40
    assert Counter(number // 100 for _, number in found.rows) == {0: 10, 1: 10, 2: 10, 3: 10}
    assert found.twins == sum(number % 2 == 0 for _, number in found.rows)


def test_a_recipe_holds_out_what_it_drew_and_an_export_asks_the_same(sample: Workspace) -> None:
    store = RunStore(sample)
    # Sorted by class, and each text in several spellings.
    rows = [
        {"prompt": f"{'Kind' if n % 2 else 'kind'}  {n // 50} number {n // 2}:", "completion": f" {n // 50}"}
        for n in range(200)
    ]
    file = store.workspace.root / "sorted.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    import_now(store.datasets, [file], "sorted", "prompt-completion")
    wanted = check(
        {"name": "r", "base": "support-base-hf", "data": ["sorted"], "batch": {"max_length": 64},
         "evaluation": {"share": 0.1, "samples": 2}}
    )  # fmt: skip
    with ModelText(store.registry.get("support-base-hf")) as text:
        made = build(wanted, store.datasets, text)
        asked = some_held_out(wanted, store.datasets, text, 8)
        few = some_held_out(wanted, store.datasets, text, 30)
    drawn = made.report.drawn
    assert drawn is not None
    assert len(made.held_out) == len(drawn.rows) == 20
    assert len(made.train) == 180
    assert {number // 50 for _, number in drawn.rows} == {0, 1, 2, 3}
    texts = [text_of.lower().split() for text_of in (rows[number]["prompt"] for _, number in drawn.rows)]
    trained = [rows[n]["prompt"].lower().split() for n in range(200) if (0, n) not in set(drawn.rows)]
    assert not [one for one in texts if one in trained]
    assert len(made.generated) == 2
    held = {dump_json(example) for example in made.held_out}
    assert {dump_json(example) for example in asked} <= held
    assert len(asked) == 8
    assert {dump_json(example) for example in few} > held
    assert {finding.code for finding in held_out_findings(wanted, made)} <= {"near_twins"}


def test_rows_that_nothing_can_be_measured_on_are_kept_apart(tmp_path: Path) -> None:
    drawn = HeldOut([(0, 4), (1, 2), (0, 1)])
    report = Report(drawn=drawn, unmeasured={(0, 4)})
    examples = Examples([], [{"input_ids": [1]}] * 2, [], report)
    wanted = check({"name": "r", "base": "b", "data": ["one", "two"]})
    _keep_held_out(cast("JobContext", SimpleNamespace(folder=tmp_path)), wanted, examples)
    kept = json.loads((tmp_path / "held-out.json").read_text(encoding="utf-8"))
    assert (kept["rows"], kept["unmeasured"]) == ({"one": [1], "two": [2]}, {"one": [4]})
    # As many as the preflight says.
    assert sum(map(len, kept["rows"].values())) == len(examples.held_out)
    assert "1 of 3 held-out rows cannot be measured on" in [f.message for f in held_out_findings(wanted, examples)][1]
