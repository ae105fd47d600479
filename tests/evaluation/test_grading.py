"""Grading by people: blind sheets, several graders at once, agreement by hand, votes, labelled sets and examples for a judge."""

from __future__ import annotations

import csv
import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.grading.agreement import agreement_of, ranking_of
from llmops_tui.evaluation.grading.criterion import Criterion, criterion_of
from llmops_tui.evaluation.grading.files import lines_of, read_sheet, write_sheet
from llmops_tui.evaluation.grading.graded import examples_from, make_dataset, teach_judge
from llmops_tui.evaluation.grading.opening import grade_sheet, vote_sheet
from llmops_tui.evaluation.grading.sheets import GradeSheet, VoteSheet
from llmops_tui.evaluation.grading.words import read_words
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.reports import export
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.runner.results import Result, ResultLog
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.statistics.bradley_terry import Contest, Strengths, bradley_terry
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.maintenance.work_removal import Work, remove_work
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_file
from tests.evaluation.conftest import MANIFEST
from tests.fakes import end_processes, start_no_processes

JUDGE = {"type": "judge", "model": "m", "rubric": "Is it kind?", "low": 1, "high": 5}
SCORES = [4.6, 2.0, 3.2, 1.4, 5.0, 2.6]


@pytest.fixture
def store(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> EvaluationStore:
    start_no_processes(monkeypatch)
    return EvaluationStore(catalog.workspace)


def made_model(catalog: Catalog) -> None:
    """A model by name that nobody asks."""
    ModelRegistry(catalog).add_remote(
        "http://far.example", "m", {"models": ["m"], "remote_model": "m", "lacks": {}, "latency_ms": 1.0}
    )


def graded_run(
    store: EvaluationStore, scores: list[float] = SCORES, said: str = "answer", name: str = "kind",
    column: dict[str, Any] | None = None, costs: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    """A finished run of a suite with a judge, as the job leaves it."""
    body = {"cases": [{"q": f"question {i}"} for i in range(len(scores))], "metrics": [JUDGE], "models": ["m"]}
    suite = check_suite(body, name)
    version = store.save_suite(suite)
    (entry,) = store.start(version, [Asked("", "m" if column is None else "other", column or {})])  # type: ignore[arg-type]
    log = ResultLog(entry.results)
    for i, score in enumerate(scores):
        asked = ({"role": "user", "content": f"question {i}"},)
        case = Case(i, f"key{i}", {"q": f"question {i}"}, group=f"key{i}", origin=f"key{i}")
        log.add(Result(case, 0, Answer(text=f"{said} {i}", asked=asked), {"judge": Score(score)}))  # type: ignore[arg-type]
    log.close()
    summary = summarise(list(log.done.values()), suite.made_metrics(), 1.0)
    summary["costs"] |= costs or {}  # type: ignore[typeddict-item]
    told = {"metrics": {"judge": "x"}}
    store.finish(entry.name, MANIFEST | told, summary, sha256_file(entry.results))  # type: ignore[arg-type]
    end_processes()
    return entry.name


def by_case(sheet: GradeSheet) -> dict[int, str]:
    return {item.result.case.index: id_ for id_, item in sheet.items.items()}


def say(sheet: GradeSheet, grades: list[int | None]) -> None:
    ids = by_case(sheet)
    sheet.say_all({ids[i]: str(grade) for i, grade in enumerate(grades) if grade is not None})


def test_a_sheet_is_blind_and_in_an_order_of_its_own(store: EvaluationStore) -> None:
    names = [graded_run(store, said=said) for said in ("old", "new")]
    anna, ben = (grade_sheet(store, names, who) for who in ("anna", "ben"))
    assert anna.criterion == Criterion("judge", "Is it kind?", 1, 5, "judge")
    # Both versions' answers, mixed; nothing of what is shown says which is which, and the order is no run's.
    lines = lines_of(anna)
    assert len(lines) == 12
    assert not any(name in json.dumps(line) for line in lines for name in (*names, "MANIFEST"))
    assert set(lines[0]) == {"item", "question", "context", "expected", "answer", "grade"}
    assert sorted(anna.queue()) == sorted(ben.queue())
    assert anna.queue() != ben.queue()
    assert anna.queue() == grade_sheet(store, names[::-1], "anna").queue()


def test_two_people_at_once_lose_nothing_and_their_agreement_is_that_by_hand(store: EvaluationStore) -> None:
    name = graded_run(store)
    anna = [5, 2, 3, 1, 5, None]
    ben = [4, 2, 3, 2, 5, 3]
    sheets = {who: grade_sheet(store, [name], who) for who in ("anna", "ben")}

    def work(who: str, grades: list[int | None]) -> None:
        ids = by_case(sheets[who])
        for i, grade in enumerate(grades):
            if grade is not None:
                sheets[who].say(ids[i], str(grade))

    threads = [threading.Thread(target=work, args=given) for given in (("anna", anna), ("ben", ben))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = agreement_of(sheets["anna"])
    assert found["graders"] == {"anna": 5, "ben": 6}
    assert found["with_several"] == 5
    # By hand, over the five both graded: agreed 3/5; by chance (5: 2·1 + 2: 1·2 + 3: 1·1 + 4: 0 + 1: 0)/25 = 5/25.
    pair = found["pairs"]["anna · ben"]
    assert pair["n"] == 5
    assert pair["kappa"] == pytest.approx((3 / 5 - 5 / 25) / (1 - 5 / 25))
    # Squares (5-4)² + (1-2)² = 2 over 5; by chance the mean over all 25 pairs.
    chance = sum((a - b) ** 2 for a in (5, 2, 3, 1, 5) for b in (4, 2, 3, 2, 5)) / 25
    assert pair["kappa_quadratic"] == pytest.approx(1 - (2 / 5) / chance)
    # The judge beside: with ben over six; rounded 5 2 3 1 5 3 against 4 2 3 2 5 3: 4/6; by chance (2·1+1·2+2·2)/36 = 8/36.
    judge = found["judge"]["ben"]
    assert judge["kappa"] == pytest.approx((4 / 6 - 8 / 36) / (1 - 8 / 36))
    squares = sum((a - b) ** 2 for a, b in zip(SCORES, ben, strict=True)) / 6  # type: ignore[operator]
    spread = sum((a - b) ** 2 for a in SCORES for b in ben) / 36  # type: ignore[operator]
    assert judge["kappa_quadratic"] == pytest.approx(1 - squares / spread)
    assert found["judge_mean"] is not None
    assert found["judge_mean"]["n"] == 6


def test_another_screen_of_the_same_person_is_seen_and_undone_words_come_again(store: EvaluationStore) -> None:
    name = graded_run(store)
    one, other = (grade_sheet(store, [name], "anna") for _ in range(2))
    first = one.queue()[0]
    one.say(first, "3")
    assert first not in other.queue()
    # Of two words the later counts; only what was said here is taken back here.
    other.say(first, "4")
    assert one.own() == {first: "4"}
    assert other.undo() == first
    assert one.own() == {first: "3"}
    assert other.undo() is None
    for value in ("0", "6", "good"):
        with pytest.raises(InputRefusedError):
            one.say(first, value)
    with pytest.raises(InputRefusedError):
        one.say("nothing", "3")


def fill_in(sheet: Path, to: Path, grades: dict[str, str]) -> None:
    """What somebody does with a sheet elsewhere."""
    if sheet.suffix == ".jsonl":
        rows = [json.loads(line) for line in sheet.read_text().splitlines()]
        to.write_text("".join(json.dumps(row | {"grade": grades.get(row["item"], "")}) + "\n" for row in rows))
        return
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with to.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"grade": grades.get(row["item"], "")} for row in rows)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_sheet_is_filled_in_elsewhere_all_of_it_or_nothing(
    store: EvaluationStore, tmp_path: Path, suffix: str
) -> None:
    sheet = grade_sheet(store, [graded_run(store)], "anna")
    path = tmp_path / f"sheet{suffix}"
    assert write_sheet(sheet, path) == 6
    with pytest.raises(InputRefusedError, match="already exists"):
        write_sheet(sheet, path)
    first, second = sheet.queue()[:2]
    wrong, right = tmp_path / f"wrong{suffix}", tmp_path / f"right{suffix}"
    fill_in(path, wrong, {first: "4", second: "9"})
    with pytest.raises(InputRefusedError, match="'9' is not a grade"):
        read_sheet(sheet, wrong)
    assert sheet.own() == {}
    fill_in(path, right, {first: "4", second: "1"})
    assert read_sheet(sheet, right) == (2, 4)
    assert sheet.own() == {first: "4", second: "1"}
    strange = tmp_path / f"strange{suffix}"
    strange.write_text('{"item": "x", "grade": 1}' if suffix == ".jsonl" else "item,grade\nx,1\n")
    with pytest.raises(InputRefusedError, match="row 1: 'x' is not an item"):
        read_sheet(sheet, strange)


def test_no_answer_is_computed_by_a_spreadsheet(store: EvaluationStore, tmp_path: Path) -> None:
    name = graded_run(store, said="=1+1")
    sheet = grade_sheet(store, [name], "anna")
    for suffix, mark in ((".csv", "'"), (".jsonl", "")):
        path = tmp_path / f"sheet{suffix}"
        write_sheet(sheet, path)
        text = path.read_text()
        rows = list(csv.DictReader(path.open())) if mark else [json.loads(line) for line in text.splitlines()]
        assert all(row["answer"].startswith(f"{mark}=1+1 ") for row in rows)
    export(store.get(name), tmp_path / "run.csv")
    assert all(row["output"].startswith("'=1+1 ") for row in csv.DictReader((tmp_path / "run.csv").open()))


def test_runs_whose_judges_differ_are_not_graded_together_also_where_no_criterion_is_named(
    store: EvaluationStore, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_model(catalog)
    first = graded_run(store)
    monkeypatch.setitem(JUDGE, "rubric", "Is it short?")
    names = [first, graded_run(store)]
    with pytest.raises(InputRefusedError, match="judge in different ways"):
        grade_sheet(store, names, "anna")
    assert grade_sheet(store, names, "anna", criterion="tone").criterion.name == "tone"
    assert grade_sheet(store, names[:1], "anna").criterion.question == "Is it kind?"


def test_criteria_are_those_of_the_runs_or_of_people() -> None:
    judge, exact, rouge = (make_metric(entry) for entry in (JUDGE, "exact", "rouge"))
    assert criterion_of([exact, judge]).name == "judge"
    assert criterion_of([exact], "exact").points == range(2)
    assert criterion_of([exact]) == Criterion("quality", "How good is the answer?", 1, 5)
    assert criterion_of([], "tone", "0-3", "Polite?") == Criterion("tone", "Polite?", 0, 3)
    for metrics, name, scale in (
        ([judge], "judge", "1-3"),
        ([rouge], "rougeL", ""),
        ([], "x", "5-1"),
        ([], "x", "good"),
    ):
        with pytest.raises(InputRefusedError):
            criterion_of(metrics, name, scale)


# ── votes ──


def test_votes_are_blind_by_place_and_rank_the_runs(store: EvaluationStore) -> None:
    names = [graded_run(store, [3.0] * 8, said=said) for said in ("old", "new")]
    votes = {who: vote_sheet(store, names, who) for who in ("anna", "ben")}
    shown_first = {votes["anna"].shown(id_)[0].run.name for id_ in votes["anna"].items}
    assert shown_first == set(names)
    for who, sheet in votes.items():
        # By number, or by the words that the list of items names.
        one_or_two = ("1", "2") if who == "anna" else sheet.values()[:2]
        for id_ in sheet.items:
            one, _ = sheet.shown(id_)
            index = one.result.case.index
            # Both people prefer the new one, but on two cases; whichever stands first.
            better = names[0] if index < 2 else names[1]
            word = one_or_two[one.run.name != better]
            sheet.say_all(read_words(sheet, [f"{id_}={'tie' if index == 7 else word}"]))
    found = ranking_of(votes["anna"])
    assert [r["run"] for r in found["runs"]] == [names[1], names[0]]
    assert (found["votes"], found["ties"], found["cases"]) == (16, 2, 8)
    assert found["alpha"] == pytest.approx(1.0)
    best, other = found["runs"]
    # Of 16 votes 11 for the new one, ties halved.
    assert best["strength"] is not None
    assert best["strength"] * 2 == pytest.approx(math.log(11 / 5))
    assert other["chance"] == pytest.approx(5 / 16)
    assert other["chance_low"] is not None
    assert 0 < other["chance_low"] < 5 / 16


def contests(wins: dict[tuple[int, int], int]) -> list[Contest]:
    found: list[Contest] = []
    for (winner, loser), count in wins.items():
        # Each vote once in each order, so that being named first is nothing.
        pair = [(winner, loser, 1.0), (loser, winner, 0.0)]
        found += [Contest(*pair[n % 2], len(found) + n) for n in range(count)]
    return found


def test_strengths_of_two_are_those_of_the_closed_form() -> None:
    found = bradley_terry(contests({(0, 1): 30, (1, 0): 12}), 2)
    gap = float(found.values[0] - found.values[1])
    assert gap == pytest.approx(math.log(30 / 12))
    c = found.covariance
    error = math.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1])
    assert error == pytest.approx(math.sqrt((1 / 30 + 1 / 12) * 42 / 41))


def test_the_error_of_many_strengths_is_that_of_one_held_fixed() -> None:
    random = np.random.default_rng(3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    votes = [Contest(*pairs[k], float(random.random() < 0.6), case) for case in range(100) for k in range(3)]
    found = bradley_terry(votes, 3)
    design = np.array([[float(c.first == i) - float(c.second == i) for i in range(3)] for c in votes])
    chance = 1 / (1 + np.exp(-design @ found.values))
    # With the last at 0 the information has an inverse.
    free = design[:, :2]
    inverse = np.linalg.inv(free.T @ (free * (chance * (1 - chance))[:, None]))
    scores = (free * (np.array([c.share for c in votes]) - chance)[:, None]).reshape(100, 3, 2).sum(axis=1)
    theirs = inverse @ scores.T @ scores @ inverse * 100 / 99
    ours = found.covariance
    for i in range(2):
        assert ours[i, i] + ours[2, 2] - 2 * ours[i, 2] == pytest.approx(theirs[i, i], rel=1e-9)
    assert ours.sum() == pytest.approx(0, abs=1e-12)


def test_a_chance_with_a_wide_interval_is_none_or_all() -> None:
    wide = Strengths(np.array([1.0, -1.0]), np.array([[4e6, 0.0], [0.0, 4e6]]), 1)
    assert wide.chance(0, 1) == (pytest.approx(1 / (1 + math.exp(-2))), 0.0, 1.0)
    assert math.isnan(Strengths(np.array([math.nan, math.nan]), np.zeros((2, 2)), 0).chance(0, 1)[0])


def test_strengths_of_many_solve_the_likelihood_and_say_where_there_are_none() -> None:
    wins = {(0, 1): 7, (1, 0): 3, (1, 2): 5, (2, 1): 5, (0, 2): 8, (2, 0): 2, (2, 3): 4, (3, 0): 1}
    found = bradley_terry(contests(wins), 4)
    # At the maximum each has as many wins as are expected of it.
    for player in range(4):
        played = [(w, lo, n) for (w, lo), n in wins.items() if player in (w, lo)]
        other = [(lo if w == player else w, n) for w, lo, n in played]
        expected = sum(n / (1 + math.exp(found.values[o] - found.values[player])) for o, n in other)
        assert expected == pytest.approx(sum(n for w, _, n in played if w == player))
    assert np.isfinite(found.covariance).all()
    assert (
        "lost nothing" in bradley_terry(contests({(0, 1): 5}), 2).reason
        or "won nothing" in bradley_terry(contests({(0, 1): 5}), 2).reason
    )
    assert bradley_terry([], 2).reason == "there are no votes"


# ── what grades are good for ──


def test_graded_answers_become_a_labelled_set_and_examples_for_the_judge(store: EvaluationStore) -> None:
    name = graded_run(store)
    anna, ben = (grade_sheet(store, [name], who) for who in ("anna", "ben"))
    with pytest.raises(InputRefusedError, match="no answer of these runs is graded"):
        make_dataset(anna, "kindness")
    say(anna, [5, 2, 3, 1, 5, None])
    say(ben, [5, 2, 4, 1, 3, None])
    version = make_dataset(anna, "kindness")
    rows = [row for batch in version.read() for _, row in batch]
    assert [(row["answer"], row["grade"], row["graders"]) for row in rows][:3] == [
        ("answer 0", 5.0, 2), ("answer 1", 2.0, 2), ("answer 2", 3.5, 2),
    ]  # fmt: skip
    assert rows[2]["grades"] == {"anna": 3, "ben": 4}
    assert version.recipe.inputs == ((name, store.get(name).results_sha256),)
    # The lowest and the highest first, of each the one on which people agree.
    chosen = examples_from(anna, 3)
    assert [(e.conversation, e.grade) for e in chosen] == [("question 3", 1), ("question 0", 5), ("question 1", 2)]
    taught, count = teach_judge(anna, "kind", 3)
    assert (taught.number, count) == (2, 3)
    (judge,) = taught.suite.made_metrics()
    assert fingerprint(judge) != fingerprint(make_metric(JUDGE))


class Rendering:
    async def render(self, template: str, variables: Any) -> str:
        for name, value in variables.items():
            template = template.replace("{{ " + name + " }}", str(value))
        return template


async def test_a_judge_sees_examples_but_not_that_of_the_case_it_judges() -> None:
    examples = [{"conversation": f"q{i}", "answer": f"a{i}", "grade": i + 1, "expected": f"e{i}"} for i in range(3)]
    judge = make_metric({**JUDGE, "rubric": "Like {{ expected }}?", "examples": examples})
    case = Case(0, "k", {}, expected="e9")
    asked = ({"role": "user", "content": "q1"},)
    sent = await judge.messages(case, Answer("mine", asked=asked), Rendering())  # type: ignore[attr-defined]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [m["content"] for m in sent if m["role"] == "assistant"] == ["1", "3"]
    assert "Like e0?" in sent[1]["content"]
    assert "Like e9?" in sent[-1]["content"]
    assert "mine" in sent[-1]["content"]
    with pytest.raises(InputRefusedError, match="not on the scale"):
        make_metric({**JUDGE, "examples": [{"conversation": "", "answer": "", "grade": 7}]})


def test_a_judge_without_examples_measures_as_before_there_were_any() -> None:
    known = make_metric(JUDGE)
    assert "examples" not in fingerprint(known)
    assert fingerprint(known) == fingerprint(make_metric({**JUDGE, "examples": []}))


def test_grades_go_with_their_run_which_says_so(store: EvaluationStore) -> None:
    names = [graded_run(store, said=said) for said in ("old", "new")]
    grades = grade_sheet(store, names, "anna")
    grades.say_all(dict.fromkeys(grades.items, "3"))
    votes: VoteSheet = vote_sheet(store, names, "anna")
    votes.say_all(dict.fromkeys(votes.items, "tie"))
    with pytest.raises(InputRefusedError, match="12 grades and votes of people"):
        remove_work(store.workspace, Work.EVALUATION, names[1])
    remove_work(store.workspace, Work.EVALUATION, names[1], force=True)
    assert set(grade_sheet(store, names[:1], "anna").own().values()) == {"3"}
    left = store.catalog.read(lambda c: c.execute("SELECT count(*) FROM annotations").fetchone())
    assert left == (6,)
    with pytest.raises(NotFoundError):
        grades.say(next(i for i, item in grades.items.items() if item.run.name == names[1]), "4")
