"""The trials of a search on nodes of a cluster, several at once; the search itself, its journal and its records are here."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Never

from llmops_tui.datasets.tokens import ModelText
from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import JobStore
from llmops_tui.jobs.worker import JobCancelledError, JobContext
from llmops_tui.training.bases import tokenized_by
from llmops_tui.training.examples import Examples, build
from llmops_tui.training.history import HistoryReader, Recorder
from llmops_tui.training.recipe import Changes, Recipe
from llmops_tui.training.runs import RunStore
from llmops_tui.training.search_space import settings_told
from llmops_tui.training.starts import start_of
from llmops_tui.training.trials import Asked, conclude, follow, next_trial, suggest, trial_folder, values_of
from llmops_tui.training.worker.cluster_look import cluster_of
from llmops_tui.training.worker.cluster_run import NODES_LOST, TAKEN, Cargo, Cluster, differences, kept_files, train_on
from llmops_tui.workspace.event_log import EventLog

if TYPE_CHECKING:
    import optuna

_LOOK_SECONDS = 1.0
# What decides nothing of the rows as they are learned from.
_NOT_OF_ROWS = frozenset({"name", "lora", "optimizer"})

Load = Callable[[Recipe], Cargo]
"""What a trial needs on a node."""


class TrialContext(JobContext):
    """What a trial's run tells and is asked: the search ends it, and tells how far it is."""

    def __init__(self, search: JobContext, folder: Path) -> None:
        super().__init__(search.workspace, search.job_id, JobStore(EventLog(search.workspace)), folder)
        self.stop = threading.Event()
        self.said = ""

    def check(self) -> None:
        """Notice that the search ended this trial.

        Raises:
            JobCancelledError: it did.
        """
        if self.stop.is_set():
            raise JobCancelledError

    def report(self, share: float, message: str = "") -> None:
        """Keep what is told for the search."""
        del share
        self.check()
        self.said = message


@dataclass
class _Running:
    """A trial under way; ``pruned`` where the search has ended it."""

    trial: optuna.Trial
    recipe: Recipe
    chosen: Changes
    context: TrialContext
    reader: HistoryReader
    told: set[int] = field(default_factory=set)
    pruned: BaseException | None = None

    def told_so(self) -> str:
        """What it is tried with, and how far it is."""
        step = f"step {self.reader.history.step}" if self.reader.history.step else self.context.said
        return f"trial {self.trial.number + 1} ({settings_told(self.chosen)}): {step}"


def on_cluster(context: JobContext, asked: Asked, study: optuna.Study, most: int, at_once: int) -> None:
    """Train ``most`` trials on the cluster of the recipe, ``at_once``; 0 is as many as it has places for.

    Raises:
        LlmopsError: the cluster cannot be reached or used, or too many of its nodes are lost.
    """
    with cluster_of(asked.recipe) as cluster:
        if cluster is None:
            return
        context.report(0, f"looks at {cluster.target.told}")
        # How their versions differ stands in the record of each trial.
        differences(cluster.look())
        count = at_once or cluster.places()
        trials = Trials(context, asked, study, cluster.shared(count), loader(context, asked))
        trials.run(most, count)


def loader(context: JobContext, asked: Asked) -> Load:
    """Makes what trials need: the base is hashed once, and rows that are the same are made once."""
    from llmops_tui.training.worker.unpack import weights_of

    store = RunStore(context.workspace)
    base = store.base_of(asked.recipe)
    start = start_of(asked.recipe, store, base)
    weights = weights_of(context.workspace, base, asked.recipe, context.report)
    context.report(0, "hashes what is shipped")
    kept = kept_files(weights, None if start is None else start.folder)
    made: dict[str, Examples] = {}

    def load(recipe: Recipe) -> Cargo:
        key = json.dumps({name: value for name, value in recipe.body.items() if name not in _NOT_OF_ROWS}, default=str)
        if key not in made:
            made.clear()
            template = recipe.template(base.header.get("chat_template"))
            with ModelText(tokenized_by(recipe, base, weights), template) as text:
                made[key] = build(recipe, store.datasets, text)
        return Cargo.of(recipe, kept, made[key], start=start is not None, force=False, ends=False)

    return load


class Trials:
    """The trials of a search, each followed by a thread; all that is Optuna's is done in the one that calls :meth:`run`."""

    def __init__(self, context: JobContext, asked: Asked, study: optuna.Study, cluster: Cluster, load: Load) -> None:
        self._context, self._asked, self._study, self._cluster, self._load = context, asked, study, cluster, load
        self._running: dict[Future[None], _Running] = {}
        self._done = 0

    def run(self, most: int, at_once: int) -> None:
        """Train ``most`` trials, ``at_once`` of them.

        Raises:
            LlmopsError: ``nodes_lost``.
        """
        with ThreadPoolExecutor(at_once) as pool:
            try:
                while self._begin(pool, most, at_once):
                    ended, _ = wait(self._running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                    self._look()
                    for one in ended:
                        self._end(one)
                    self._report()
            finally:
                # What is still under way is cut, and tried again when the search goes on.
                for each in self._running.values():
                    each.context.stop.set()

    def _begin(self, pool: ThreadPoolExecutor, most: int, at_once: int) -> bool:
        """Begin what there is place for; whether anything is under way."""
        while self._done + len(self._running) < most and len(self._running) < at_once:
            trial = next_trial(self._study, self._asked)
            if trial is None:
                break
            chosen = suggest(trial, self._asked.space)
            folder = trial_folder(self._context.folder, trial.number)
            context = TrialContext(self._context, folder)
            try:
                recipe = self._asked.recipe_of(trial.number, chosen)
                cargo = self._load(recipe)
            except LlmopsError as error:
                self._done += 1
                conclude(self._study, trial, partial(_raise, error))
                continue
            work = pool.submit(_train, self._cluster, cargo, context)
            self._running[work] = _Running(trial, recipe, chosen, context, HistoryReader(folder))
        return bool(self._running)

    def _look(self) -> None:
        """End those that are behind."""
        import optuna

        for each in self._running.values():
            if each.pruned is None:
                try:
                    follow(each.reader, self._asked, each.trial, each.told, each.context.stop.set)
                except optuna.TrialPruned as pruned:
                    each.pruned = pruned

    def _end(self, work: Future[None]) -> None:
        each = self._running.pop(work)
        history = each.reader.history
        lost = [event.step for event in history.events if event.message.startswith("the node is lost")]
        if lost and each.pruned is None:
            each.trial.set_user_attr("why", f"its node was lost at step {lost[-1]}; it went on on another one")

        def came_to() -> tuple[float, ...]:
            if each.pruned is not None:
                raise each.pruned
            work.result()
            return values_of(self._asked, each.trial.number, history, each.recipe, ended=True, said="it has no figures")

        error = None if each.pruned is not None else work.exception()
        if isinstance(error, LlmopsError) and error.code == NODES_LOST:
            # That is no trial's fault: it is tried again when the search goes on.
            raise error
        conclude(self._study, each.trial, came_to)
        self._done += 1

    def _report(self) -> None:
        shares = [each.reader.history.step / max(1, each.reader.history.total) for each in self._running.values()]
        finished = sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))
        told = "; ".join(each.told_so() for each in self._running.values())
        share = (finished + sum(shares)) / max(1, self._asked.trials)
        self._context.report(min(1.0, share), f"{finished} of {self._asked.trials} trials done; {told}")


def _raise(error: LlmopsError) -> Never:
    raise error


def _train(cluster: Cluster, cargo: Cargo, context: TrialContext) -> None:
    """A trial on a node, to its end; of what it wrote its record is kept."""
    with contextlib.closing(Recorder(context.folder)) as recorder:
        try:
            outcome = train_on(cluster, cargo, context, recorder)
            recorder.write("end", outcome.steps, state="done")
        finally:
            for name in ("checkpoints", TAKEN):
                shutil.rmtree(context.folder / name, ignore_errors=True)
