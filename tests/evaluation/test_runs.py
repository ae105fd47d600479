"""Runs on the sample model: whole, cached, killed and gone on with, refused, judged, exported, checked against rules."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import random
import shutil
import signal
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.run_comparison import verdict_on
from llmops_tui.evaluation.runner.results import ResultLog, read_results
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from llmops_tui.workspace.trust import trust
from tests.commands import Llmops
from tests.evaluation.conftest import results
from tests.waiting import may_wait, wait_for

TRIAGE: dict[str, Any] = {
    "cases": "triage-test", "variables": {"message": "messages[1].content"}, "expected": "messages[2].content",
    "prompt": "triage", "parameters": {"temperature": 0, "max_tokens": 24}, "limit": 40,
    "metrics": ["exact", {"type": "edit-similarity"}],
}  # fmt: skip


def write(tmp_path: Path, name: str = "small", **changes: Any) -> str:
    path = tmp_path / f"{name}.yaml"
    path.write_text(json.dumps(TRIAGE | changes))
    return str(path)


@pytest.fixture(scope="module")
def asked_once(tmp_path_factory: pytest.TempPathFactory, filled_once: Path) -> Iterator[Workspace]:
    """One workspace, and with it one server of each model, for the tests that have names of their own in it."""
    root = tmp_path_factory.mktemp("asked") / "ws"
    shutil.copytree(filled_once, root)
    workspace = Workspace(root)
    yield workspace
    supervisor = ServerSupervisor(workspace)
    for handle in supervisor.running():
        supervisor.stop(handle.model)


@pytest.fixture
def shared(asked_once: Workspace) -> Llmops:
    """The command line on it."""
    trust(asked_once)
    return Llmops(asked_once)


def test_a_suite_is_run_looked_at_and_compared(llmops: Llmops, tmp_path: Path) -> None:
    suite = write(tmp_path, slices={"intent": "expected.intent"})
    first = llmops.run("eval", "run", suite, "--model", "support-base")
    assert first["run"] == "small-1"
    assert first["cases"] == 40
    assert set(first["metrics"]["exact"]) >= {"mean", "low", "high", "n"}
    assert first["metrics"]["exact"]["n"] == 40
    assert first["cached"] == 0
    assert first["costs"]["completion_tokens"] > 40
    # The same again asks nothing; another prompt does.
    again = llmops.run("eval", "run", "small", "--model", "support-base")
    assert again["cached"] == 40
    assert again["costs"]["completion_tokens"] == 0
    assert again["metrics"]["edit-similarity"]["mean"] == first["metrics"]["edit-similarity"]["mean"]
    other = llmops.run("eval", "run", "small", "--model", "support-base", "--prompt", "triage@1")
    assert other["cached"] == 0
    found = llmops.run("eval", "compare", "small-1", "small-3")
    assert found["changed"] == ["prompt"]
    assert found["metrics"][0]["n"] == 40
    assert {s["by"] for s in found["slices"]} == {"intent"}
    assert all(s["few"] for s in found["slices"])
    store = EvaluationStore(llmops.workspace)
    for told in found["metrics"]:
        assert verdict_on(store, "small-1", "small-3", told["metric"]) == told["verdict"]
    several = llmops.run("eval", "compare", "small-1", "small-2", "small-3")["comparisons"]
    assert [c["candidate"] for c in several] == ["small-2", "small-3"]
    same = llmops.run("eval", "compare", "small-1", "small-2")
    assert "the same experiment" in same["notes"][0]
    failures = llmops.run("eval", "show", "small-1", "--failures", "--limit", "5")
    assert failures["total"] == 40
    assert len(failures["failures"]) == 5
    trace = failures["failures"][0]["trace"]
    traced = llmops.run("sql", f"SELECT output FROM requests WHERE id = '{trace}'")
    assert failures["failures"][0]["output"] in json.dumps(traced)
    assert [r["run"] for r in llmops.run("eval", "list")["runs"]] == ["small-3", "small-2", "small-1"]
    assert "small" in {s["suite"] for s in llmops.run("eval", "suites")["suites"]}


@pytest.mark.slow
def test_a_matrix_is_a_run_for_each_column(shared: Llmops, tmp_path: Path) -> None:
    suite = write(tmp_path, "matrix", limit=5, parameters=[{"max_tokens": 4}, {"max_tokens": 8}])
    made = shared.run(
        "eval", "run", suite, "--model", "support-base", "--model", "support-base-q4", "--prompt", "triage"
    )
    assert [(r["model"], r["parameters"]["max_tokens"]) for r in made["runs"]] == [
        ("support-base", 4),
        ("support-base", 8),
        ("support-base-q4", 4),
        ("support-base-q4", 8),
    ]


@pytest.mark.slow
def test_repeats_chains_choices_variations_and_early_stops(shared: Llmops, tmp_path: Path) -> None:
    repeated = shared.run(
        "eval",
        "run",
        write(tmp_path, "repeated", limit=6, repeats=3, parameters={"temperature": 1, "max_tokens": 8}),
        "--model",
        "support-base",
    )
    assert repeated["metrics"]["exact"]["n"] == 6
    store = EvaluationStore(shared.workspace)
    assert len(read_results(store.get("repeated-1").results)) == 18
    summary = store.get("repeated-1").summary
    assert summary is not None
    assert 0 <= summary["agreement"]["mean"] < 1
    shared.run("prompt", "save", "second", "--text", "{{first}} Again: {{message}}")
    chained = write(
        tmp_path, "chained", limit=4, prompt="", chain=[{"prompt": "triage", "save": "first"}, {"prompt": "second"}]
    )
    shared.run("eval", "run", chained, "--model", "support-base")
    assert store.get("chained-1").manifest["prompt"] == ["triage@3", "second@1"]
    choices = ["refund", "delivery", "cancel", "invoice", "exchange"]
    chosen = shared.run(
        "eval",
        "run",
        write(
            tmp_path,
            "chosen",
            limit=6,
            expected="messages[2].content.intent",
            choices=choices,
            metrics=["choice", {"type": "choice", "normalise": True}, "calibration"],
        ),
        "--model",
        "support-base",
    )
    assert set(chosen["metrics"]) >= {"choice", "choice-norm", "calibration"}
    result = read_results(store.get("chosen-1").results)[0]
    assert len(result.answer.choice_logprobs) == 5
    assert all(p < 0 for p in result.answer.choice_logprobs)
    varied = shared.run(
        "eval",
        "run",
        write(tmp_path, "varied", limit=8, vary=[{"kind": "typos"}, {"kind": "upper"}]),
        "--model",
        "support-base",
    )
    assert varied["cases"] == 8
    assert [v["variation"] for v in varied["variations"]] == ["typos", "upper"]
    early = write(tmp_path, "early", limit=200, until={"metric": "exact", "half_width": 0.05, "at_least": 25})
    shared.run("eval", "run", early, "--model", "support-base")
    stopped = store.get("early-1").summary
    assert stopped is not None
    assert stopped["stopped_early"]
    assert stopped["cases"] < 200 == stopped["of"]


def kill_job(store: EvaluationStore, name: str, after: int) -> bool:
    """Kill the run's process once so many answers are in its file; false where it ended before."""
    run = store.get(name)
    begun, look_again = time.monotonic(), 0.0
    while may_wait(begun, 120):
        now = time.monotonic()
        there = run.results.read_bytes().count(b"\n") if run.results.is_file() else 0
        # Whether it has begun or ended costs a query: asked each time, it would take a core that the run needs.
        if there >= after or now >= look_again:
            job = store.state(run).job
            if job is not None and job.state.final:
                return False
            if there >= after and job is not None and job.process is not None:
                workers = psutil.Process(job.process.pid).children()
                if workers:
                    os.kill(workers[0].pid, signal.SIGKILL)
                    return True
            look_again = time.monotonic() + 0.5
        time.sleep(0.002)
    raise AssertionError("it never got there")


def settled(store: EvaluationStore, name: str) -> str:
    def ended() -> bool:
        job = store.state(store.get(name)).job
        return job is not None and job.state.final

    wait_for(ended)
    return store.state(store.get(name)).state


def wait_for_answers(run: EvalRun, count: int) -> None:
    wait_for(lambda: run.results.is_file() and run.results.read_bytes().count(b"\n") >= count)


def check_kills(workspace: Workspace, points: list[int], cases: int) -> None:
    store = EvaluationStore(workspace)
    body = TRIAGE | {"limit": cases, "metrics": ["exact", "edit-similarity", "length"]}
    whole = store.start(
        store.save_suite(check_suite(body, "whole")), store.columns(check_suite(body, "whole"), ["support-base"])
    )[0]
    assert settled(store, whole.name) == "done"
    expected = {
        r.case.key: (r.answer.text, {n: s.value for n, s in r.scores.items() if n not in {"latency", "tokens-per-s"}})
        for r in read_results(store.get(whole.name).results)
    }
    killed = 0
    for number, point in enumerate(points):
        # Each with a cap of its own on tokens, so that nothing comes from the cache of another; far above any answer.
        varied = check_suite(
            body | {"parameters": {"temperature": 0, "max_tokens": 24, "stop": [f"never{number}"]}}, f"killed{number}"
        )
        run = store.start(store.save_suite(varied), store.columns(varied, ["support-base"]))[0]
        if kill_job(store, run.name, point):
            killed += 1
            assert settled(store, run.name) == "killed"
            store.resume(run.name)
        assert settled(store, run.name) == "done", store.state(store.get(run.name)).as_dict()
        lines = [json.loads(line)["case"]["key"] for line in store.get(run.name).results.read_text().splitlines()]
        assert len(lines) == len(set(lines)) == cases
        found = {
            r.case.key: (
                r.answer.text,
                {n: s.value for n, s in r.scores.items() if n not in {"latency", "tokens-per-s"}},
            )
            for r in read_results(store.get(run.name).results)
        }
        assert found == expected
    assert killed >= len(points) * 3 // 4, killed


@pytest.mark.slow
def test_a_killed_run_goes_on_with_every_case_once(sample: Workspace) -> None:
    check_kills(sample, [10], 30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills(sample: Workspace) -> None:
    chance = random.Random(3)
    check_kills(sample, [0, 1, *sorted(chance.randrange(2, 105) for _ in range(18))], 120)


@pytest.mark.parametrize("cut", [0, 1, 7, 40])
def test_a_torn_line_is_cut_off_and_asked_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "results.jsonl"
    log = ResultLog(path)
    for result in results([1.0, 0.0, None]):
        log.add(result)
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:cut])
    again = ResultLog(path)
    assert sorted(again.done) == [(0, 0), (1, 0), (2, 0)]
    again.close()
    assert path.read_bytes() == whole
    assert read_results(path) == results([1.0, 0.0, None])


@pytest.mark.slow
def test_a_model_that_goes_halfway_leaves_what_was_answered(sample: Workspace) -> None:
    store = EvaluationStore(sample)
    suite = check_suite(TRIAGE | {"limit": 200}, "gone")
    run = store.start(store.save_suite(suite), store.columns(suite, ["support-base"]))[0]
    wait_for_answers(run, 20)
    model = store.registry.get("support-base")
    away = model.path.with_suffix(".away")
    model.path.rename(away)
    ServerSupervisor(sample).stop("support-base")
    assert settled(store, run.name) == "failed"
    state = store.state(store.get(run.name))
    assert state.job is not None
    assert "the model 'support-base' is not available" in state.job.cause
    assert "llmops job resume" in state.job.cause
    kept = len(read_results(run.results))
    assert 20 <= kept < 200
    assert not any(r.answer.error for r in read_results(run.results))
    away.rename(model.path)
    store.resume(run.name)
    assert settled(store, run.name) == "done"
    assert len(read_results(run.results)) == 200


@pytest.mark.slow
def test_a_server_that_is_killed_is_started_again(sample: Workspace) -> None:
    store = EvaluationStore(sample)
    suite = check_suite(TRIAGE | {"limit": 150}, "restarted")
    run = store.start(store.save_suite(suite), store.columns(suite, ["support-base"]))[0]
    wait_for_answers(run, 10)
    handle = ServerSupervisor(sample).find("support-base")
    assert handle is not None
    os.kill(handle.process.pid, signal.SIGKILL)
    assert settled(store, run.name) == "done"
    found = read_results(run.results)
    assert len(found) == 150
    assert not any(r.answer.error for r in found)


@pytest.mark.slow
def test_a_judge_that_answers_nonsense_is_shown_and_not_counted(shared: Llmops, tmp_path: Path) -> None:
    # The sample knows no grades: it gives the scale next to none of its probability.
    judge = {"type": "judge", "model": "support-base", "rubric": "Is the answer polite?"}
    found = shared.run(
        "eval", "run", write(tmp_path, "judged", limit=6, metrics=["exact", judge]), "--model", "support-base"
    )
    assert found["metrics"]["judge"]["unusable"] == 6
    assert found["metrics"]["judge"]["mean"] is None
    assert found["manifest"]["judges"]["judge"]["prompt"] == "judge-judge@1"
    assert shared.run("prompt", "show", "judge-judge")["system"].startswith("You grade answers")
    pairs = shared.run("eval", "pairwise", "judged-1", "judged-1", "--judge", "support-base")
    assert pairs["unusable"] == 6


@pytest.mark.slow
def test_refusals_of_single_requests_are_told(shared: Llmops, tmp_path: Path) -> None:
    cases = [{"text": "kettle " * 3000, "expected": "x"}, {"text": "hello", "expected": "y"}]
    shared.run("prompt", "save", "plain", "--text", "{{text}}")
    path = tmp_path / "long.yaml"
    path.write_text(
        json.dumps({"cases": cases, "prompt": "plain", "metrics": ["exact"], "parameters": {"max_tokens": 4}})
    )
    found = shared.run("eval", "run", str(path), "--model", "support-base")
    assert found["errors"] == 1
    assert found["metrics"]["exact"]["unusable"] == 1
    path.write_text(json.dumps({"cases": cases[:1], "prompt": "plain", "metrics": ["exact"]}))
    refused = shared.run("eval", "run", str(path), "--model", "support-base", code=1)
    assert refused["error"]["code"] == "all_failed"


@pytest.mark.parametrize(("changes", "code", "says"), [
    ({"variables": {"message": "nothing"}}, 1, "has no nothing"), ({"metrics": [{"type": "judge", "model": "nobody", "rubric": "r"}]}, 3, "nobody"), ({"prompt": "unknown"}, 3, "unknown"), ({"metrics": ["exakt"]}, 3, "exakt"),
    ({"cases": "no-such-data"}, 3, "no-such-data"), ({"variables": {}, "expected": "x"}, 1, "has no x"),
])  # fmt: skip
def test_what_cannot_be_run_says_why(
    shared: Llmops, tmp_path: Path, changes: dict[str, Any], code: int, says: str
) -> None:
    found = shared.run("eval", "run", write(tmp_path, "wrong", **changes), "--model", "support-base", code=code)
    assert says in found["error"]["message"]


@pytest.mark.slow
def test_training_data_among_the_cases_is_shown(sample: Workspace, tmp_path: Path) -> None:
    store = EvaluationStore(sample)
    model, data = store.registry.get("support-base"), store.datasets.get("triage")
    store.catalog.write(
        lambda connection: record_edges(connection, output=model.sha256, kind="train", recipe="r", inputs=[data.sha256])
    )
    found = Llmops(sample).run("eval", "run", write(tmp_path, cases="triage", limit=30), "--model", "support-base")
    assert found["cases"] == 30
    overlap = (store.get("small-1").summary or {})["overlap"]
    assert overlap["ancestors"][0]["dataset"] == "triage@1"
    assert overlap["rows"] == 30
    assert overlap["clean"] == 0


@pytest.mark.slow
def test_a_gate_for_the_shell_and_before_a_label_moves(llmops: Llmops, tmp_path: Path) -> None:
    rules = ["edit-similarity better than baseline", "edit-similarity >= 0.01"]
    suite = write(tmp_path, "gated", rules=rules)
    refused = llmops.run("prompt", "tag", "triage@3", "production", "--gate", "gated", code=3)
    assert refused["error"]["code"] == "suite_not_found"
    llmops.run("eval", "run", suite, "--model", "support-base", "--prompt", "triage@3")
    assert llmops.run("prompt", "tag", "triage@3", "production", "--gate", "gated")["labels"] == ["production"]
    llmops.run("prompt", "save", "triage", "--text", "Say nothing but xxxxxxxx. {{message}}")
    llmops.run("eval", "run", "gated", "--model", "support-base", "--prompt", "triage@4")
    assert (
        llmops.run("prompt", "tag", "triage@4", "production", "--gate", "gated", code=1)["error"]["code"]
        == "gate_closed"
    )
    verdict = llmops.run(
        "eval", "gate", "gated-2", "--baseline", "gated-1", "--rule", "exact better than baseline", code=1
    )
    assert not verdict["passes"]
    junit = tmp_path / "gate.xml"
    llmops.run("eval", "gate", "gated-1", "--rule", "exact <= 1", "--junit", str(junit))
    assert ET.parse(junit).getroot().get("failures") == "0"
    llmops.run("eval", "gate", "gated-1", "--rule", "exact is fine", code=3)


@pytest.mark.slow
def test_exports_are_read_again(shared: Llmops, tmp_path: Path) -> None:
    shared.run("eval", "run", write(tmp_path, "exported", limit=6), "--model", "support-base")
    for suffix in ("json", "jsonl", "csv", "parquet", "md", "xml"):
        shared.run("eval", "export", "exported-1", "--to", str(tmp_path / f"r.{suffix}"))
    shared.run("eval", "export", "exported-1", "--to", str(tmp_path / "r.csv"), code=3)
    shared.run("eval", "export", "exported-1", "--to", str(tmp_path / "r.doc"), code=3)
    body = json.loads((tmp_path / "r.json").read_text())
    assert body["results"]["exported"]["exact,none"] == 0
    assert body["n-samples"]["exported"] == {"original": 6, "effective": 6}
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert len(rows) == 6
    assert rows[0]["exact"] == "0.0"
    assert duckdb.sql(f"SELECT count(*), sum(exact) FROM '{tmp_path / 'r.parquet'}'").fetchall() == [(6, 0.0)]
    assert ET.parse(tmp_path / "r.xml").getroot().get("failures") == "6"
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 6
    assert "| exact | 0 |" in (tmp_path / "r.md").read_text()


def test_a_full_disk_keeps_what_was_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ResultLog(tmp_path / "results.jsonl")
    one, two = results([1.0, 0.0])
    log.add(one)

    real, calls = os.write, []

    def write(file: int, data: bytes) -> int:
        if calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        # Half of a line still fits.
        calls.append(file)
        return real(file, data[:30])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(LlmopsError, match="No space left"):
            log.add(two)
    log.close()
    again = ResultLog(tmp_path / "results.jsonl")
    assert list(again.done) == [(0, 0)]
    again.add(two)
    again.close()
    assert read_results(tmp_path / "results.jsonl") == [one, two]


def test_damaged_results_are_noticed(shared: Llmops, tmp_path: Path) -> None:
    shared.run("eval", "run", write(tmp_path, "damaged", limit=4), "--model", "support-base")
    run = EvaluationStore(shared.workspace).get("damaged-1")
    data = bytearray(run.results.read_bytes())
    data[len(data) // 2] ^= 1
    run.results.write_bytes(data)
    found = shared.run("eval", "compare", "damaged-1", "damaged-1", code=1)
    assert found["error"]["code"] == "results_damaged"


def test_perplexity_of_a_text(shared: Llmops, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("We open at nine and close at six. Parcels arrive within three days. " * 20)
    whole = shared.run("eval", "perplexity", "--model", "support-base", "--file", str(path), "--tokens")
    assert whole["low"] < whole["perplexity"] < whole["high"]
    assert "".join(t for t, _ in whole["each"]) == path.read_text()
    strided = shared.run(
        "eval", "perplexity", "--model", "support-base", "--file", str(path), "--window", "64", "--stride", "16"
    )
    blunt = shared.run("eval", "perplexity", "--model", "support-base", "--file", str(path), "--window", "64")
    assert strided["tokens"] == blunt["tokens"] == whole["tokens"]
    assert len({found["log_likelihood"] for found in (whole, strided, blunt)}) == 3
    assert sum(p for _, p in whole["each"] if p is not None) == pytest.approx(whole["log_likelihood"])
    assert whole["bits_per_byte"] == pytest.approx(-whole["log_likelihood"] / math.log(2) / whole["bytes"])
    assert whole["byte_perplexity"] == pytest.approx(2 ** whole["bits_per_byte"])
    # Thirteen words each time, and an empty one behind the last blank.
    assert whole["words"] == 20 * 13 + 1
    assert whole["word_perplexity"] == pytest.approx(math.exp(-whole["log_likelihood"] / whole["words"]))
    shared.run("eval", "perplexity", "--model", "support-base", "--file", str(tmp_path / "none"), code=3)


@pytest.mark.slow
def test_the_ladder_of_quantizations(shared: Llmops, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("We open at nine and close at six. Parcels arrive within three days. " * 20)
    found = shared.run(
        "eval", "ladder", "--model", "support-base", "--file", str(path), "--type", "Q6_K", "--type", "Q4_K_M"
    )
    sizes = [s["size_bytes"] for s in found["steps"]]
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < found["steps"][1]["kl"] < found["steps"][2]["kl"]
    assert found["steps"][1]["ratio_low"] <= found["steps"][1]["ratio"] <= found["steps"][1]["ratio_high"]


@pytest.mark.slow
def test_what_was_asked_belongs_to_the_run_and_what_a_judge_was_sent_can_be_read(
    shared: Llmops, tmp_path: Path
) -> None:
    rubric = "Is it as polite as {{ expected }}?"
    judge = {"type": "judge", "model": "support-base", "rubric": rubric, "human": "grade"}
    cases = [{"vars": {"message": f"Hello {i}", "grade": "GRADED"}, "expected": "REFERENCE"} for i in range(4)]
    suite = tmp_path / "quick.yaml"
    body = {"cases": cases, "prompt": "triage@1", "metrics": ["exact", judge, {"type": "regex", "pattern": "^(a+)+$"}]}
    suite.write_text(json.dumps(body | {"parameters": {"temperature": 0, "max_tokens": 4}, "rules": ["exact <= 1"]}))
    tried = shared.run("eval", "run", str(suite), "--model", "support-base", "--limit", "2")
    assert (tried["suite"], tried["cases"], tried["limit"]) == ("quick@1", 2, 2)
    whole = shared.run("eval", "run", "quick", "--model", "support-base")
    assert (whole["suite"], whole["cases"], whole["cached"]) == ("quick@1", 4, 2)
    assert whole["oldest"] is not None
    fresh = shared.run("eval", "run", "quick", "--model", "support-base", "--fresh")
    assert (fresh["cached"], fresh["fresh"]) == (0, True)
    assert shared.run("eval", "gate", tried["run"], code=3)["error"]["code"] == "run_partial"
    assert shared.run("eval", "gate", whole["run"])["passes"]
    (answer,) = shared.run("eval", "show", whole["run"], "--case", "1")["answers"]
    assert "Hello 1" in answer["asked"][-1]["content"]
    sent = json.dumps(answer["scores"]["judge"]["detail"]["sent"])
    assert "Is it as polite as REFERENCE?" in sent
    assert "Hello 1" in sent
    assert "GRADED" not in sent
    assert shared.run("eval", "show", whole["run"], "--case", "9", code=3)["error"]["code"] == "case_not_found"
