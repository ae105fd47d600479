"""The training runs of a workspace: recipes by version, runs with their jobs and results."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.launcher import JobLauncher, JobPlace
from llmops_tui.jobs.store import NEVER_BEGAN, Job, JobStore
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.training import control, pins
from llmops_tui.training.bases import refuse_untrainable
from llmops_tui.training.examples import sources
from llmops_tui.training.history import read_history
from llmops_tui.training.memory import Calibration
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.records import RunRecord, RunResult
from llmops_tui.training.rewards import require_usable
from llmops_tui.training.starts import checked_start, start_pins
from llmops_tui.training.targets import refuse_local_options
from llmops_tui.user_files import with_home
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.json_columns import kept, made_of
from llmops_tui.workspace.layout import Workspace, within

if TYPE_CHECKING:
    import duckdb

ENTRY: JobEntry[RunResult] = JobEntry("llmops_tui.training.worker.job:run")
_COLUMNS = "name, recipe, job, base_sha256, data, options, result, created_at, finished_at"


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        job: the id of its first job; a resumed run has more, in the same folder.
        recipe: as it was when the run was started, with the versions of its datasets.
        data: the datasets it learned from, as (ref, SHA-256).
        start: the run it goes on from with the hash of that one's tensors; empty where it begins anew.
        measured: the dataset that its loss is measured on, where the recipe names one, in the same way.
        result: what it came to, or none while it has not ended well.
    """

    name: str
    recipe: Recipe
    job: str
    base_sha256: str
    data: pins.Pins
    measured: pins.Pins
    start: pins.Pins
    beside: bool
    make_room: bool
    force: bool
    result: RunResult | None
    created_at: float
    finished_at: float | None
    folder: Path


@dataclass(frozen=True)
class RunState:
    """Where a run is: its newest job, and a word for it. One that never got a job is starting, or lost."""

    run: Run
    job: Job | None
    state: str

    @property
    def cause(self) -> str:
        """Why it ended as it did, where that is not as it should."""
        if self.job is not None:
            return "" if self.state == "done" else self.job.cause
        return NEVER_BEGAN if self.state == "lost" else ""

    def as_dict(self) -> RunRecord:
        """The run as the command line's JSON shows it."""
        history = read_history(self.run.folder)
        left = history.remaining() if self.state == "running" else None
        return {
            "run": self.run.name,
            "state": self.state,
            "job": self.job.id if self.job else None,
            "cause": self.cause,
            "message": self.job.message if self.job else "",
            "method": self.run.recipe.method,
            "base": self.run.recipe.base,
            "data": [ref for ref, _ in self.run.data],
            "step": history.step,
            "total": history.total,
            "loss": history.last("loss"),
            "eval_loss": history.last("eval_loss"),
            "tokens_per_s": history.last("tokens_per_s"),
            "eta_s": None if left is None else round(left[0], 1),
            "eta_error_s": None if left is None else round(left[1], 1),
            "created_at": self.run.created_at,
            "finished_at": self.run.finished_at,
            "result": self.run.result,
            "folder": str(self.run.folder),
        }


class RunStore:
    """Start, find and steer training runs, and keep what they came to."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.catalog = Catalog(workspace)
        self.registry = ModelRegistry(self.catalog)
        self.datasets = DatasetStore(self.catalog)
        self.jobs = JobStore(EventLog(workspace))

    # ── recipes ──

    def save_recipe(self, recipe: Recipe, note: str = "") -> int:
        """Keep a recipe as a version of its name; the same again makes none. Returns the version's number."""
        body = json.dumps(recipe.body)

        def work(connection: duckdb.DuckDBPyConnection) -> int:
            rows = connection.execute(
                "SELECT number, sha256 FROM training_recipes WHERE name = ? ORDER BY number DESC", [recipe.name]
            ).fetchall()
            for number, digest in rows:
                if digest == recipe.sha256:
                    return int(number)
            number = int(rows[0][0]) + 1 if rows else 1
            connection.execute(
                "INSERT INTO training_recipes (name, number, sha256, body, note, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                [recipe.name, number, recipe.sha256, body, note, time.time()],
            )
            return number

        return self.catalog.write(work)

    def recipes(self) -> list[tuple[str, int, Recipe, str, float]]:
        """All recipe versions as (name, number, recipe, note, time), newest first."""
        rows = self.catalog.read(
            lambda connection: connection.execute(
                "SELECT name, number, body, note, created_at FROM training_recipes ORDER BY created_at DESC"
            ).fetchall()
        )
        return [
            (name, int(number), made_of("training_recipes", "body", f"{name}@{number}", body, check), note, at)
            for name, number, body, note, at in rows
        ]

    def recipe(self, ref: str) -> Recipe:
        """A recipe by ``name`` or ``name@2``.

        Raises:
            NotFoundError: there is none.
        """
        name, _, number = ref.partition("@")
        for found, version, recipe, _, _ in self.recipes():
            if found == name and (not number or number == str(version)):
                return recipe
        raise NotFoundError("recipe", ref, "llmops train recipes lists them; the path of a file works, too.")

    # ── bases ──

    def base_of(self, recipe: Recipe) -> Model:
        """The base model of a recipe: a folder, which is registered by its name where it is not yet, or a GGUF file.

        Raises:
            InputRefusedError: it is none that can be trained.
            NotFoundError: there is no such model.
        """
        path = with_home(recipe.base)
        if "/" in recipe.base and path.is_dir():
            folders = (m for m in self.registry.all() if m.kind == "safetensors")
            known = next((m for m in folders if m.path.resolve() == path.resolve()), None)
            return known or self.registry.add(path, path.resolve().name)
        model = self.registry.get(recipe.base)
        refuse_untrainable(model)
        if trouble := model.trouble:
            raise InputRefusedError(
                "model_missing",
                f"the files of {model.name!r} in {model.path} have changed since it was registered: {trouble}",
                f"llmops model verify {model.name}",
            )
        # What was written since its hash was taken is read again: bytes can change where sizes do not.
        return self.registry.verify(model.name) if model.touched else model

    def checked(self, run: Run, *, data: bool = True) -> Model:
        """The base of a run, where it, and with ``data`` its datasets and its start, still are what it was started with.

        Raises:
            InputRefusedError: ``base_changed``, ``start_changed`` or ``data_changed``, and what :meth:`base_of` raises.
        """
        base = self.base_of(run.recipe)
        pins.check_base(f"run {run.name}", base, run.base_sha256)
        if data:
            pins.check_data(f"run {run.name}", (*run.data, *run.measured), self.datasets)
            checked_start(run, self, base)
        return base

    # ── runs ──

    def start(self, recipe: Recipe, *, beside: bool = False, make_room: bool = False, force: bool = False) -> Run:
        """Start a run, detached; with ``force`` also where its preflight finds errors.

        Raises:
            InputRefusedError: the base or the data do not go with the recipe.
        """
        refuse_local_options(recipe.target, beside=beside, make_room=make_room)
        base = self.base_of(recipe)
        sources(recipe, self.datasets)
        if recipe.facts.examples == "prompts":
            require_usable(self.workspace, recipe.reinforcement)
        start = start_pins(recipe, self, base)
        recipe, data, measured = pins.pin(recipe, self.datasets)
        options = json.dumps(
            {"beside": beside, "make_room": make_room, "force": force, "measured": measured, "start": start}
        )
        body, facts = json.dumps(recipe.model_dump()), json.dumps(data)
        launcher = JobLauncher(self.workspace)
        with launcher.place() as place:

            def note(connection: duckdb.DuckDBPyConnection) -> str:
                name = _next_name(connection, recipe.name)
                connection.execute(
                    f"INSERT INTO training_runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL, ?, NULL)",
                    [name, body, place.id, base.sha256, facts, options, time.time()],
                )
                return name

            # The run knows its job before there is one: whoever dies from here on, the two find each other.
            name = self.catalog.write(note)
            _launch(launcher, name, place)
        return self.get(name)

    def all(self) -> list[Run]:
        """All runs, the newest first."""
        rows = self.catalog.read(
            lambda connection: connection.execute(
                f"SELECT {_COLUMNS} FROM training_runs ORDER BY created_at DESC"
            ).fetchall()
        )
        return [self._run(row) for row in rows]

    def get(self, name: str) -> Run:
        """One run by name.

        Raises:
            NotFoundError: there is none.
        """
        rows = self.catalog.read(
            lambda connection: connection.execute(
                f"SELECT {_COLUMNS} FROM training_runs WHERE name = ?", [name]
            ).fetchall()
        )
        if not rows:
            raise NotFoundError("run", name, "llmops train list shows them.")
        return self._run(rows[0])

    def state(self, run: Run) -> RunState:
        """Where a run is now."""
        return self.states([run])[0]

    def states(self, runs: list[Run], jobs: list[Job] | None = None) -> list[RunState]:
        """Where several runs are now; ``jobs`` where all of them were read already."""
        newest = self.jobs.newest_for([run.job for run in runs], jobs)
        found = []
        for run in runs:
            job = newest.get(run.job)
            if run.result is not None and (job is None or job.state.final):
                # The result is the last that is kept of the work: a job that was killed after it has nothing left to do.
                word = "done"
            else:
                word = job.state.value if job is not None else "starting" if self.jobs.at_work(run.job) else "lost"
            if word in {"done", "cancelled"} and run.result is None:
                ended = read_history(run.folder).ended
                word = ended if ended in {"done", "paused", "stopped"} else "stopped"
            found.append(RunState(run, job, word))
        return found

    def stop(self, name: str, *, after_save: bool = False) -> RunState:
        """Stop a run now, or once it has written a checkpoint."""
        return self._steer(name, control.STOP_AFTER_SAVE if after_save else "")

    def pause(self, name: str) -> RunState:
        """Have a run write a checkpoint now and leave the device; resume goes on from it."""
        return self._steer(name, control.PAUSE)

    def _steer(self, name: str, what: str) -> RunState:
        state = self.state(self.get(name))
        if state.job is None or state.job.state.final:
            raise InputRefusedError("not_running", f"run {name} is {state.state}", "llmops train list shows which run.")
        if what:
            control.ask(state.run.folder, what)
        else:
            JobLauncher(self.workspace).cancel(state.job.id)
        return self.state(state.run)

    def resume(self, name: str) -> RunState:
        """Go on with a run that ended early, from its last complete checkpoint, or start one that never began.

        Raises:
            InputRefusedError: it runs, or it is done. NotFoundError: it was removed.
        """
        state = self.state(self.get(name))
        if state.run.result is not None:
            raise InputRefusedError("run_done", f"run {name} is done; there is nothing to resume")
        self.checked(state.run)
        launcher = JobLauncher(self.workspace)
        if state.job is not None:
            launcher.resume(state.job.id, unfinished=True)
            return self.state(state.run)
        with launcher.place(state.run.job) as place:
            # It may have been removed before its folder was taken.
            self.get(name)
            if place.id != state.run.job:
                # Earlier versions noted the job after it was started, and may not have come to that.
                known = "UPDATE training_runs SET job = ? WHERE name = ?"
                self.catalog.write(lambda connection: connection.execute(known, [place.id, name]))
            _launch(launcher, name, place)
        return self.state(self.get(name))

    def keep_result(self, run: Run, result: RunResult) -> None:
        """Record what a run came to; it is done then."""
        self.catalog.write(
            lambda connection: connection.execute(
                "UPDATE training_runs SET result = ?, finished_at = ? WHERE name = ?",
                [json.dumps(result), time.time(), run.name],
            )
        )

    # ── measurements ──

    def measured(
        self, shape: str, device: str, estimated: int, measured: int, step_s: float, tokens_per_s: float
    ) -> None:
        """Keep what a run took beside what was estimated, in bytes and seconds."""
        self.catalog.write(
            lambda connection: connection.execute(
                "INSERT INTO training_measurements (shape, device, estimated, measured, step_s, tokens_per_s, measured_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [shape, device, estimated, measured, step_s, tokens_per_s, time.time()],
            )
        )

    def calibration(self, shape: str, device: str) -> Calibration:
        """What the newest runs of a shape on a device were measured to take."""
        rows = self.catalog.read(
            lambda connection: connection.execute(
                "SELECT measured / estimated, tokens_per_s FROM training_measurements WHERE shape = ? AND device = ? "
                "ORDER BY measured_at DESC LIMIT 5",
                [shape, device],
            ).fetchall()
        )
        if not rows:
            return Calibration()
        return Calibration(sum(r[0] for r in rows) / len(rows), sum(r[1] for r in rows) / len(rows), len(rows))

    def _run(self, row: tuple[Any, ...]) -> Run:
        name, recipe, job, base, data, options, result, created, finished = row
        chosen = kept("training_runs", "options", name, options)
        pairs = kept("training_runs", "data", name, data)
        noted = made_of("training_runs", "recipe", name, recipe, check)
        if len(pairs) == len(noted.data):
            # Runs of earlier versions noted the versions here alone.
            noted = pins.with_versions(noted, [ref for ref, _ in pairs])
        return Run(
            name,
            noted,
            job,
            base,
            tuple((a, b) for a, b in pairs),
            tuple((a, b) for a, b in chosen.get("measured", [])),
            tuple((a, b) for a, b in chosen.get("start", [])),
            chosen["beside"],
            chosen["make_room"],
            chosen["force"],
            kept("training_runs", "result", name, result),
            created,
            finished,
            within(self.workspace.runs, job or f"none-{name}"),
        )


def _next_name(connection: duckdb.DuckDBPyConnection, recipe_name: str) -> str:
    known = {
        row[0] for row in connection.execute("SELECT name FROM training_runs UNION SELECT name FROM models").fetchall()
    }
    number = 1
    while f"{recipe_name}-{number}" in known:
        number += 1
    return f"{recipe_name}-{number}"


def _launch(launcher: JobLauncher, name: str, place: JobPlace) -> None:
    launcher.start(kind="train", title=f"train {name}", entry=ENTRY, arguments={"run_name": name}, place=place)
