"""The version that broke a case, found by few runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.bisection import Bisection
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.prompts.store import PromptVersion
from llmops_tui.workspace.layout import Workspace
from tests.evaluation.test_what_decides import BODY, finished
from tests.fakes import start_no_processes
from tests.representatives import representatives


@pytest.fixture
def store(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> EvaluationStore:
    start_no_processes(monkeypatch)
    found = EvaluationStore(sample)
    for number in range(8):
        found.prompts.save("long", template=f"version {number} {{{{ message }}}}")
    return found


def between(store: EvaluationStore, good: str = "long@1", bad: str = "long@8", **how: Any) -> Bisection:
    given: dict[str, Any] = {"case": "5", "metric": "", "model": ""} | how
    return Bisection.between(store, store.suite("s"), good, bad, **given)


@pytest.mark.parametrize("broke", representatives([2, 5, 8], 5))
def test_a_planted_break_is_found_by_as_few_runs_as_were_told(store: EvaluationStore, broke: int) -> None:
    suite = check_suite(BODY, "s")
    store.save_suite(suite)
    bisection = between(store)
    most, runs = bisection.most_runs, 0
    assert most == 2 + 3
    while (version := bisection.next()) is not None:
        assert runs + bisection.most_runs <= most
        finished(store, suite, version.ref, right=5 if version.number >= broke else 6)
        bisection.look(version)
        runs += 1
    found = bisection.found()
    assert (found["last_good"], found["broke"], found["unclear"], found["caution"]) == (broke - 1, broke, [], "")
    assert runs <= most
    # What is known needs no run.
    assert between(store).next() is None
    assert between(store, metric="exact").found() == found
    # Unless what was kept before is not to count.
    again = between(store, fresh=True)
    assert again.next() == again.versions[0]
    assert again.column(again.versions[0]).fresh


def test_chance_is_named_also_where_a_version_holds_the_temperature(store: EvaluationStore) -> None:
    held = read_settings({"parameters": {"temperature": 0.8}}, "here")
    for number, settings in ((8, None), (9, held)):
        store.prompts.save("long", template=f"version {number} {{{{ message }}}}", settings=settings)
    for body, caution in (
        (BODY, True),
        (BODY | {"parameters": {"temperature": 0}}, False),
        (BODY | {"repeats": 2}, False),
    ):
        suite = check_suite(body, "s")
        store.save_suite(suite)
        for number in (9, 10):
            finished(store, suite, f"long@{number}", right=14 - number)
        found = between(store, "long@9", "long@10", case="4").found()
        assert found["caution"].startswith("Each version answered once") is caution


def test_what_is_no_break_is_refused(store: EvaluationStore) -> None:
    suite = check_suite(BODY, "s")
    store.save_suite(suite)
    for number in (1, 8):
        finished(store, suite, f"long@{number}")
    with pytest.raises(InputRefusedError, match=r"scores alike at both ends .*long@1: 1, long@8: 1") as alike:
        between(store).next()
    assert alike.value.hint == "llmops eval compare s-1 s-2 lists the cases that changed."
    assert alike.value.code == "not_broken"
    with pytest.raises(InputRefusedError, match="is not newer"):
        between(store, "long@8", "long@1")
    with pytest.raises(InputRefusedError, match="of two prompts"):
        between(store, "triage@1")
    with pytest.raises(NotFoundError):
        between(store, metric="bleu")


def test_a_version_whose_case_cannot_be_asked_is_taken_as_it_is_and_told(store: EvaluationStore) -> None:
    suite = check_suite(BODY, "s")
    store.save_suite(suite)
    bisection = between(store, "long@1", "long@2")
    made = finished(store, suite, "long@1", failed=5)
    with pytest.raises(InputRefusedError) as refused:
        bisection.look(bisection.versions[0])
    assert refused.value.code == "not_evaluated"
    bisection.look(bisection.versions[0], made)
    bisection.look(bisection.versions[1], finished(store, suite, "long@2", right=5))
    with pytest.raises(InputRefusedError, match=r"long@1: not scored, template_failed: division by zero, long@2: 0\)"):
        bisection.next()
    # An error of another case hides nothing of this one.
    bisection.look(bisection.versions[0], finished(store, suite, "long@1", failed=2))
    assert bisection.next() is None
    assert bisection.found()["broke"] == 2


def test_a_case_that_is_not_there_is_refused_before_anything_is_run(store: EvaluationStore) -> None:
    store.save_suite(check_suite(BODY, "s"))
    with pytest.raises(NotFoundError, match="no case '6'") as refused:
        between(store, case="6")
    assert refused.value.hint.startswith("s@1 has 6 cases, counted from 0")


def test_a_run_that_does_not_count_says_why(store: EvaluationStore) -> None:
    suite = check_suite(BODY, "s")
    store.save_suite(suite)
    bisection = between(store)
    version = bisection.next()
    assert version is not None
    finished(store, suite, version.ref)
    store.save_suite(check_suite(BODY | {"cases": BODY["cases"][1:]}, "s"))
    later = between(store, case="0")
    with pytest.raises(InputRefusedError, match=r"that counts: s-1 was asked of s@1, which asks or measures otherwise"):
        later.look(version)


def test_what_was_mended_is_not_told_as_broken(store: EvaluationStore) -> None:
    suite = check_suite(BODY, "s")
    store.save_suite(suite)
    for number, right in ((1, 5), (8, 6)):
        finished(store, suite, f"long@{number}", right=right)
    with pytest.raises(InputRefusedError, match=r"scores better at long@8 \(1\) than at long@1 \(0\) by exact"):
        between(store).next()


class Told(Bisection):
    """One whose versions are scored as a test says."""

    def say(self, version: PromptVersion, value: float | None) -> None:
        self._tried[version.number] = None, value  # type: ignore[assignment]


@given(st.data())
def test_the_break_lies_between_what_is_told_whatever_could_not_be_scored(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 40))
    broke = data.draw(st.integers(2, count))
    blank = data.draw(st.sets(st.integers(2, max(2, count - 1)), max_size=5)) - {1, count}
    low, high = data.draw(st.sampled_from([(0.0, 1.0), (1.0, 0.0), (0.2, 0.3)]))
    versions = [PromptVersion(f"i{n}", "p", n, "", n - 1 or None, "", "t", "", 0.0, ()) for n in range(1, count + 1)]
    bisection = Told(None, None, versions, 0, "exact", "m")  # type: ignore[arg-type]
    asked = 0
    while (version := bisection.next()) is not None:
        value = None if version.number in blank else high if version.number < broke else low
        bisection.say(version, value)
        asked += 1
    last_good, first_bad = (bisection.versions[at].number for at in bisection._borders())
    assert last_good < broke <= first_bad
    assert set(range(last_good + 1, first_bad)) <= blank
    assert asked <= 2 + math.ceil(math.log2(max(1, count - 1))) + len(blank)
