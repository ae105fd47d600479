"""The training job: waits for its turn and for memory, makes the examples, trains, and keeps the adapter."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.datasets.tokens import ModelText
from llmops_tui.jobs.worker import JobCancelledError, JobContext
from llmops_tui.training import device_queue, preflight, runs
from llmops_tui.training.bases import tokenized_by
from llmops_tui.training.examples import Examples, build
from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.preflight_findings import Finding, refuse
from llmops_tui.training.preflight_memory import QUEUE
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import HeldOutRecord, RunResult
from llmops_tui.training.starts import checked_start
from llmops_tui.training.worker import surroundings
from llmops_tui.training.worker.cluster_look import cluster_of, places_of
from llmops_tui.training.worker.outcome import Outcome, StoppedAfterSaveError
from llmops_tui.workspace.files import write_atomic


def run(context: JobContext, run_name: str) -> RunResult:
    """Train one run of the workspace; goes on from its last checkpoint where it has one."""
    store = runs.RunStore(context.workspace)
    found = store.get(run_name)
    surroundings.prepare(found.recipe.devices)
    recorder = Recorder(context.folder)
    state = "failed"
    try:
        with device_queue.turn(context, found.recipe, beside=found.beside), _room(context, found):
            context.report(0, "loading the training libraries")
            from llmops_tui.training.export.adapter import finish_adapter
            from llmops_tui.training.worker.attention import attention_findings
            from llmops_tui.training.worker.kernels import kernel_findings
            from llmops_tui.training.worker.unpack import weights_of
            from llmops_tui.training.worker.whole import finish_whole

            base = store.checked(found)
            weights = weights_of(context.workspace, base, found.recipe, context.report)
            template = found.recipe.template(base.header.get("chat_template"))
            start = checked_start(found, store, base)
            with ModelText(tokenized_by(found.recipe, base, weights), template) as text:
                examples = build(
                    found.recipe,
                    store.datasets,
                    text,
                    lambda share: context.report(0, f"tokenizing {share:.0%}"),
                )
                context.report(0, "preflight")
                _keep_held_out(context, found.recipe, examples)
                places, cluster_told = places_of(found.recipe)
                inspected = preflight.inspect(found.recipe, store, base, weights, examples, text, places)
                family = inspected.shape.family
                looks = [*attention_findings(found.recipe, family), *kernel_findings(found.recipe, family)]
                looks += [*inspected.findings, *cluster_told]
                _preflight(found, looks, recorder)
            try:
                begin = None if start is None else start.folder
                outcome = _trained(found, weights, examples, context, recorder, begin)
            except StoppedAfterSaveError as stopped:
                state = stopped.state
                return {"run": run_name, "state": state}
            state = "done"
            if found.recipe.ends_whole:
                ended = finish_whole(context, store, found, outcome.adapter, weights)
            else:
                ended = finish_adapter(store, found, outcome.adapter, weights)
            result = _facts(outcome) | ended
            store.keep_result(found, result)
            return {"run": run_name, **result}
    except JobCancelledError:
        state = "stopped"
        raise
    finally:
        with contextlib.suppress(OSError):
            recorder.write("end", 0, state=state)
        recorder.close()


def _trained(
    found: runs.Run, weights: Path, examples: Examples, context: JobContext, recorder: Recorder, begin: Path | None
) -> Outcome:
    """Train where the recipe says: here, or on a cluster."""
    with cluster_of(found.recipe) as cluster:
        if cluster is not None:
            from llmops_tui.training.worker.cluster_run import Cargo, kept_files, train_on

            context.report(0, "hashes what is shipped")
            kept = kept_files(weights, begin)
            cargo = Cargo.of(found.recipe, kept, examples, start=begin is not None, force=found.force)
            return train_on(cluster, cargo, context, recorder)
    from llmops_tui.training.worker.loop import train

    return train(found.recipe, weights, examples, context, recorder, begin, force=found.force)


def _keep_held_out(context: JobContext, recipe: Recipe, examples: Examples) -> None:
    """Note which rows the run does not learn from."""
    drawn = examples.report.drawn
    if drawn is None:
        return
    refs = [recipe.evaluation.dataset] if recipe.evaluation.dataset else [source.dataset for source in recipe.data]
    rows: dict[str, list[int]] = {ref: [] for ref in refs}
    unmeasured: dict[str, list[int]] = {ref: [] for ref in refs}
    for place, number in drawn.rows:
        of = unmeasured if (place, number) in examples.report.unmeasured else rows
        of[refs[place]].append(number)
    note: HeldOutRecord = {
        "seed": recipe.seed,
        "rows": {ref: sorted(numbers) for ref, numbers in rows.items()},
        "unmeasured": {ref: sorted(numbers) for ref, numbers in unmeasured.items() if numbers},
        "missing": drawn.missing,
        "twins": drawn.twins,
        "near": drawn.near,
    }
    write_atomic(context.folder / "held-out.json", json.dumps(note))


def _preflight(found: runs.Run, findings: list[Finding], recorder: Recorder) -> None:
    """Record what is to be known of the run, and stop where something is an error, unless that was insisted on.

    A run that goes on says only what it has not said before.
    """
    history = read_history(found.folder)
    said = {(event.level, event.message, event.hint) for event in history.events}
    for finding in findings:
        # The queue is behind us when this is looked at.
        if finding.level == "info" or finding.code == QUEUE or (finding.level, finding.message, finding.hint) in said:
            continue
        recorder.write("event", history.step, level=finding.level, message=finding.message, hint=finding.hint)
    if not found.force:
        refuse(findings)


def _facts(outcome: Outcome) -> RunResult:
    return {
        "steps": outcome.steps,
        "loss": outcome.loss,
        "eval_loss": outcome.eval_loss,
        "peak_bytes": outcome.peak_bytes,
        "batch": [outcome.recipe.batch.size, outcome.recipe.batch.accumulation],
    }


@contextlib.contextmanager
def _room(context: JobContext, found: runs.Run) -> Iterator[None]:
    """Model servers are stopped for the run where that was allowed, and started again after it."""
    if not found.make_room:
        yield
        return
    stopped = device_queue.stop_servers(context.workspace)
    try:
        yield
    finally:
        device_queue.start_servers(context.workspace, stopped)
