"""Suites are read, refused with reasons, made into cases, varied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.bundled_suites import shipped
from llmops_tui.evaluation.cases import build_cases, with_dataset
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.paths import value_at
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Variation, check_suite, parse_suite
from llmops_tui.evaluation.suite_checks import check_new
from llmops_tui.evaluation.suite_file import read_suite
from llmops_tui.evaluation.variations import vary
from llmops_tui.sample_files import sample_folder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

BODY: dict[str, Any] = {
    "cases": [{"question": "one?", "expected": "1"}, {"question": "two?", "expected": "2"}],
    "metrics": ["exact"],
}


@pytest.mark.parametrize(("change", "says"), [
    ({"metricz": []}, "Did you mean metrics"), ({"cases": 7}, "cases"), ({"repeats": 0}, "repeats"),
    ({"metrics": ["exact", "exact"]}, "two metrics are called exact"), ({"parameters": {"temprature": 1}}, "temprature"),
    ({"prompt": "p", "chain": [{"prompt": "p"}]}, "prompt or chain"), ({"until": {"metric": "bleu", "half_width": 1}}, "'bleu' is not a metric"),
    ({"variables": {"a": "b[[0"}}, "is not a path"), ({"vary": [{"kind": "swap"}]}, "two or more groups"), ({"metrics": ["nope"]}, "'nope' is not a metric"),
])  # fmt: skip
def test_a_damaged_suite_says_what_and_where(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        check_suite(BODY | change, "s")
    assert says in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(("change", "says"), [
    ({"cases": [{"variables": {"q": "a"}, "expected": "1"}]}, "cases[0].variables: a case has no such field Variables stand in vars."),
    ({"cases": [{"vars": {"q": "a"}, "expectd": "1"}]}, "cases[0].expectd: a case has no such field Did you mean expected?"),
    ({"group": "document"}, "group: it says where something is in the rows of a dataset"), ({"slices": ["lang"]}, "slices: it says where"),
    ({"expected": "answer"}, "expected: it says where"), ({"variables": {"q": "x"}}, "variables: it says where"),
    ({"context": "c"}, "context: it says where"), ({"script": {"user": "u"}}, "script: it says where"),
    ({"choices": "c"}, "choices: a path is for the rows"),
    ({"metrics": ["rouge", "verdict"]}, "every answer would pass"),
    ({"metrics": [{"type": "exact", "name": "latency"}]}, "'latency' is measured with every run"),
    ({"metrics": ["bleu"], "until": {"metric": "bleu", "half_width": 1}}, "bleu is a figure of all cases together"),
    ({"rules": ["exat >= 0.9"]}, "exat is not measured by this suite Did you mean exact?"), ({"rules": ["exact is good"]}, "is not a rule"),
])  # fmt: skip
def test_a_new_version_that_says_what_nobody_would_heed_is_refused(change: dict[str, Any], says: str) -> None:
    suite = check_suite(BODY | change, "s")
    with pytest.raises(InputRefusedError) as refused:
        check_new(suite)
    assert says in f"{refused.value.message} {refused.value.hint}"


def test_what_a_new_version_may_say() -> None:
    parts = [{"metric": "rougeL", "at_least": 0.4}]
    metrics = ["rouge", {"type": "verdict", "parts": parts}, "latency"]
    rules = ["pass >= 0.9", "latency p95 <= 500 ms", "tokens not worse than baseline", "rougeL >= 0.5 surely"]
    check_new(check_suite(BODY | {"metrics": metrics, "rules": rules}, "s"))
    for suite in shipped().values():
        check_new(suite)


@pytest.mark.parametrize(("change", "says"), [
    ({"metrics": [{"type": "json-fields", "fields": ["a", "typo"]}]}, "no expected answer has the field typo"),
    ({"metrics": [{"type": "json-fields", "fields": ["bb"]}]}, "Did you mean b?"),
    ({"vary": [{"kind": "typos", "variable": "questoin"}]}, "no case has the variable questoin Did you mean question?"),
])  # fmt: skip
def test_what_no_case_has_is_refused_before_anything_is_asked(change: dict[str, Any], says: str) -> None:
    cases = [
        {"question": "one?", "expected": {"a": 1}},
        {"question": "two?", "expected": '{"b": 2}'},
        {"question": "three?"},
    ]
    assert (
        len(
            build_cases(
                check_suite({"cases": cases, "metrics": [{"type": "json-fields", "fields": ["a", "b"]}]}, "s"), None
            ).cases
        )
        == 3
    )
    with pytest.raises(InputRefusedError) as refused:
        build_cases(check_suite({"cases": cases} | change, "s"), None)
    assert says in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize("text", ["[", "just text", "cases: [", "- a", "{cases: []}", "\x00"])
def test_what_is_no_suite_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(InputRefusedError):
        suite = read_suite(path)
        build_cases(suite, None)  # type: ignore[arg-type]


def test_a_suite_survives_its_yaml() -> None:
    for suite in shipped().values():
        assert parse_suite(suite.to_yaml(), suite.name) == suite
        assert suite.sha256 == parse_suite(suite.to_yaml(), "other").sha256


def test_every_shipped_suite_makes_cases_with_metrics() -> None:
    assert {"injection", "jailbreak", "bias", "bias-pairs", "toxicity", "groundedness", "privacy", "robustness"} <= set(
        shipped()
    )
    for suite in shipped().values():
        cases = build_cases(suite, None).cases  # type: ignore[arg-type]
        assert len({c.key for c in cases}) == len(cases)
        assert all(c.messages for c in cases)
        assert suite.metrics or all(c.metrics for c in cases)
        for case in cases:
            assert all(make_metric(entry) for entry in case.metrics)


def test_paths() -> None:
    row = {"messages": [{"content": '{"intent": "refund"}'}], "a.b": 1}
    assert value_at(row, "messages[0].content.intent") == "refund"
    assert value_at(row, "messages[-1].content") == '{"intent": "refund"}'
    for path, says in (
        ("messages[3]", "has no [3]"),
        ("nothing", "has no nothing; it has messages"),
        ("messages[0].content.x", "has no x"),
    ):
        with pytest.raises(KeyError) as missing:
            value_at(row, path)
        assert says in missing.value.args[0]


def test_cases_come_from_a_data_file(sample: Workspace) -> None:
    datasets = DatasetStore(Catalog(sample))
    suite = with_dataset(read_suite(sample_folder() / "suites" / "triage.yaml"), datasets)
    # The same rows as the sample's own dataset: no second version is made of them.
    assert suite.cases == "triage-test@1"
    found = build_cases(suite.model_copy(update={"slices": ["expected.intent"]}), datasets)
    assert len(found.cases) == 300
    first = found.cases[0]
    assert first.variables["message"].startswith("Hello")
    assert json.loads(first.expected_text)["intent"] == first.slices["intent"]
    few = build_cases(suite.model_copy(update={"limit": 20}), datasets).cases
    assert len(few) == 20
    assert {c.key for c in few} < {c.key for c in found.cases}
    assert [c.key for c in few] == [c.key for c in build_cases(suite.model_copy(update={"limit": 20}), datasets).cases]


def test_a_missing_column_is_told_with_its_row(sample: Workspace) -> None:
    datasets = DatasetStore(Catalog(sample))
    suite = check_suite({"cases": "triage-test", "variables": {"m": "messages[9].content"}, "metrics": ["exact"]}, "s")
    with pytest.raises(InputRefusedError, match=r"row 0: messages\[9\].content: messages has no \[9\]"):
        build_cases(suite, datasets)


def test_the_same_case_twice_has_two_keys() -> None:
    cases = build_cases(check_suite(BODY | {"cases": [BODY["cases"][0]] * 3}, "s"), None).cases  # type: ignore[arg-type]
    assert [c.key.partition("#")[2] for c in cases] == ["", "2", "3"]


@given(st.text(min_size=1, max_size=200), st.integers(0, 5))
def test_variations_keep_what_they_must(text: str, seed: int) -> None:
    case = Case(0, "k", variables={"m": text}, expected="x")
    for made in vary(case, Variation(kind="typos"), seed):
        assert sorted(made.variables["m"]) == sorted(text)
        assert made.origin == "k"
        assert made.expected == "x"
        assert made.variables["m"] != text
    for made in vary(case, Variation(kind="order"), seed):
        assert sorted(made.variables["m"].split()) == sorted(text.split())
    assert [c.variables for c in vary(case, Variation(kind="upper"), seed)] in ([{"m": text.upper()}], [])


def test_groups_are_swapped() -> None:
    swap = Variation(kind="swap", groups={"women": ["she", "Maria"], "men": ["he", "Martin"]})
    case = Case(0, "k", messages=({"role": "user", "content": "Maria says she is late. They know."},))
    women, men = vary(case, swap, 0)
    assert men.messages[0]["content"] == "Martin says he is late. They know."
    assert women.messages[0]["content"] == case.messages[0]["content"]
    assert not list(vary(Case(0, "k", variables={"m": "The shed is red."}), swap, 0))


def test_paraphrases_come_from_the_row() -> None:
    body = BODY | {
        "cases": [{"question": "one?", "expected": "1", "vars": {"question": "one?"}, "context": ""}],
        "vary": [{"kind": "upper"}],
    }
    cases = build_cases(check_suite(body, "s"), None).cases  # type: ignore[arg-type]
    assert [c.variation for c in cases] == ["", "upper"]
    assert cases[0].group == cases[1].group


def test_versions_of_a_suite(sample: Workspace) -> None:
    store = EvaluationStore(sample)
    first = store.save_suite(check_suite(BODY, "s"))
    assert first.ref == "s@1"
    assert store.save_suite(check_suite(BODY, "s")).ref == "s@1"
    second = store.add_case("s", "p", {"question": "three?"}, "3")
    assert second.ref == "s@2"
    assert len(second.suite.cases) == 3
    assert store.suite("s").ref == "s@2"
    assert store.suite("s@1").suite == first.suite
    made = store.add_case("fresh", "triage", {"message": "hi"}, "x")
    assert made.suite.prompt == "triage"
    store.save_suite(check_suite({"cases": "triage-test", "metrics": ["exact"]}, "rows"))
    with pytest.raises(InputRefusedError, match="takes its cases from triage-test@1"):
        store.add_case("rows", "p", {}, "x")


def test_a_metric_of_a_package_that_is_not_there_is_refused_and_never_loaded(sample: Workspace) -> None:
    suite = check_suite(BODY | {"metrics": [{"type": "python", "entry": "os:system"}]}, "theirs")
    with pytest.raises(InputRefusedError, match="no installed package registers 'os:system'"):
        EvaluationStore(sample).save_suite(suite)


def test_one_damaged_row_hides_no_other_suite(workspace: Workspace) -> None:
    store = EvaluationStore(workspace)
    body = {"cases": [{"vars": {"q": "1"}, "expected": "2"}], "prompt": "{{ q }}", "metrics": [{"type": "exact"}]}
    for name in ("good", "bad"):
        store.save_suite(check_suite(body, name))
    store.catalog.write(lambda db: db.execute("UPDATE evaluation_suites SET body = '[]' WHERE name = 'bad'"))
    found, damaged = store.readable_suites()
    assert ([one.ref for one in found], list(damaged)) == (["good@1"], ["bad@1"])
    assert store.add_case("good", "{{ q }}", {"q": "3"}, "4").ref == "good@2"
