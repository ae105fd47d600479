"""The suites and runs of a workspace: suites by version, runs with their arguments and results."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llmops_tui.chains.store import is_chain
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.asked_prompts import asked_prompts
from llmops_tui.evaluation.cases import with_dataset
from llmops_tui.evaluation.metrics.external import External
from llmops_tui.evaluation.metrics.model_graded import AskingMetric
from llmops_tui.evaluation.records import Evaluated, Manifest, RunSummary
from llmops_tui.evaluation.run import Asked, EvalRun, EvalState, SuiteVersion, job_title
from llmops_tui.evaluation.run_rows import answered_here, how_asked, next_names, run_of
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.evaluation.suite_checks import check_new
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.launcher import JobLauncher, JobPlace
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.json_columns import made_of
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.inference.answer_settings import AnswerSettings

ENTRY: JobEntry[Evaluated] = JobEntry("llmops_tui.evaluation.runner.job:run")
_COLUMNS = "name, suite, suite_number, job, asked, manifest, summary, results_sha256, created_at, finished_at"


class EvaluationStore:
    """Keep suites; start, find and finish runs."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.catalog = Catalog(workspace)
        self.datasets = DatasetStore(self.catalog)
        self.prompts = PromptStore(self.catalog)
        self.registry = ModelRegistry(self.catalog)
        self.jobs = JobStore(EventLog(workspace))

    # ── suites ──

    def save_suite(self, suite: Suite, note: str = "") -> SuiteVersion:
        """Keep a suite as a version; the same again makes none. A data file it names becomes a dataset version.

        Raises:
            InputRefusedError: ``bad_metric``: one of its metrics cannot be used here.
        """
        check_new(suite)
        problem = next((text for metric in suite.all_metrics() if (text := metric.problem())), "")
        if problem:
            raise InputRefusedError(
                "bad_metric", problem, "Mend the metric in the suite or remove it; one of a package needs that package."
            )
        suite = with_dataset(suite, self.datasets)

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            rows = connection.execute(
                "SELECT number, sha256 FROM evaluation_suites WHERE name = ?", [suite.name]
            ).fetchall()
            if any(digest == suite.sha256 for _, digest in rows):
                return
            connection.execute(
                "INSERT INTO evaluation_suites VALUES (?, ?, ?, ?, ?, ?)",
                [
                    suite.name,
                    max((n for n, _ in rows), default=0) + 1,
                    suite.sha256,
                    json.dumps(suite.body),
                    note,
                    time.time(),
                ],
            )

        self.catalog.write(work)
        return _version(self._suite_rows("name = ? AND sha256 = ?", [suite.name, suite.sha256])[0])

    def add_case(self, name: str, prompt: str, variables: Variables, expected: str) -> SuiteVersion:
        """Add a case to a suite whose cases are written in it; a suite that is not there yet is made with the prompt.

        Raises:
            InputRefusedError: the suite takes its cases from a dataset.
        """
        case = {"vars": variables, "expected": expected}
        try:
            known = self.suite(name).suite
        except NotFoundError:
            known = None
        if known is None:
            body = {"cases": [case], "prompt": prompt, "metrics": [{"type": "exact"}]}
            return self.save_suite(check_suite(body, name), "captured in the playground")
        if isinstance(known.cases, str):
            raise InputRefusedError(
                "cases_elsewhere", f"suite {name!r} takes its cases from {known.cases}", "Choose another."
            )
        return self.save_suite(known.model_copy(update={"cases": [*known.cases, case]}), "one more case")

    def suites(self) -> list[SuiteVersion]:
        """All versions, the newest first."""
        return [_version(row) for row in self._suite_rows("true", [])]

    def newest_suites(self) -> tuple[list[SuiteVersion], dict[str, LlmopsError]]:
        """The newest version of each suite, by name; and where its row is damaged, by its reference, what is wrong with it."""
        newest: dict[str, tuple[Any, ...]] = {}
        for row in self._suite_rows("true", []):
            newest.setdefault(row[0], row)
        found, damaged = _readable(newest.values())
        return sorted(found, key=lambda one: one.suite.name), damaged

    def readable_suites(self) -> tuple[list[SuiteVersion], dict[str, LlmopsError]]:
        """All versions whose rows are sound, the newest first; and of the others, by reference, what is wrong with each."""
        return _readable(self._suite_rows("true", []))

    def suite(self, ref: str) -> SuiteVersion:
        """A suite by ``name`` or ``name@2``; what is wrong with others does not matter.

        Raises:
            NotFoundError: there is none. LlmopsError: ``row_damaged``.
        """
        name, _, number = ref.partition("@")
        for row in self._suite_rows("name = ?", [name]):
            if not number or number == str(row[1]):
                return _version(row)
        raise NotFoundError("suite", ref, "llmops eval suites lists them; the path of a file works, too.")

    def _suite_rows(self, condition: str, values: list[str]) -> list[tuple[Any, ...]]:
        sql = (
            f"SELECT name, number, body, note, created_at FROM evaluation_suites WHERE {condition} "
            "ORDER BY created_at DESC, number DESC"
        )
        return self.catalog.read(lambda connection: connection.execute(sql, values).fetchall())

    # ── runs ──

    def columns(
        self,
        suite: Suite,
        models: list[str] | None = None,
        prompts: list[str] | None = None,
        parallel: int = 0,
        *,
        limit: int | None = None,
        fresh: bool = False,
    ) -> list[Asked]:
        """The columns of a suite's matrix, with models and prompts given instead of the suite's.

        How much is asked (``limit``), and whether of old answers any is taken (``fresh``), is part of the runs: the suite
        stays as it is.

        Raises:
            InputRefusedError: no model is named, or a prompt is given to a chain, which has its own. NotFoundError: a model,
                a judge or a prompt does not exist.
        """
        if prompts and suite.chain:
            raise InputRefusedError(
                "prompt_of_chain",
                f"suite {suite.name!r} asks a chain of prompts; a prompt given beside it would not be used",
                "Change the chain in the suite.",
            )
        theirs = next((m for m in suite.all_metrics() if isinstance(m, External)), None)
        if theirs is not None:
            raise InputRefusedError(
                "scored_elsewhere",
                f"{suite.name} is a task of {theirs.harness}, which asks and scores it",
                f"llmops eval task {theirs.task} --model MODEL",
            )
        refs = prompts or suite.prompts()
        chosen = models or suite.models
        held = [settings for ref in refs if (settings := self._held(suite, ref)) is not None and settings.model]
        own = [settings.model for settings in held]
        if not chosen and (not own or len(own) < len(refs)):
            raise InputRefusedError("no_model", f"suite {suite.name!r} has no model", "Choose one with --model NAME.")
        judges = [metric.model for metric in suite.all_metrics() if isinstance(metric, AskingMetric)]
        for name in [*(chosen or own), *judges]:
            self.registry.get(name)
        for step in suite.chain:
            self.prompts.get(step.prompt)
        asked = [(self._asked(suite, ref, chosen) if ref else "", chosen or [own[n]]) for n, ref in enumerate(refs)]
        sets = suite.parameter_sets()
        return [
            Asked(ref, model, given, parallel, limit, fresh)
            for ref, its_models in asked
            for model in its_models
            for given in sets
        ]

    def _held(self, suite: Suite, ref: str) -> AnswerSettings | None:
        """What a prompt holds beside its texts, as far as a run of the suite follows it."""
        found = asked_prompts(self.prompts, suite, ref)
        return found[0].settings if found and not suite.chain else None

    def _asked(self, suite: Suite, ref: str, models: list[str]) -> str:
        """A prompt by its version; or a chain, or one step of it."""
        if not is_chain(ref):
            return self.prompts.get(ref).ref
        from llmops_tui.evaluation.chain_columns import chain_column

        return chain_column(self.catalog, suite, ref, models)

    def start(self, version: SuiteVersion, columns: list[Asked], target: str = "") -> list[EvalRun]:
        """Start a run for each column, one after another in one job; with a ``target`` a Ray cluster answers."""
        launcher = JobLauncher(self.workspace)
        with launcher.place() as place:
            # The runs know their job before there is one: whoever dies from here on, they find each other.
            names = self._note(version, columns, place.id, target)
            _launch(launcher, job_title(version.ref, columns), names, place, target)
        return [self.get(name) for name in names]

    def _note(self, version: SuiteVersion, columns: list[Asked], job: str, target: str = "") -> list[str]:
        """Note runs of a job that are not finished; their names."""
        now = time.time()

        def note(connection: duckdb.DuckDBPyConnection) -> list[str]:
            names = next_names(connection, version.suite.name, len(columns))
            for i, (name, asked) in enumerate(zip(names, columns, strict=True)):
                connection.execute(
                    f"INSERT INTO evaluation_runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL, ?, NULL)",
                    [name, version.suite.name, version.number, job, how_asked(asked, target), now + i * 1e-6],
                )
            return names

        return self.catalog.write(note)

    def reserve(self, version: SuiteVersion, asked: Asked, job: str) -> EvalRun:
        """A run that a job does by itself, such as a task of another harness; the one it began before, where it goes on."""
        known = next((run for run in self._select("job = ?", [job]) if run.summary is None), None)
        return known or self.get(self._note(version, [asked], job)[0])

    def all(self) -> list[EvalRun]:
        """All runs, the newest first."""
        return self._select("true", [])

    def readable(self) -> tuple[list[EvalRun], dict[str, LlmopsError]]:
        """The runs whose rows are sound, the newest first; and of the others, by name, what is wrong with each."""
        found, damaged = [], {}
        for row in self._rows("true", []):
            try:
                found.append(run_of(row, self.workspace))
            except LlmopsError as error:
                damaged[str(row[0])] = error
        return found, damaged

    def get(self, name: str) -> EvalRun:
        """One run by name.

        Raises:
            NotFoundError: there is none.
        """
        found = self._select("name = ?", [name])
        if not found:
            raise NotFoundError("evaluation run", name, "llmops eval list shows them.")
        return found[0]

    def _select(self, condition: str, values: list[Any]) -> list[EvalRun]:
        return [run_of(row, self.workspace) for row in self._rows(condition, values)]

    def _rows(self, condition: str, values: list[Any]) -> list[tuple[Any, ...]]:
        return self.catalog.read(
            lambda connection: connection.execute(
                f"SELECT {_COLUMNS} FROM evaluation_runs WHERE {condition} ORDER BY created_at DESC", values
            ).fetchall()
        )

    def states(self, runs: list[EvalRun], jobs: list[Job] | None = None) -> list[EvalState]:
        """Where several runs are now; ``jobs`` where all of them were read already."""
        newest = self.jobs.newest_for([run.job for run in runs], jobs)
        found = []
        for run in runs:
            job = newest.get(run.job)
            if run.summary is not None:
                word = "done"
            elif job is None:
                word = "starting" if self.jobs.at_work(run.job) else "lost"
            else:
                word = "failed" if job.state == JobState.DONE else job.state.value
            found.append(EvalState(run, job, word))
        return found

    def state(self, run: EvalRun) -> EvalState:
        """Where a run is now."""
        return self.states([run])[0]

    def resume(self, name: str, *, here: bool = False) -> EvalState:
        """Go on with a run that ended early, or start one that never began; what was answered is not asked again.

        It goes on where it was to be answered, on this machine or on a cluster; ``here`` has this machine answer the rest of all
        runs of its job.

        Raises:
            InputRefusedError: it runs, or it is done; ``bad_option``: no cluster answers it. NotFoundError: it was removed.
        """
        state = self.state(self.get(name))
        if state.run.summary is not None:
            raise InputRefusedError("run_done", f"run {name} is {state.state}; there is nothing to resume")
        if here:
            self._have_answered_here(state)
        launcher = JobLauncher(self.workspace)
        if state.job is not None:
            launcher.resume(state.job.id, unfinished=True)
            return self.state(state.run)
        with launcher.place(state.run.job) as place:
            # It may have been removed before its folder was taken.
            self.get(name)
            # All runs of the job, in the order in which they were asked for.
            runs = [*reversed(self._select("job = ?", [state.run.job]))]
            names = [run.name for run in runs]
            if place.id != state.run.job:
                # Earlier versions noted the job after it was started, and may not have come to that.
                names = [name]
                self.catalog.write(
                    lambda connection: connection.execute(
                        "UPDATE evaluation_runs SET job = ? WHERE name = ?", [place.id, name]
                    )
                )
            title = job_title(state.run.suite_ref, [run.asked for run in runs])
            _launch(launcher, title, names, place, self.get(name).target or "")
        return self.state(self.get(name))

    def _have_answered_here(self, state: EvalState) -> None:
        run = state.run
        if run.target == "":
            raise InputRefusedError("bad_option", f"{run.name} is answered on this machine anyway", "Leave out --here.")
        if state.job is not None and not state.job.state.final:
            raise InputRefusedError("job_running", f"job {state.job.id} is {state.job.state.value}", "Cancel it first.")

        self.catalog.write(lambda connection: answered_here(connection, run.job))

    def finish(self, name: str, manifest: Manifest, summary: RunSummary, results_sha256: str) -> None:
        """Record a run as done, and what its results come from."""
        inputs = [manifest.get("model_sha256"), manifest.get("adapter_sha256"), manifest.get("dataset_sha256")]
        inputs += manifest.get("prompt_sha256") or []

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute(
                "UPDATE evaluation_runs SET manifest = ?, summary = ?, results_sha256 = ?, finished_at = ? WHERE name = ?",
                [json.dumps(manifest), json.dumps(summary), results_sha256, time.time(), name],
            )
            recipe = str(manifest.get("suite_sha256") or "")
            record_edges(
                connection, output=results_sha256, kind="evaluation", recipe=recipe, inputs=filter(None, inputs)
            )

        self.catalog.write(work)


def _readable(rows: Iterable[tuple[Any, ...]]) -> tuple[list[SuiteVersion], dict[str, LlmopsError]]:
    found, damaged = [], {}
    for row in rows:
        try:
            found.append(_version(row))
        except LlmopsError as error:
            damaged[f"{row[0]}@{row[1]}"] = error
    return found, damaged


def _version(row: tuple[Any, ...]) -> SuiteVersion:
    name, number, body, note, at = row
    suite = made_of("evaluation_suites", "body", f"{name}@{number}", body, lambda value: check_suite(value, name))
    return SuiteVersion(suite, int(number), note, at)


def _launch(launcher: JobLauncher, title: str, names: list[str], place: JobPlace, target: str = "") -> None:
    arguments = {"runs": names, **({"target": target} if target else {})}
    launcher.start(kind="eval", title=title, entry=ENTRY, arguments=arguments, place=place)
