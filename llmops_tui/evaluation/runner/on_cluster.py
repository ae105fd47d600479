"""Answers of an evaluation made on the nodes of a Ray cluster, as those of a file of requests are; scored here.

What a node answered counts when it was brought here: then it is kept as any answer of the run, and the journal of the job's
folder has each shard by its contents. So a node that dies costs the shard that it was at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

from llmops_tui.chains.store import is_chain
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.batch.job import open_requests, refusal
from llmops_tui.inference.filed.output import OutputLine, OutputLog
from llmops_tui.regular_files import open_regular
from llmops_tui.workspace.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from llmops_tui.evaluation.run import Asked, EvalRun
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.inference.asking.asker import Asker, Request
    from llmops_tui.inference.wire import Reply
    from llmops_tui.jobs.worker import JobContext
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.training.worker.cluster_batch import BatchCluster

Connect = Callable[[str], "AbstractContextManager[BatchCluster]"]


def refuse_elsewhere(suite: Suite, columns: Sequence[Asked], registry: ModelRegistry) -> None:
    """Refuse what nodes cannot answer, by its name.

    Raises:
        InputRefusedError: ``not_on_cluster``.
    """
    chains = [one.prompt for one in columns if one.prompt and is_chain(one.prompt)]
    choosing = next((one.called for one in suite.all_metrics() if one.needs_choices), "")
    remote = [one.model for one in columns if registry.get(one.model).kind != "gguf"]
    why = (
        f"{chains[0] if chains else 'its chain'} asks for each step with what the one before it answered"
        if chains or suite.chain
        else f"{choosing} scores given texts"
        if choosing
        else f"it ends as soon as {suite.until.metric} is known well enough"
        if suite.until is not None
        else f"{remote[0]} is no GGUF model of this workspace"
        if remote
        else ""
    )
    if why:
        told = f"suite {suite.name} is not answered on a cluster: {why}"
        raise InputRefusedError("not_on_cluster", told, "Run it on this machine: leave --target out.")


def have_answered(
    context: JobContext,
    run: EvalRun,
    target: str,
    asker: Asker,
    requests: Sequence[tuple[Request, str, Mapping[str, object]]] | None,
    connect: Connect | None = None,
) -> None:
    """Have a cluster answer the requests of a run that are not known, and keep what it answers; in the main thread.

    ``requests`` are as the run makes them, with the bodies that they are kept by; none where a case is not one request.

    Raises:
        InputRefusedError: ``not_on_cluster``.
        LlmopsError: ``no_cluster``, ``node_differs``, ``nodes_lost``, ``model_in_parts``.
    """
    name = run.asked.model
    if requests is None:
        told = f"suite {run.suite} is not answered on a cluster: a case of it has several turns"
        raise InputRefusedError("not_on_cluster", told, "Run it on this machine: leave --target out.")
    asked = {asker.key(asker.identity(name), path, sampled): (one, sampled) for one, path, sampled in requests}

    def take() -> None:
        for key, reply in _answered(context, run.name):
            if key in asked:
                asker.take(name, *asked[key], reply)
        asker.cache.flush()

    take()
    known = asker.cache.find(asked)
    wanted = [
        {
            "custom_id": key, "method": "POST", "url": one.path,
            "body": {**one.body, "model": name, **one.parameters.model_dump(mode="json", exclude_none=True)},
        }
        for key, (one, _) in asked.items()
        if key not in known
    ]  # fmt: skip
    if wanted:
        _answer(context, run.name, target, wanted, connect or on_ray)
        take()


def on_ray(target: str) -> AbstractContextManager[BatchCluster]:
    """The cluster of a target."""
    from llmops_tui.training.targets import target_of
    from llmops_tui.training.worker.ray_cluster import connected

    return connected(target_of(target))


def _answered(context: JobContext, run: str) -> Iterator[tuple[str, Reply]]:
    """What nodes answered already, by key; an answer that was refused is none, and is asked here."""
    path = _files(context, run)[1]
    if not path.exists():
        return
    # Opened as the log first, which cuts off what a killed job left unfinished.
    OutputLog(path).close()
    with open_regular(path) as file:
        for raw in file:
            line: OutputLine = json.loads(raw)
            answered = line["response"]
            if answered is not None and answered["status_code"] == 200:
                yield line["custom_id"], cast("Reply", answered["body"])


def _answer(
    context: JobContext, run: str, target: str, wanted: Sequence[Mapping[str, object]], connect: Connect
) -> None:
    from llmops_tui.training.worker.cluster_batch import ClusterBatch

    requests, output = _files(context, run)
    write_atomic(requests, "".join(json.dumps(line) + "\n" for line in wanted))
    file = open_requests(context.workspace, requests)
    checked = file.check()
    if checked.problems:
        raise refusal(checked, requests)
    log = OutputLog(output)
    try:
        with connect(target) as cluster:
            ClusterBatch(cluster, context, file, checked, log).run()
    finally:
        log.close()


def _files(context: JobContext, run: str) -> tuple[Path, Path]:
    return context.folder / f"{run}.requests.jsonl", context.folder / f"{run}.answers.jsonl"
