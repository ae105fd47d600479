"""Metrics, judges and reports of packages: the example's decide and write, broken ones are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.comparison import Pair
from llmops_tui.evaluation.judges import find_judge
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.metrics.model_graded import Asking
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.pairwise import decide
from llmops_tui.evaluation.reports import export
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.scoring import Item, Scorer
from llmops_tui.evaluation.runner.summary import figure_of
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.evaluation.conftest import made_run, results
from tests.plugin_packages import put_example, put_package, use

BODY: dict[str, Any] = {"cases": [{"question": "one?", "expected": "1"}], "name": "theirs"}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_example(tmp_path / "site")
    use(monkeypatch, tmp_path / "site")


def scored(metric: Metric, text: str) -> Score:
    scorer = Scorer()
    try:
        item = Item(Case(0, "k"), Answer(text=text), [metric])
        (found,) = asyncio.run(scorer.score([item], cast("Asking", None)))
    finally:
        scorer.close()
    return found[metric.called]


@pytest.mark.slow
@pytest.mark.usefixtures("example")
def test_a_function_and_a_class_score_cases() -> None:
    vowels = make_metric({"type": "python", "entry": "vowels"})
    assert (vowels.called, vowels.problem()) == ("vowels", "")
    assert scored(vowels, "aeb") == Score(2 / 3, "2 of 3")
    # A case that it cannot score costs that case alone, and says whose fault it is.
    failed = scored(vowels, "")
    assert failed.value is None
    assert failed.reason.startswith("metrics plugin 'vowels' of llmops-example-plugin 1.0: ZeroDivisionError")
    words = make_metric({"type": "python", "entry": "words-between", "settings": {"high": 2}})
    assert (words.called, words.binary) == ("words-between", True)
    assert [scored(words, text).value for text in ("one two", "one two three")] == [1, 0]
    named = make_metric({"type": "python", "entry": "words-between", "name": "short"})
    assert named.called == "short"


@pytest.mark.usefixtures("example")
def test_settings_are_checked_and_names_are_helped_with() -> None:
    with pytest.raises(InputRefusedError, match="words-between: high"):
        make_metric({"type": "python", "entry": "words-between", "settings": {"high": "many"}})
    with pytest.raises(InputRefusedError, match="words-between: most"):
        make_metric({"type": "python", "entry": "words-between", "settings": {"most": 3}})
    assert "takes no settings" in make_metric({"type": "python", "entry": "vowels", "settings": {"a": 1}}).problem()
    with pytest.raises(InputRefusedError) as refused:
        make_metric("vowels")
    assert "{type: python, entry: vowels}" in refused.value.hint


def test_runs_with_two_versions_of_a_package_are_measured_in_two_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for version in ("1.0", "1.1"):
        module = {"counting.py": "def letters(text, expected, variables): return len(text)\n"}
        points = {"llmops_tui.metrics": {"letters": "counting:letters"}}
        put_package(tmp_path / version, "counts", points, module, version)
        with monkeypatch.context() as patch:
            use(patch, tmp_path / version)
            found[version] = fingerprint(make_metric({"type": "python", "entry": "letters"}))
            assert found[version] == fingerprint(make_metric({"type": "python", "entry": "letters"}))
    assert found["1.0"] != found["1.1"]


@pytest.mark.usefixtures("example")
def test_the_command_lists_them(sample: Workspace) -> None:
    listed = Llmops(sample).run("eval", "metrics")["metrics"]
    theirs = {m["entry"]: m["settings"] for m in listed if "entry" in m}
    assert theirs == {"vowels": [], "words-between": ["low", "high"]}


def test_a_suite_outlives_the_package_of_its_metric(
    tmp_path: Path, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EvaluationStore(sample)
    entry = {"type": "python", "entry": "words-between", "settings": {"low": 2}}
    suite = check_suite(BODY | {"metrics": [entry]})
    with pytest.raises(InputRefusedError, match="no installed package registers 'words-between'"):
        store.save_suite(suite)
    with monkeypatch.context() as patch:
        put_example(tmp_path / "site")
        use(patch, tmp_path / "site")
        store.save_suite(check_suite(BODY | {"metrics": [entry]}))
    # Gone again: the suite is still there, and says what it lacks.
    (metric,) = store.suite("theirs").suite.made_metrics()
    assert metric.called == "words-between"
    assert "no installed package" in scored(metric, "a").reason


@pytest.mark.usefixtures("example")
def test_a_judge_decides_in_both_orders(sample: Workspace) -> None:
    old, new = (Result(Case(0, "k", variables={"q": "?"}), 0, Answer(text=t), {}) for t in ("long answer", "short"))
    pair = Pair(old, new, None)
    decision = asyncio.run(decide(pair, "by length", "plugin:shorter", cast("Asking", None)))
    assert decision.verdict == "win"
    assert decision.preference == pytest.approx(11 / 16)
    assert decision.first == pytest.approx(decision.second or 0)
    find_judge("plugin:shorter")
    llmops = Llmops(sample)
    refused = llmops.run("eval", "pairwise", "a", "b", "--judge", "plugin:longer", code=3)["error"]
    assert (refused["code"], "plugin:shorter" in refused["hint"]) == ("unknown_judge", True)


def finished(monkeypatch: pytest.MonkeyPatch) -> EvalRun:
    """A finished run whose results are made up."""
    figure = {"mean": 0.5, "low": None, "high": None, "better": 1}
    monkeypatch.setattr("llmops_tui.evaluation.reports.results_so_far", lambda _run: results([1.0, 0.0]))
    return replace(made_run("run<1>"), summary={"metrics": {"exact": figure}})  # type: ignore[typeddict-item]


@pytest.mark.usefixtures("example")
def test_a_report_is_written_by_its_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert export(finished(monkeypatch), tmp_path / "r.html") == "html"
    page = (tmp_path / "r.html").read_text()
    assert "<title>run&lt;1&gt;</title><p>2 answers" in page
    assert "<td>exact<td>0.5" in page
    with pytest.raises(InputRefusedError, match=r"r\.doc") as refused:
        export(finished(monkeypatch), tmp_path / "r.doc")
    assert ".html" in refused.value.hint


BROKEN = """
from llmops_tui.evaluation.judges import Judge
from typing import Literal
from llmops_tui.evaluation.metrics.base import Metric, Score
from llmops_tui.evaluation.reports import Report

class Sure(Judge):
    def decide(self, question, first, second): return 7

class Angry(Judge):
    def decide(self, question, first, second): raise OSError("not today")

class Numbers(Report):
    suffix = ".num"
    def make(self, run, results): return 3

class Figureless(Metric):
    type: Literal["figureless"] = "figureless"
    def score(self, case, answer): return Score(1.0)
    def facts(self, scores): raise LookupError("none")

class Misnamed(Metric):
    type: str = "another"

def exact(text, expected, variables): return 1
"""


def test_broken_ones_are_named_where_they_were_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "llmops_tui.metrics": {
            "misnamed": "wrong:Misnamed",
            "exact": "wrong:exact",
            "number": "wrong:__name__",
            "figureless": "wrong:Figureless",
        },
        "llmops_tui.judges": {"sure": "wrong:Sure", "angry": "wrong:Angry", "absent": "nowhere:X"},
        "llmops_tui.reports": {"numbers": "wrong:Numbers"},
    }
    put_package(tmp_path / "site", "half-made", points, {"wrong.py": BROKEN})
    use(monkeypatch, tmp_path / "site")
    problem = make_metric({"type": "python", "entry": "misnamed"}).problem()
    assert "'misnamed' of half-made 1.0: ValueError: its type is 'another'" in problem
    assert "built in" in make_metric({"type": "python", "entry": "exact"}).problem()
    assert "neither a function" in make_metric({"type": "python", "entry": "number"}).problem()
    figureless = make_metric({"type": "python", "entry": "figureless"})
    with pytest.raises(LlmopsError, match=r"'figureless' of half-made 1\.0: LookupError: none"):
        figure_of(figureless, results([1.0, 0.0], "figureless"))
    old, new = (Result(Case(0, "k", variables={"q": "?"}), 0, Answer(text=t), {}) for t in "ab")
    pair = Pair(old, new, None)
    for name, why in (("sure", "7 is not a probability"), ("angry", "OSError: not today")):
        with pytest.raises(LlmopsError, match=rf"'{name}' of half-made 1\.0: .*{why}"):
            asyncio.run(decide(pair, "", f"plugin:{name}", cast("Asking", None)))
    with pytest.raises(InputRefusedError, match=r"'absent' of half-made 1\.0: ModuleNotFoundError"):
        find_judge("plugin:absent")
    with pytest.raises(LlmopsError, match=r"'numbers' of half-made 1\.0: TypeError: it made a int"):
        export(finished(monkeypatch), tmp_path / "r.num")
