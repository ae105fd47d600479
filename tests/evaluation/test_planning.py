"""Before a run: power against references and by enumeration, cost by earlier runs, energy counters, contamination."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.evaluation.costs_told import card_text, plan_text
from llmops_tui.evaluation.planning import plan
from llmops_tui.evaluation.statistics.power import (
    mcnemar_power,
    pairs_needed,
    scores_needed,
    smallest_difference,
    spread_of_differences,
)
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.hardware.energy_counters import NOT_MEASURED, difference, read_counters
from llmops_tui.workspace.catalog import Catalog
from tests.evaluation.test_grading import graded_run, made_model
from tests.fakes import start_no_processes
from tests.later import Later

stats, references = Later("scipy.stats"), Later("statsmodels.stats.power")


@pytest.mark.parametrize(("n", "effect", "differing"), [(20, 0.2, 0.4), (33, 0.1, 0.3), (12, 0.5, 0.5)])
def test_the_power_of_mcnemars_test_is_that_of_all_tables(n: int, effect: float, differing: float) -> None:
    share = (differing + effect) / (2 * differing)
    expected = 0.0
    for m in range(n + 1):
        for wins in range(m + 1):
            if m and stats.binomtest(wins, m, 0.5).pvalue <= 0.05:
                expected += stats.binom.pmf(m, n, differing) * stats.binom.pmf(wins, m, share)
    assert mcnemar_power(n, effect, differing) == pytest.approx(expected)


@pytest.mark.parametrize(("effect", "differing"), [(0.05, 0.2), (0.1, 0.25), (0.3, 0.4)])
def test_as_many_pairs_as_are_needed_have_the_power_and_fewer_do_not(effect: float, differing: float) -> None:
    n = pairs_needed(effect, differing)
    assert n is not None
    assert mcnemar_power(n, effect, differing) >= 0.8 > mcnemar_power(n - 1, effect, differing)
    # Both ways round: what so many show at least is what they are needed for.
    assert smallest_difference(n, differing) == pytest.approx(effect, rel=0.03)


def test_what_cannot_be_shown_is_none() -> None:
    assert pairs_needed(0.2, 0.1) is None
    assert smallest_difference(5, 0.2) is None
    assert scores_needed(0.1, 0.0) is None
    assert scores_needed(1e-9, 1.0) is None
    # Far apart the approximation is used, and grows as the square.
    few, many = pairs_needed(0.02, 0.3), pairs_needed(0.01, 0.3)
    assert few is not None
    assert many is not None
    assert many / few == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(("effect", "spread"), [(0.5, 1.0), (0.05, 0.3), (2.0, 1.5)])
def test_cases_for_scores_are_those_of_the_reference(effect: float, spread: float) -> None:
    theirs = references.TTestPower().solve_power(effect_size=effect / spread, power=0.8, alpha=0.05)
    ours = scores_needed(effect, spread)
    assert ours is not None
    # Theirs takes the noncentral distribution, ours the sum of two quantiles.
    assert ours == pytest.approx(theirs, abs=max(2.0, theirs * 0.02))


def test_the_spread_of_differences_is_that_of_correlated_scores() -> None:
    assert spread_of_differences(2.0, 2.0, 0.5) == pytest.approx(2.0)
    assert spread_of_differences(1.0, 3.0, 1.0) == pytest.approx(2.0)


@pytest.fixture
def store(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> EvaluationStore:
    start_no_processes(monkeypatch)
    made_model(catalog)
    return EvaluationStore(catalog.workspace)


def test_a_plan_says_what_it_rests_on(store: EvaluationStore) -> None:
    first = [1.0 + i % 5 for i in range(20)]
    name = graded_run(store, first)
    version = store.suite("kind")
    one = plan(store, version, "m", effect=0.5)
    (power,) = one["power"]
    assert (power["cases"], power["measured"]) == (20, [name])
    assert "assumed" in power["basis"]
    # Of the grades 1 to 5, four each: variance 40/19; of differences at a correlation of a half the same.
    assert power["spread"] == pytest.approx((40 / 19) ** 0.5)
    assert power["needed"] == scores_needed(0.5, (40 / 19) ** 0.5)
    # Another column over the same cases: correlation and spread are measured between both.
    other = graded_run(store, [min(5.0, s + (i % 2)) for i, s in enumerate(first)], column={"temperature": 0.5})
    (power,) = plan(store, version, "m", effect=0.5)["power"]
    assert power["measured"] == [name, other]
    assert power["basis"] == "measured between these runs"
    assert power["correlation"] is not None
    assert 0.9 < power["correlation"] < 1
    assert power["spread"] < 0.6
    told = plan_text(one)
    assert "to show 0.5 takes" in told
    assert "the training data of this model is not known" in told


def test_costs_are_those_of_the_newest_run_of_the_model_and_energy_is_measured_or_told(store: EvaluationStore) -> None:
    version = store.suite(store.get(graded_run(store)).suite)
    assert plan(store, version, "m")["cost"]["seconds_per_case"] == pytest.approx(1.0 / 6)
    name = graded_run(store, costs={"asked": 4, "joules": 80.0, "energy": "of gpu0, whoever used them"})
    cost = plan(store, version, "m")["cost"]
    assert cost["measured"] == name
    assert (cost["joules_per_case"], cost["joules"], cost["seconds"]) == (20.0, 120.0, pytest.approx(1.5))
    assert "20 J an answer, 80 J in all, of gpu0" in card_text(store.get(name))
    graded_run(store, costs={"asked": 6, "joules": None, "energy": NOT_MEASURED})
    assert NOT_MEASURED in plan_text(plan(store, version, "m"))


def test_counters_that_wrap_or_cannot_be_read_count_for_nothing(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text("5000000\n")
    core = tmp_path / "intel-rapl:0:0"
    core.mkdir()
    (core / "name").write_text("core\n")
    (core / "energy_uj").write_text("4000000\n")
    assert {k: v for k, v in read_counters(tmp_path).items() if not k.startswith("gpu")} == {"package-0": 5.0}
    assert difference({"gpu0": 1.0, "package-0": 9.0}, {"gpu0": 4.5, "package-0": 2.0}).joules == 3.5
    assert difference({}, {}).note == NOT_MEASURED
