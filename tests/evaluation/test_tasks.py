"""Standard tasks without their harness: what a task asks for, Inspect's logs, the door to a server, runs that others scored."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.metrics.external import External
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.evaluation.tasks import asking
from llmops_tui.evaluation.tasks.asking import TaskAsked, arguments_of, check_harness, installed
from llmops_tui.evaluation.tasks.door import open_door
from llmops_tui.evaluation.tasks.inspect_task import figures_of, find_program, results_from, run_program, suite_from
from llmops_tui.evaluation.tasks.job import take_figures
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.workspace.catalog import Catalog
from tests.evaluation.conftest import case
from tests.fakes import end_processes, start_no_processes

EXTERNAL = {"type": "external", "name": "acc", "harness": "lm-eval 1", "task": "gsm8k", "metric": "acc", "fewshot": 5}


def test_a_metric_of_a_harness_keeps_what_decides_it_and_is_not_asked_here(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_no_processes(monkeypatch)
    metric = make_metric(EXTERNAL)
    assert isinstance(metric, External)
    assert metric.better == 1
    assert make_metric({**EXTERNAL, "more_is_better": False}).better == -1
    assert metric.told == "lm-eval 1: gsm8k, acc, 5 examples"
    store = EvaluationStore(catalog.workspace)
    version = store.save_suite(check_suite({"cases": [{"q": "?"}], "metrics": [EXTERNAL]}, "gsm8k"))
    with pytest.raises(InputRefusedError, match="is a task of lm-eval 1") as refused:
        store.columns(version.suite, ["m"])
    assert refused.value.hint == "llmops eval task gsm8k --model MODEL"
    # A job that goes on finds the run that it began.
    first = store.reserve(version, Asked("", "m"), "job_x")
    assert store.reserve(version, Asked("", "m"), "job_x").name == first.name
    assert store.reserve(version, Asked("", "m"), "job_y").name != first.name
    end_processes()


def test_figures_that_are_no_means_are_those_of_the_harness() -> None:
    scores = [Score(value) for value in (2.0, 8.0)]
    perplexity = make_metric({**EXTERNAL, "metric": "perplexity", "more_is_better": False, "aggregation": "perplexity"})
    # Of the log-likelihoods -ln 2 and -ln 8 the mean is -ln 4.
    assert perplexity.summarise(scores).interval.value == pytest.approx(4.0)
    assert make_metric(EXTERNAL).summarise(scores).interval.value == 5.0
    # One whose figure is a mean is what it was before there were others.
    assert fingerprint(make_metric({**EXTERNAL, "aggregation": "mean"})) == fingerprint(make_metric(EXTERNAL))
    assert fingerprint(perplexity) != fingerprint(
        make_metric({**EXTERNAL, "metric": "perplexity", "more_is_better": False})
    )
    metrics = [make_metric({**EXTERNAL, "name": name}) for name in ("acc", "f1")]
    kept = [Result(case(i), 0, Answer("a"), {"acc": Score(float(i)), "f1": Score(None, "no number")}) for i in range(2)]
    summary = summarise(kept, metrics, 1.0)
    take_figures(summary, {"acc": 0.5, "f1": 0.75})
    acc, f1 = summary["metrics"]["acc"], summary["metrics"]["f1"]
    assert (acc["mean"], acc["method"]) == (0.5, "Wilson")
    assert (f1["mean"], f1["low"], f1["n"], f1["unusable"]) == (0.75, None, 2, 0)
    assert f1["method"] == "none: the harness's own figure"


def sample(number: int, score: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "epoch": 1, "input": f"question {number}", "target": "4",
        "messages": [
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "4"}],
             "tool_calls": [{"function": "add", "arguments": {"a": 2}}]},
        ],
        "output": {"choices": [{"message": {"content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "4"}]},
                                "stop_reason": "stop"}]},
        "model_usage": {"m": {"input_tokens": 10, "output_tokens": 3}}, "working_time": 0.5,
        "scores": {"match": {"value": score, "explanation": "because"}}, **more,
    }  # fmt: skip


def test_a_log_of_inspect_becomes_a_suite_and_results() -> None:
    log = {
        "status": "success", "eval": {"packages": {"inspect_ai": "0.3"}, "task_version": 2},
        "samples": [
            sample(1, "C"), sample(2, "I"), sample(3, "P", epoch=1), sample(1, 0.25, epoch=2), sample(4, True),
            sample(5, {"a": 1, "b": "N"}), sample(6, "maybe"), sample(7, "C", error={"message": "gone"}),
        ],
    }  # fmt: skip
    suite = suite_from(log, "/x/sums.py@adding", None)
    assert suite.name == "sums-adding"
    assert [m.called for m in suite.made_metrics()] == ["match", "match-a", "match-b"]
    cases = build_cases(suite, None).cases  # type: ignore[arg-type]
    found = results_from(log, suite, cases)
    values = [r.scores["match"].value for r in found]
    assert values == [1.0, 0.0, 0.5, 0.25, 1.0, None, None, 1.0]
    assert (found[3].repeat, found[3].case.index) == (1, 0)
    assert (found[5].scores["match-a"].value, found[5].scores["match-b"].value) == (1.0, 0.0)
    answer = found[0].answer
    assert (answer.text, answer.thinking, answer.prompt_tokens, answer.total_ms) == ("4", "hm", 10, 500.0)
    assert answer.calls == ({"name": "add", "arguments": {"a": 2}},)
    assert [m["role"] for m in answer.asked] == ["user"]
    assert found[7].answer.error == "gone"
    # Of a run with a limit the log has those samples alone, and the suite's name says so.
    assert suite_from(log, "sums", 7).name == "sums-first-7"
    with pytest.raises(LlmopsError, match="no samples"):
        suite_from({"samples": []}, "sums", None)


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_what_inspect_prints_is_taken_where_it_is_no_mean_of_scores() -> None:
    def entry(scorer: str, name: str, **metrics: float) -> dict[str, Any]:
        return {"scorer": scorer, "name": name, "metrics": {k: {"name": k, "value": v} for k, v in metrics.items()}}

    scores = [
        entry("match", "match", stderr=0.1, accuracy=0.5), entry("match", "match", accuracy=0.9),
        entry("judge", "tone", std=2.0, mean=3.5), entry("own", "own", stderr=0.1, f1=0.7), entry("odd", "odd", stderr=0.1),
    ]  # fmt: skip
    assert figures_of({"results": {"scores": scores}}) == {"match": 0.5, "judge-tone": 3.5, "own": 0.7}
    assert figures_of({}) == {}


def test_a_program_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    context: Any = SimpleNamespace(folder=tmp_path, report=lambda *_: None)
    failing = program(tmp_path / "failing", "echo no such task >&2; exit 3")
    with pytest.raises(LlmopsError, match="ended with 3: no such task"):
        run_program(context, failing, "t", "m", "http://x", "k", 2, 4)
    log = json.dumps({"status": "error", "error": {"message": "the model is gone"}})
    odd = program(tmp_path / "odd", f"""while [ "$1" != --log-dir ]; do shift; done; echo '{log}' > "$2/log.json\"""")
    with pytest.raises(LlmopsError, match="the model is gone"):
        run_program(context, odd, "t", "m", "http://x", "k", None, 4)
    assert find_program(odd) == odd
    for harness, given in (("inspect", "/nowhere/inspect"), ("garak", "")):
        with pytest.raises(InputRefusedError):
            check_harness(harness, given)


def test_a_door_passes_what_comes_to_the_socket_and_closes(tmp_path: Path) -> None:
    place = tmp_path / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place))
    server.listen()

    def answer() -> None:
        connection, _ = server.accept()
        connection.sendall(b"got " + connection.recv(100))
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    handle = ServerHandle("m", "sha", str(place), "key", None)  # type: ignore[arg-type]
    with open_door(handle) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b"got hello"
    thread.join()
    server.close()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port))


def test_what_is_asked_of_a_harness_is_checked_before_a_job_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = program(tmp_path / "inspect", "exit 0")
    data, train, task = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "sums.py"
    for path in (data, train, task):
        path.write_text("{}\n")
    monkeypatch.setattr(asking, "find_spec", lambda _name: object())
    given = arguments_of(TaskAsked(task=" gsm8k ", model="m", files=(str(data), f"train={train}"), limit=3))
    assert (given["task"], given["limit"], given["fewshot"]) == ("gsm8k", 3, None)
    assert given["files"] == {"test": str(data), "train": str(train)}
    theirs = arguments_of(TaskAsked(harness="inspect", task=f"{task}@adding", model="m", program=inspect))
    assert theirs["task"] == f"{task}@adding"
    for asked, why in (
        (TaskAsked(model="m"), "no task"),
        (TaskAsked(task="t"), "no model"),
        (TaskAsked(task="t", model="m", program=inspect), "a program is not for lm-eval"),
        (TaskAsked(task="t", model="m", harness="inspect", program=inspect, chat=True), "template is not for inspect"),
        (
            TaskAsked(task="t", model="m", harness="inspect", program=inspect, files=(str(data),)),
            "data file is not for",
        ),
        (TaskAsked(task="t", model="m", harness="inspect", program=inspect, fewshot=0), "examples is not for"),
        (TaskAsked(task="t", model="m", harness="inspect", program=inspect, fresh=True), "asking again is not for"),
        (TaskAsked(task="t", model="m", files=("/nowhere/x.jsonl",)), "is no file"),
        (TaskAsked(task="t", model="m", files=(f"train={train}",)), "no file is what is asked"),
        (TaskAsked(task="t", model="m", files=(str(data), str(train))), "two files"),
    ):
        with pytest.raises(InputRefusedError, match=why):
            arguments_of(asked)


def test_what_is_installed_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(asking, "find_spec", lambda _name: None)
    monkeypatch.setattr(asking.find_program.__globals__["shutil"], "which", lambda _name: None)
    monkeypatch.setattr(asking.find_program.__globals__["sys"], "executable", str(tmp_path / "python"))
    told = installed()
    assert told["lm-eval"] == "not installed. Install it: pip install 'llmops-tui[tasks]'"
    assert told["inspect"].startswith("not installed. Install it in an environment of its own")
