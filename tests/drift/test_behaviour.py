"""Whether the same model answers otherwise: answers paired by case, and what is refused."""

from __future__ import annotations

import pytest

from llmops_tui.drift.behaviour import compare_behaviour, first_run, newest_behaviours, refuse_by_chance
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.workspace.catalog import Catalog
from tests.evaluation.test_grading import graded_run, made_model
from tests.fakes import start_no_processes


@pytest.fixture
def store(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> EvaluationStore:
    start_no_processes(monkeypatch)
    made_model(catalog)
    return EvaluationStore(catalog.workspace)


def test_the_newest_run_is_held_against_the_first_of_the_same_files(store: EvaluationStore) -> None:
    scores = [1.0] * 20
    names = [graded_run(store, scores, said=said) for said in ("same", "other", "same")]
    first, middle, newest = (store.get(name) for name in names)
    version, runs = store.suite("kind"), store.all()
    assert first_run(store, runs, first, version) is None
    found = first_run(store, runs, newest, version)
    assert found is not None
    assert found.name == first.name
    same = compare_behaviour(store, first, newest)
    assert (same.changed, same.answers, same.differ, same.metrics) == (False, 20, 0, ())
    assert same.smallest == pytest.approx(1 - 0.2 ** (1 / 20))
    assert "no change of behaviour was seen in 20 answers" in same.told
    other = compare_behaviour(store, first, middle)
    assert (other.changed, other.differ, other.cases) == (True, 20, (0, 1, 2, 3, 4))
    assert other.low > 0.8
    assert other.as_dict()["engines"] == ["e", "e"]


def test_a_damaged_run_is_named_and_the_others_are_compared(store: EvaluationStore) -> None:
    def asked(suite: str, *said: str) -> list[EvalRun]:
        greedy = {"temperature": 0}
        return [store.get(graded_run(store, [1.0] * 4, one, suite, greedy)) for one in said]

    spoiled, sound = asked("spoiled", "same", "same"), asked("sound", "same", "other", "same")
    noted = asked("noted", "same", "same")
    assert [one.newest for one in newest_behaviours(store).found] == [
        noted[1].name, sound[2].name, spoiled[1].name,
    ]  # fmt: skip
    # The newest of one suite, the first of another, and the row of a third one.
    for run in (spoiled[1], sound[0]):
        run.results.write_text("{")
    store.catalog.write(
        lambda connection: connection.execute(
            "UPDATE evaluation_runs SET manifest = '3' WHERE name = ?", [noted[1].name]
        )
    )
    found = newest_behaviours(store)
    assert [(one.first, one.newest, one.changed) for one in found.found] == [(sound[1].name, sound[2].name, True)]
    assert {name: error.code for name, error in found.damaged.items()} == {
        f"run {spoiled[1].name}": "results_damaged", f"run {sound[0].name}": "results_damaged",
        f"run {noted[1].name}": "row_damaged",
    }  # fmt: skip
    assert all(name.removeprefix("run ") in error.message for name, error in found.damaged.items())
    # A suite's row, too: the others are compared, and asked for by name.
    store.catalog.write(
        lambda connection: connection.execute("UPDATE evaluation_suites SET body = '3' WHERE name = 'spoiled'")
    )
    again = newest_behaviours(store)
    assert ([one.newest for one in again.found], again.damaged["suite spoiled@1"].code) == (
        [sound[2].name], "row_damaged",
    )  # fmt: skip
    assert store.suite("sound").ref == "sound@1"


def test_answers_that_are_drawn_are_no_behaviour(store: EvaluationStore) -> None:
    body = {"cases": [{"q": "a"}], "metrics": ["token-f1"]}
    for parameters, refused in (({}, True), ({"temperature": 0.7}, True), ({"temperature": 0}, False)):
        version = store.save_suite(check_suite({**body, "parameters": parameters}, "fixed"))
        if refused:
            with pytest.raises(InputRefusedError, match="by chance"):
                refuse_by_chance(version)
        else:
            refuse_by_chance(version)
