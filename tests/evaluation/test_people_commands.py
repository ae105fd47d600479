"""The commands around runs: grades and votes, what is known before a run, the card, attacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.workspace.catalog import Catalog
from tests.commands import Llmops
from tests.evaluation.test_grading import fill_in, graded_run, made_model
from tests.fakes import start_no_processes


@pytest.fixture
def store(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> EvaluationStore:
    start_no_processes(monkeypatch)
    made_model(catalog)
    return EvaluationStore(catalog.workspace)


def test_people_grade_and_vote_by_commands(store: EvaluationStore, tmp_path: Path) -> None:
    old, new = (graded_run(store, said=said) for said in ("old", "new"))
    llmops = Llmops(store.workspace)
    listed = llmops.run("eval", "grade", old, new, "--grader", "anna", "--list", "--limit", "3")
    assert (listed["question"], listed["values"], listed["total"]) == ("Is it kind?", ["1", "2", "3", "4", "5"], 12)
    assert len(listed["items"]) == 3
    assert old not in json.dumps(listed["items"])
    one = listed["items"][0]["item"]
    said = llmops.run("eval", "grade", old, new, "--grader", "anna", "--say", f"{one}=4")
    assert (said["done"], said["of"], said["graders"]) == (1, 12, {"anna": 1})
    refused = llmops.run("eval", "grade", old, new, "--grader", "anna", "--say", f"{one}=9", code=3)
    assert "'9' is not a grade" in json.dumps(refused)
    sheet, filled = tmp_path / "sheet.jsonl", tmp_path / "filled.jsonl"
    assert llmops.run("eval", "grade", old, new, "--grader", "ben", "--export", str(sheet))["items"] == 12
    fill_in(sheet, filled, {one: "5"})
    both = llmops.run("eval", "grade", old, new, "--grader", "ben", "--import", str(filled))
    assert both["pairs"]["anna · ben"]["n"] == 1
    assert both["judge"]["ben"]["n"] == 1
    kept = llmops.run("eval", "grade", old, new, "--to-dataset", "kindness", "--grader", "anna")
    assert kept["rows"] == 1
    taught = llmops.run("eval", "grade", old, new, "--grader", "anna", "--teach", "2")
    assert (taught["version"], taught["examples"]) == (2, 1)
    both_asked = llmops.run("eval", "grade", old, "--to-dataset", "other", "--teach", "2", code=3)
    assert "--to-dataset and --teach exclude each other" in json.dumps(both_asked)
    pairs = llmops.run("eval", "vote", old, new, "--grader", "anna", "--list")["items"]
    words = [f"{line['item']}={'1' if line['answer_1'].startswith('new') else '2'}" for line in pairs[:4]]
    words.append(f"{pairs[4]['item']}=tie")
    ranked = llmops.run("eval", "vote", old, new, "--grader", "anna", *(x for w in words for x in ("--say", w)))
    assert [run["run"] for run in ranked["runs"]] == [new, old]
    assert (ranked["votes"], ranked["ties"]) == (5, 1)


def test_what_would_be_left_undone_is_refused(store: EvaluationStore) -> None:
    name, llmops = graded_run(store), Llmops(store.workspace)
    for words in (
        ("grade", name, "--list", "--to-dataset", "kept"),
        ("grade", name, "--teach", "2", "--to-dataset", "kept"),
        ("vote", name, name, "--list", "--export", "sheet.csv"),
        ("redteam", "--each", "3"),
    ):
        assert llmops.run("eval", *words, code=3)["error"]["code"] == "bad_option"


def test_before_a_run_and_after_it(store: EvaluationStore) -> None:
    name = graded_run(store)
    llmops = Llmops(store.workspace)
    found = llmops.run("eval", "plan", "kind", "--effect", "0.5")
    assert found["power"][0]["needed"] > 6
    assert found["cost"]["measured"] == name
    assert "bad_effect" in json.dumps(llmops.run("eval", "plan", "kind", "--effect", "0", code=3))
    assert llmops.run("eval", "card", name)["costs"]["seconds"] == 1.0


def test_attacks_are_made_by_a_command(store: EvaluationStore) -> None:
    llmops = Llmops(store.workspace)
    made = llmops.run("eval", "redteam", "--kind", "base64", "--kind", "plain")
    assert (made["suite"], made["attacks"], made["kinds"]) == ("redteam@1", 24, {"plain": 12, "base64": 12})
    drawn = llmops.run("eval", "redteam", "--limit", "10", "--seed", "3")
    assert drawn["attacks"] == 10
    name = graded_run(store)
    assert "nothing_found" in json.dumps(llmops.run("eval", "redteam-keep", name, code=3))
