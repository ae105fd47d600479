"""A task of the LM Evaluation Harness: its documents as a suite, its own scoring, its samples as results."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from llmops_tui.datasets.records import dump_json
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.external import Aggregation, External
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.evaluation.tasks.records import TaskArguments
from llmops_tui.foreign_text import JsonObject
from llmops_tui.workspace.files import make_folder_within, write_atomic

if TYPE_CHECKING:
    from llmops_tui.evaluation.tasks.worker.engine_model import EngineModel

_LOADERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
# Exp of more is no number that a double can be.
_MOST_NATS = 700.0
_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def stay_offline(folder: Path) -> None:
    """Have the harness read nothing from the network, and keep what it makes of data files in the job's folder."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "datasets"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A task with the suite that its documents make, and the harness's list of all tasks, which takes ten seconds to make."""

    task: Any
    suite: Suite
    fewshot: int
    manager: Any


def load_task(arguments: TaskArguments, folder: Path) -> Loaded:
    """The task, with its data from the files that were given; ``folder`` is where its configuration is written.

    Raises:
        InputRefusedError: ``unknown_task``, ``no_data``; examples would come from what is asked.
    """
    from lm_eval.tasks import TaskManager

    name = arguments["task"]
    manager = TaskManager()
    if name not in manager.all_tasks:
        close = [known for known in manager.all_tasks if name.lower() in known.lower()][:8]
        raise InputRefusedError(
            "unknown_task",
            f"lm-eval has no task {name!r}",
            f"Similar: {', '.join(close)}." if close else "lm-eval ls tasks lists all of them.",
        )
    source = manager.task_index[name].yaml_path
    if source is None or name not in manager.all_subtasks:
        raise InputRefusedError(
            "several_tasks", f"{name} is a group of tasks, or one made by code", "Name one task of it."
        )
    overrides = _with_files(name, arguments["files"])
    if arguments["fewshot"] is not None:
        overrides["num_fewshot"] = arguments["fewshot"]
    # A configuration that takes the task's own in is how the harness has one changed.
    changed = folder / "task.yaml"
    make_folder_within(folder)
    write_atomic(changed, yaml.safe_dump({"include": str(source), **overrides}).encode())
    try:
        tasks = manager.load([str(changed)])["tasks"]
    except Exception as error:
        hint = "Give the data: --file FILE, and --file train=FILE for its examples." if not arguments["files"] else ""
        raise InputRefusedError(
            "no_data", f"the data of {name} cannot be read here: {type(error).__name__}: {error}"[:600], hint
        ) from error
    if len(tasks) != 1:
        some = ", ".join(sorted(tasks)[:6])
        raise InputRefusedError(
            "several_tasks", f"{name} is a group of {len(tasks)} tasks", f"Name one of them: {some} …"
        )
    task = next(iter(tasks.values()))
    config = task.config
    fewshot = int(config.num_fewshot or 0)
    asked = config.test_split or config.validation_split
    if fewshot and arguments["files"] and "train" not in arguments["files"] and config.fewshot_split != asked:
        raise InputRefusedError(
            "no_examples",
            f"{name} shows {fewshot} examples from its split {config.fewshot_split or 'train'}, and no file has it",
            "Give --file train=FILE, or --fewshot 0.",
        )
    return Loaded(task, _suite_of(arguments, task, fewshot), fewshot, manager)


def _with_files(name: str, files: Mapping[str, str]) -> JsonObject:
    """The task's configuration, with local files in the place of its data."""
    if not files:
        return {"task": name}
    asked = files["test"]
    loader = _LOADERS.get(Path(asked).suffix)
    if loader is None:
        raise InputRefusedError("bad_suffix", f"{asked}: the suffix is none of {', '.join(_LOADERS)}")
    splits = {"test": asked, "validation": asked, "train": asked, **files}
    return {
        "task": name, "dataset_path": loader, "dataset_name": None, "dataset_kwargs": {"data_files": splits},
    }  # fmt: skip


def _suite_of(arguments: TaskArguments, task: Any, fewshot: int) -> Suite:
    """The task's documents as cases, and its metrics as ones that are scored there."""
    config = task.config
    cases = []
    for document in task.eval_docs:
        plain = {name: _plain(value) for name, value in document.items()}
        cases.append({"vars": plain, "expected": _plain(task.doc_to_target(document))})
    higher = task.higher_is_better()
    filters = [found.name for found in task._filters] or ["none"]  # noqa: SLF001  the harness has no other name for them
    told = str((config.metadata or {}).get("version", "")) if isinstance(config.metadata, Mapping) else ""
    aggregations = task.aggregation()
    metrics = [
        External(
            name=_called(metric, found),
            harness=f"lm-eval {version('lm_eval')}",
            task=arguments["task"],
            task_version=told,
            metric=metric,
            filter="" if found == "none" else found,
            fewshot=fewshot,
            chat=arguments["chat"],
            more_is_better=bool(higher.get(metric, True)),
            aggregation=_aggregation(aggregations[metric]),
        ).model_dump(exclude={"aggregation"} if _aggregation(aggregations[metric]) == "mean" else None)
        for found in filters
        for metric in aggregations
    ]
    name = _NOT_OF_NAMES.sub("-", arguments["task"]).strip("-.")[:90]
    body = {"cases": cases, "metrics": metrics, "description": f"lm-eval's task {arguments['task']}"}
    return check_suite(body, name or "task")


def _aggregation(function: Any) -> Aggregation:
    """How a figure is made of what the harness has of each document."""
    from lm_eval.api.metrics import mean, perplexity

    return "mean" if function is mean else "perplexity" if function is perplexity else "harness"


def _called(metric: str, found: str) -> str:
    return (metric if found == "none" else f"{metric}-{found}")[:60]


def _plain(value: Any) -> Any:
    """A value of a document as a suite has it."""
    return value if isinstance(value, str | int | float | bool) or value is None else dump_json(value)


def evaluate(loaded: Loaded, model: EngineModel, arguments: TaskArguments) -> JsonObject:
    """Have the harness ask and score; its results with all samples.

    Raises:
        LlmopsError: ``harness_failed``, with what it said.
    """
    from lm_eval import simple_evaluate

    try:
        found = simple_evaluate(
            model=model,
            tasks=[loaded.task],
            task_manager=loaded.manager,
            num_fewshot=arguments["fewshot"],
            limit=arguments["limit"],
            # Intervals are computed here.
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=arguments["chat"],
            fewshot_as_multiturn=arguments["chat"],
        )
    except LlmopsError:
        raise
    except (ValueError, KeyError, TypeError, RuntimeError, AssertionError, NotImplementedError) as error:
        raise LlmopsError("harness_failed", f"lm-eval stopped: {type(error).__name__}: {error}"[:1000]) from error
    if found is None:
        raise LlmopsError("harness_failed", "lm-eval returned no results")
    return dict(found)


def results_from(
    found: JsonObject, cases: Sequence[Case], suite: Suite, answers: Mapping[int, list[Answer]]
) -> list[Result]:
    """The harness's samples as results: for each document its answer, and each metric under each filter.

    Raises:
        LlmopsError: ``harness_failed``: the samples are not those of the documents.
    """
    ((_, samples),) = found["samples"].items()
    by_document: dict[int, JsonObject] = {}
    for sample in samples:
        by_document.setdefault(int(sample["doc_id"]), {})[str(sample.get("filter") or "none")] = sample
    metrics = [metric for metric in suite.made_metrics() if isinstance(metric, External)]
    results = []
    for number in sorted(by_document):
        if number >= len(cases):
            raise LlmopsError(
                "harness_failed", f"lm-eval has a sample of document {number}, which the task does not have"
            )
        of = by_document[number]
        first = next(iter(of.values()))
        scores = {}
        for metric in metrics:
            sample = of.get(metric.filter or "none", {})
            scores[metric.called] = _score(sample.get(metric.metric), sample.get("filtered_resps"), metric.aggregation)
        results.append(Result(cases[number], 0, _answer(first, answers.get(number, [])), scores))
    return results


def figures_of(found: JsonObject, suite: Suite) -> dict[str, float]:
    """The figures as the harness prints them, by the names of the suite's metrics."""
    ((_, told),) = found["results"].items()
    names = {
        metric.called: f"{metric.metric},{metric.filter or 'none'}"
        for metric in suite.made_metrics()
        if isinstance(metric, External)
    }
    return {called: float(told[name]) for called, name in names.items() if isinstance(told.get(name), Real)}


def _score(value: Any, read: Any, aggregation: Aggregation) -> Score:
    if isinstance(value, Real) and aggregation != "harness":
        if aggregation == "mean":
            return Score(float(value), f"read as {str(read)[:200]}")
        # The harness keeps the log-likelihood.
        if -float(value) < _MOST_NATS:
            return Score(math.exp(-float(value)), f"a log-likelihood of {float(value):.4f}")
        return Score(None, f"a log-likelihood of {float(value):.4f}, whose perplexity is beyond numbers")
    return Score(None, "the harness has no number for a single case here")


def _answer(sample: JsonObject, asked: list[Answer]) -> Answer:
    """What the model said, with what it took; of choices the likeliest."""
    arguments = sample["arguments"]
    places = list(arguments.values()) if isinstance(arguments, Mapping) else list(arguments)
    texts = [list(place.values()) if isinstance(place, Mapping) else list(place) for place in places]
    context = str(texts[0][0])
    talk = ({"role": "user", "content": context},)
    first = asked[0] if asked else Answer()
    if first.choice_logprobs:
        likeliest = max(range(len(first.choice_logprobs)), key=lambda i: first.choice_logprobs[i])
        said = str(texts[likeliest][1]) if likeliest < len(texts) else ""
    else:
        said = first.text
    return Answer(
        text=said.strip() if first.choice_logprobs else said,
        finish_reason=first.finish_reason or "stop",
        prompt_tokens=first.prompt_tokens,
        completion_tokens=first.completion_tokens,
        ttft_ms=first.ttft_ms,
        total_ms=first.total_ms,
        tokens_per_s=first.tokens_per_s,
        cached=first.cached,
        kept_at=first.kept_at,
        thinking=first.thinking,
        asked=talk,  # type: ignore[arg-type]
    )
