"""The three parts: no twins across, stable as rows are added, and what may never be sealed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmops_tui.datasets.origins import COLUMN
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.foreign_text import JsonObject
from llmops_tui.improvement.parts import LEAST, Barred, Parts, split, split_beside
from llmops_tui.improvement.plan import check_plan
from llmops_tui.improvement.prepared import prepare
from llmops_tui.improvement.store import ImprovementStore
from llmops_tui.workspace.catalog import Catalog
from tests.improvement.conftest import Fill
from tests.improvement.scripted_model import rows

Cases = tuple[Case, ...]


@pytest.fixture
def cases_of(catalog: Catalog) -> Callable[..., Cases]:
    store = EvaluationStore(catalog.workspace)

    def made(ref: str) -> Cases:
        body = {"cases": ref, "variables": {"text": "text"}, "expected": "label", "metrics": ["exact"]}
        return build_cases(check_suite(body, "s"), store.datasets).cases

    return made


def _where(parts: Parts) -> dict[str, str]:
    return {key: name for name in ("reflect", "select", "sealed") for key in getattr(parts, name)}


def test_every_row_is_in_one_part_and_twins_are_in_the_same(fill: Fill, cases_of: Callable[..., Cases]) -> None:
    given = rows(150)
    twins = [{**row, "text": row["text"].upper() + " "} for row in given[::3]]
    long = " ".join(f"word{n}" for n in range(30))
    near = [{"text": f"{long} {end}", "label": "RED"} for end in ("one", "two", "three")]
    version = fill([*given, *twins, *near])
    cases = cases_of(version.ref)
    parts = split(version, cases, Barred())
    where = _where(parts)
    assert sorted(where) == sorted(case.key for case in cases)
    assert all(parts.counts[name] >= least for name, least in LEAST.items())
    by_text: dict[str, set[str]] = {}
    for case in cases:
        text = " ".join(str(case.variables["text"]).lower().split())
        by_text.setdefault("near" if text.startswith("word0") else text, set()).add(where[case.key])
    assert {len(found) for found in by_text.values()} == {1}
    groups = {parts.groups[case.key] for case in cases if str(case.variables["text"]).startswith("word0")}
    assert len(groups) == 1


def test_parts_follow_from_the_rows_and_not_from_a_seed_or_their_order(
    fill: Fill, cases_of: Callable[..., Cases]
) -> None:
    given = rows(150)
    one, other = fill(given, "one"), fill(given[::-1], "other")
    first = split(one, cases_of(one.ref), Barred())
    assert _where(split(other, cases_of(other.ref), Barred())) == _where(first)
    assert sorted(first.shuffled(1).sealed) == sorted(first.shuffled(2).sealed)
    assert first.shuffled(1).sealed != first.shuffled(2).sealed


def test_rows_that_nobody_wrote_or_that_are_leaked_only_rank(fill: Fill, cases_of: Callable[..., Cases]) -> None:
    made_up = {"by": "model", "way": "rows", "seed": 1, "parents": []}
    given: list[dict[str, object]] = [
        {**row, COLUMN: made_up if n % 5 == 0 else None} for n, row in enumerate(rows(200))
    ]
    version = fill(given)
    cases = cases_of(version.ref)
    trained, looked = {cases[n].key for n in (1, 2, 3)}, {cases[n].key for n in (6, 7)}
    parts = split(version, cases, Barred(frozenset(trained), looked=frozenset(looked)))
    synthetic = {case.key for case in cases if (case.row or 0) % 5 == 0}
    assert synthetic | trained | looked <= set(parts.select)
    assert any("40 rows: nobody wrote it" in told for told in parts.told)
    used = frozenset(case.key for case in cases[10:60])
    again = split(version, cases, Barred(used=used))
    assert used.isdisjoint(again.sealed)
    assert not used.isdisjoint(again.reflect)


def test_sealed_rows_of_another_dataset_are_no_twins_of_this_one(fill: Fill, cases_of: Callable[..., Cases]) -> None:
    version, other = fill(rows(80)), fill(rows(200)[60:], "other")
    parts = split_beside(version, cases_of(version.ref), (other, cases_of(other.ref)), Barred())
    assert parts.counts["sealed"] == 120
    assert any("20 rows of other@1: asks what a row of the other dataset asks" in told for told in parts.told)
    assert len(parts.reflect) + len(parts.select) == 80


def test_too_few_rows_are_refused_with_what_there_would_be(fill: Fill, cases_of: Callable[..., Cases]) -> None:
    version = fill(rows(40))
    with pytest.raises(InputRefusedError, match="the reflect part would have 8 rows, and needs 12"):
        split(version, cases_of(version.ref), Barred())


def test_fewer_rows_are_a_part_of_all(fill: Fill, cases_of: Callable[..., Cases]) -> None:
    version = fill(rows(300))
    few, whole = (
        split(version, cases_of(version.ref), Barred(), most=120),
        split(version, cases_of(version.ref), Barred()),
    )
    assert sum(few.counts.values()) == 120
    assert set(few.sealed) <= set(whole.sealed)


def test_sealed_rows_that_were_looked_at_are_remembered(
    catalog: Catalog, fill: Fill, plan: Callable[..., JsonObject]
) -> None:
    version = fill(rows(150))
    store = ImprovementStore(catalog)
    first = prepare(catalog, check_plan(plan(version)))
    assert first.look == 1
    store.note("job_1", "colour", 1, first.plan)
    store.note_parts("job_1", {name: list(getattr(first.parts, name)) for name in ("reflect", "select", "sealed")})  # type: ignore[arg-type]
    # Nobody looked yet: the same rows are sealed for the next one.
    assert set(prepare(catalog, check_plan(plan(version, seed=5))).parts.sealed) == set(first.parts.sealed)
    looked = store.note_look("job_1", 1, 1)
    assert looked is not None
    assert looked["look"] == 1
    assert store.note_look("job_1", 9, None) == looked
    # One that was begun at the same time has the same rows: it may not look unless that was asked for.
    store.note("job_2", "colour", 1, first.plan)
    store.note_parts("job_2", {name: list(getattr(first.parts, name)) for name in ("reflect", "select", "sealed")})  # type: ignore[arg-type]
    assert store.note_look("job_2", 1, 1) is None
    assert store.get("job_2").looked is None
    with pytest.raises(InputRefusedError, match="looked at 1 time; last by job_1: it has not ended") as refused:
        prepare(catalog, check_plan(plan(version)))
    assert refused.value.code == "sealed_looked"
    again = prepare(catalog, check_plan(plan(version, look_again=True)))
    assert again.look == 2
    # The one that looked goes on with what it had.
    assert prepare(catalog, check_plan(plan(version)), "job_1").look == 1
    # A copy under another name is the same prompt.
    prompts = EvaluationStore(catalog.workspace).prompts
    prompts.save("copy", template=first.seed.template)
    with pytest.raises(InputRefusedError, match="looked at 1 time"):
        prepare(catalog, check_plan(plan(version, prompt="copy")))
    # So is a copy of what was made of it.
    prompts.save("copy", template="Say the colour.\n{{ text }}")
    prompts.save("of-a-copy", template="Say the colour.\n{{ text }}")
    with pytest.raises(InputRefusedError, match="looked at 1 time"):
        prepare(catalog, check_plan(plan(version, prompt="of-a-copy")))
    # Rows that came since were seen by nobody.
    grown = fill(rows(400), "grown")
    fresh = prepare(catalog, check_plan(plan(grown)))
    assert fresh.look == 1
    assert set(first.parts.sealed).isdisjoint(fresh.parts.sealed)
    assert set(first.parts.reflect).isdisjoint(fresh.parts.sealed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metric": "nope"}, "nope"),
        ({"watt_hours": 1.0}, "watt-hours cannot be held"),
        ({"ways": []}, "ways"),
        ({"sealed_data": "colours"}, "again"),
        ({"model": "gone"}, "gone"),
    ],
)
def test_what_cannot_be_improved_or_held_is_refused(
    catalog: Catalog,
    fill: Fill,
    plan: Callable[..., JsonObject],
    monkeypatch: pytest.MonkeyPatch,
    change: JsonObject,
    why: str,
) -> None:
    from llmops_tui.errors import LlmopsError

    monkeypatch.setattr("llmops_tui.improvement.prepared.read_counters", dict)
    version = fill(rows(150))
    with pytest.raises(LlmopsError, match=why):
        prepare(catalog, check_plan(plan(version, **change)))


def test_a_suite_that_is_more_than_single_answers_is_refused(
    catalog: Catalog, fill: Fill, plan: Callable[..., JsonObject]
) -> None:
    version = fill(rows(150))
    body = plan(version)
    for name, value in (("repeats", 3), ("vary", [{"kind": "upper"}])):
        with pytest.raises(InputRefusedError, match="cannot be improved by yet"):
            prepare(catalog, check_plan({**body, "suite": {**body["suite"], name: value}}))


def test_parts_that_were_noted_stay_whatever_others_did_since(
    catalog: Catalog, fill: Fill, plan: Callable[..., JsonObject]
) -> None:
    version = fill(rows(300))
    store = ImprovementStore(catalog)
    first = prepare(catalog, check_plan(plan(version, rows=150)), "job_1")
    names = ("reflect", "select", "sealed")
    unpinned = plan(version)
    unpinned["suite"]["cases"] = "colours"
    assert prepare(catalog, check_plan(unpinned)).plan.suite["cases"] == version.ref
    store.note("job_1", "colour", 1, first.plan)
    store.note_parts("job_1", {name: sorted(getattr(first.parts, name)) for name in names})  # type: ignore[arg-type]
    # Another improvement of the prompt works with all rows, and looks at its sealed ones.
    other = prepare(catalog, check_plan(plan(version)), "job_2")
    store.note("job_2", "colour", 1, other.plan)
    store.note_parts("job_2", {name: sorted(getattr(other.parts, name)) for name in names})  # type: ignore[arg-type]
    assert store.note_look("job_2", 1, 1) is not None
    again = prepare(catalog, check_plan(plan(version, rows=150)), "job_1")
    assert [getattr(again.parts, name) for name in names] == [getattr(first.parts, name) for name in names]
    assert {key: again.parts.groups[key] for key in first.parts.groups} == first.parts.groups
    # It may not look at what that one looked at.
    assert again.look == 1
    assert store.note_look("job_1", 1, again.look) is None
