"""The job that runs a standard task and keeps what came of it as a run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from llmops_tui.evaluation.cases import CaseSet, build_cases
from llmops_tui.evaluation.measures import case_metrics_sha256, sources
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.records import Costs, Evaluated, RunSummary
from llmops_tui.evaluation.run import Asked, EvalRun
from llmops_tui.evaluation.runner.contamination import overlap_of
from llmops_tui.evaluation.runner.manifest import manifest_of
from llmops_tui.evaluation.runner.results import Result, ResultLog
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite
from llmops_tui.evaluation.tasks.asking import INSPECT
from llmops_tui.evaluation.tasks.records import TaskArguments
from llmops_tui.hardware.energy_counters import EnergyMeter
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import LoadOptions, options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.settings import load_settings
from llmops_tui.workspace.files import sha256_file

_OWN_FIGURE = "none: the harness's own figure"

ENTRY: JobEntry[Evaluated] = JobEntry("llmops_tui.evaluation.tasks.job:run")


def run(context: JobContext, arguments: TaskArguments) -> Evaluated:
    """Ask a task's documents, have the harness score them, and keep the run; answers that are known are not asked again."""
    from llmops_tui.evaluation.tasks.worker.lm_eval_task import stay_offline

    store = EvaluationStore(context.workspace)
    place = context.folder.name
    if done := [entry for entry in store.all() if entry.job == place and entry.summary is not None]:
        return _found(done[0])
    if arguments["harness"] == INSPECT:
        return _inspect(context, store, arguments, place)
    stay_offline(context.folder)
    context.report(0.0, f"loading {arguments['task']}")
    from llmops_tui.evaluation.tasks.worker.lm_eval_task import evaluate, figures_of, load_task, results_from

    loaded = load_task(arguments, context.folder)
    version = store.save_suite(loaded.suite, f"the task {arguments['task']} of {arguments['harness']}")
    asked = Asked("", arguments["model"], {}, 0, arguments["limit"], arguments["fresh"])
    entry = store.reserve(version, asked, place)
    cases = build_cases(version.suite, store.datasets)
    options = options_from(load_settings()[0])
    model = _model(context, store, entry, options, chat=arguments["chat"])
    took = _Took()
    try:
        found = evaluate(loaded, model, arguments)
    finally:
        model.close()
    results = results_from(found, cases.cases, version.suite, model.answers)
    _keep(store, entry, version.suite, cases, results, options, took, figures_of(found, version.suite))
    return _found(store.get(entry.name))


def _inspect(context: JobContext, store: EvaluationStore, arguments: TaskArguments, place: str) -> Evaluated:
    """A task of Inspect: its program asks the model's server, and its log becomes the suite and the run."""
    from llmops_tui.evaluation.tasks.door import open_door
    from llmops_tui.evaluation.tasks.inspect_task import figures_of, find_program, results_from, run_program, suite_from

    task, limit = arguments["task"], arguments["limit"]
    options = options_from(load_settings()[0])
    endpoint = open_endpoint(ServerSupervisor(context.workspace), store.registry.get(arguments["model"]), options)
    took = _Took()
    with open_door(endpoint) as url:
        log = run_program(
            context,
            find_program(arguments["program"]),
            task,
            endpoint.model,
            url,
            endpoint.key or "",
            limit,
            options.parallel,
        )
    version = store.save_suite(suite_from(log, task, limit), f"the task {task} of inspect")
    cases = build_cases(version.suite, store.datasets)
    entry = store.reserve(version, Asked("", arguments["model"], {}, 0, None, fresh=True), place)
    results = results_from(log, version.suite, cases.cases)
    _keep(store, entry, version.suite, cases, results, options, took, figures_of(log))
    return _found(store.get(entry.name))


def take_figures(summary: RunSummary, told: Mapping[str, float]) -> None:
    """Where a figure does not follow from the scores of cases, the harness's own stands, without an interval."""
    for name, value in told.items():
        figure = summary["metrics"].get(name)
        if figure is None or (figure["mean"] is not None and math.isclose(figure["mean"], value, rel_tol=1e-6)):
            continue
        figure |= {
            "mean": value,
            "low": None,
            "high": None,
            "n": summary["cases"],
            "unusable": 0,
            "method": _OWN_FIGURE,
        }


class _Took:
    """The time and energy since it was made."""

    def __init__(self) -> None:
        self._began, self._energy = time.monotonic(), EnergyMeter()

    def costs(self, results: list[Result]) -> tuple[float, Costs]:
        """Seconds, and what goes with them."""
        measured = self._energy.stop()
        fresh = sum(not result.answer.cached for result in results)
        seconds = time.monotonic() - self._began
        found: Costs = {
            "prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0, "asked": fresh, "joules": measured.joules,
            "energy": measured.note,
        }  # fmt: skip
        return seconds, found


def _found(entry: EvalRun) -> Evaluated:
    return {"runs": [{"run": entry.name, "metrics": (entry.summary or {}).get("metrics", {})}]}


def _model(context: JobContext, store: EvaluationStore, entry: EvalRun, options: LoadOptions, *, chat: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from llmops_tui.evaluation.tasks.worker.engine_model import EngineModel

    supervisor = ServerSupervisor(context.workspace)
    asker = Asker(
        store.registry,
        AnswerCache(context.workspace, entry.created_at if entry.asked.fresh else None),
        lambda found: open_endpoint(supervisor, found, options),
        options=options,
        renderer=TemplateRenderer(),
        within=entry.name,
        work={"kind": "evaluation", "name": entry.name},
    )
    return EngineModel(
        asker,
        entry.asked.model,
        chat=chat,
        told=lambda done, total: context.report(0.05 + 0.9 * done / max(1, total), f"{done}/{total}"),
    )


def _keep(
    store: EvaluationStore,
    entry: EvalRun,
    suite: Suite,
    cases: CaseSet,
    results: list[Result],
    options: LoadOptions,
    took: _Took,
    told: Mapping[str, float] | None = None,
) -> None:
    """Write results and summary as a run of a suite has them; ``told`` are the figures as the harness prints them."""
    seconds, costs = took.costs(results)
    # What a killed try left is of the same documents, and is written anew.
    entry.results.unlink(missing_ok=True)
    metrics = [*suite.made_metrics(), *ALWAYS]
    log = ResultLog(entry.results)
    try:
        for result in results:
            always = {m.called: m.score(result.case, result.answer) for m in ALWAYS}
            log.add(Result(result.case, result.repeat, result.answer, result.scores | always))
    finally:
        log.close()
    kept = list(log.done.values())
    summary = summarise(kept, metrics, seconds)
    summary |= {"of": len(kept), "stopped_early": False}
    take_figures(summary, told or {})
    summary["costs"] |= {"asked": costs["asked"], "joules": costs["joules"], "energy": costs["energy"]}
    firsts = [result for result in results if result.repeat == 0]
    asked = CaseSet(tuple(r.case for r in firsts), cases.dataset, cases.of)
    summary["overlap"] = overlap_of(store, entry, asked, kept, metrics)
    rendered: list[list[ChatMessage]] = [list(result.answer.asked) for result in firsts]
    manifest = manifest_of(store, suite, entry, asked, rendered, metrics, options)
    manifest |= {
        "case_metrics_sha256": case_metrics_sha256(asked.cases, lambda _case: []),
        "metric_sources": sources(metrics, store.registry),
        "fingerprints": {},
    }
    store.finish(entry.name, manifest, summary, sha256_file(entry.results))
