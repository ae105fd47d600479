"""A task of Inspect: run by its own program against a model of the workspace, and its log read as a suite and results."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.metrics.external import External
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.jobs.worker import JobContext
from llmops_tui.regular_files import read_regular_text
from llmops_tui.workspace.files import make_folder_within

PROVIDER = "llmops"
_HEADLINES, _SPREADS = ("accuracy", "mean"), frozenset({"stderr", "bootstrap_stderr", "std", "var"})
_LOOK_SECONDS = 0.5
_END_SECONDS = 10.0
_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
# What Inspect counts its words as (``value_to_float`` of its documentation).
_WORDS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def find_program(given: str) -> str:
    """The ``inspect`` program: the one that is named, or one beside this Python, or one of the path.

    Raises:
        InputRefusedError: ``not_installed``.
    """
    beside = Path(sys.executable).with_name("inspect")
    found = shutil.which(given) if given else str(beside) if beside.is_file() else shutil.which("inspect")
    if found is None:
        raise InputRefusedError(
            "not_installed",
            f"the program {given or 'inspect'} is not there",
            "Install it in an environment of its own (pip install inspect-ai openai), and give --program PATH.",
        )
    return found


def run_program(
    context: JobContext, program: str, task: str, model: str, url: str, key: str, limit: int | None, parallel: int
) -> JsonObject:
    """Have Inspect run a task; returns its log.

    Raises:
        LlmopsError: ``harness_failed``, with what it said last. JobCancelledError.
    """
    logs = context.folder / "inspect"
    shutil.rmtree(logs, ignore_errors=True)
    make_folder_within(logs)
    # It looks for files below the folder that it is in.
    file = Path(task)
    place, named = (file.parent, file.name) if file.is_absolute() else (context.folder, task)
    command = [
        program, "eval", named, "--model", f"openai-api/{PROVIDER}/{model}", "--log-format", "json", "--log-dir", str(logs),
        "--display", "none", "--max-connections", str(parallel),
    ]  # fmt: skip
    command += [] if limit is None else ["--limit", str(limit)]
    environment = {
        **os.environ, f"{PROVIDER.upper()}_BASE_URL": f"{url}/v1", f"{PROVIDER.upper()}_API_KEY": key or "none",
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    said = logs / "said.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=place,
            start_new_session=True,
        )
        began = time.monotonic()
        try:
            while process.poll() is None:
                context.report(0.1, f"Inspect is at work, {time.monotonic() - began:,.0f} s")
                time.sleep(_LOOK_SECONDS)
        finally:
            _end(process)
    found = sorted(logs.glob("*.json"))
    told = said.read_text(encoding="utf-8", errors="replace").strip()[-600:]
    if process.returncode or not found:
        raise LlmopsError("harness_failed", f"inspect ended with {process.returncode}: {told}")
    log = parse_json(read_regular_text(found[-1]))
    if not isinstance(log, dict) or log.get("status") != "success":
        why = (log.get("error") or {}).get("message") if isinstance(log, dict) else ""
        raise LlmopsError("harness_failed", f"inspect's run did not succeed: {why or told}")
    return log


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started, where it is still there."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_END_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def suite_from(log: JsonObject, task: str, limit: int | None) -> Suite:
    """The samples of a log as cases, and its scorers as metrics that are scored there.

    A log has only the samples that were asked: a suite of some of them has a name that says so.

    Raises:
        LlmopsError: ``harness_failed``: it has no samples.
    """
    about = log.get("eval") or {}
    samples = _first_epoch(log)
    if not samples:
        raise LlmopsError("harness_failed", "inspect's log has no samples")
    version = str((about.get("packages") or {}).get("inspect_ai") or "")
    metrics = [
        External(
            name=name[:60],
            harness=f"inspect {version}".strip(),
            task=task,
            task_version=str(about.get("task_version") or ""),
            metric=name,
            chat=True,
        ).model_dump()
        for name in _scorers(samples)
    ]
    cases = []
    for sample in samples:
        target = sample.get("target")
        choices = sample.get("choices")
        case = {"messages": list(_input(sample)), "expected": target, "slices": {"id": str(sample.get("id"))}}
        cases.append({**case, "choices": choices} if choices else case)
    file, _, one = task.partition("@")
    bare = "-".join(filter(None, (Path(file).stem, one))) if file.endswith(".py") else task
    name = _NOT_OF_NAMES.sub("-", bare).strip("-.")[:80] or "task"
    whole = limit is None or len(samples) < limit
    body = {"cases": cases, "metrics": metrics, "description": f"Inspect's task {task}"}
    return check_suite(body, name if whole else f"{name}-first-{limit}")


def results_from(log: JsonObject, suite: Suite, cases: Sequence[Any]) -> list[Result]:
    """The samples of a log as results; an epoch is a repeat."""
    places = {str(sample.get("id")): number for number, sample in enumerate(_first_epoch(log))}
    names = [metric.metric for metric in suite.made_metrics() if isinstance(metric, External)]
    found = []
    for sample in log.get("samples") or ():
        case = cases[places[str(sample.get("id"))]]
        flat = _flat(sample)
        scores = {name[:60]: _score(flat.get(name)) for name in names}
        found.append(Result(case, int(sample.get("epoch") or 1) - 1, _answer(sample), scores))
    return found


def figures_of(log: JsonObject) -> dict[str, float]:
    """What Inspect itself prints of each scorer: its accuracy, its mean, or else its first metric that is no spread."""
    found: dict[str, float] = {}
    for score in (log.get("results") or {}).get("scores") or ():
        metrics = score.get("metrics") or {}
        names = [*(name for name in _HEADLINES if name in metrics), *(name for name in metrics if name not in _SPREADS)]
        value = metrics[names[0]].get("value") if names else None
        scorer, name = str(score.get("scorer") or ""), str(score.get("name") or "")
        if isinstance(value, int | float):
            # Of several ways to make one of epochs the first stands.
            found.setdefault((name if name == scorer or not scorer else f"{scorer}-{name}")[:60], float(value))
    return found


def _first_epoch(log: JsonObject) -> list[JsonObject]:
    return [sample for sample in log.get("samples") or () if (sample.get("epoch") or 1) == 1]


def _flat(sample: JsonObject) -> dict[str, JsonObject]:
    """Each score by the name of its scorer; of one with several values each of them."""
    found: dict[str, JsonObject] = {}
    for scorer, score in (sample.get("scores") or {}).items():
        value = score.get("value")
        if isinstance(value, Mapping):
            found |= {f"{scorer}-{name}": {**score, "value": one} for name, one in value.items()}
        else:
            found[str(scorer)] = score
    return found


def _scorers(samples: Sequence[JsonObject]) -> list[str]:
    return list(dict.fromkeys(name for sample in samples for name in _flat(sample)))


def _score(score: JsonObject | None) -> Score:
    if score is None:
        return Score(None, "inspect did not score it")
    value = score.get("value")
    reason = str(score.get("explanation") or "")[:300]
    if isinstance(value, bool | int | float):
        return Score(float(value), reason)
    if isinstance(value, str):
        known = _WORDS.get(value, _WORDS.get(value.lower()))
        if known is not None:
            return Score(known, reason)
        try:
            return Score(float(value), reason)
        except ValueError:
            pass
    return Score(None, f"inspect's score {json.dumps(value)[:100]} is no number")


def _input(sample: JsonObject) -> tuple[ChatMessage, ...]:
    given = sample.get("input")
    if isinstance(given, str):
        return ({"role": "user", "content": given},)
    return tuple({"role": str(m.get("role")), "content": _text(m.get("content"))} for m in given or ())


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in content or () if isinstance(part, Mapping))


def _answer(sample: JsonObject) -> Answer:
    output = sample.get("output") or {}
    choice: JsonObject = next(iter(output.get("choices") or ()), {})
    message = choice.get("message") or {}
    usage: JsonObject = next(iter((sample.get("model_usage") or {}).values()), {})
    talk = [m for m in sample.get("messages") or () if isinstance(m, Mapping)]
    calls = [call for m in talk for call in m.get("tool_calls") or ()]
    error = (sample.get("error") or {}).get("message") or ""
    seconds = sample.get("working_time") or sample.get("total_time")
    asked = talk[:-1] if talk and talk[-1].get("role") == "assistant" else talk
    return Answer(
        text=_text(message.get("content")) or str(output.get("completion") or ""),
        finish_reason=str(choice.get("stop_reason") or ""),
        error=str(error)[:1000],
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        total_ms=None if seconds is None else float(seconds) * 1000,
        thinking="".join(
            str(part.get("reasoning") or "") for part in message.get("content") or () if isinstance(part, Mapping)
        ),
        asked=tuple({"role": str(m.get("role")), "content": _text(m.get("content"))} for m in asked),
        calls=tuple({"name": call.get("function"), "arguments": call.get("arguments")} for call in calls),
    )
