"""Runs of chains: what one is asked for, checked before it starts; those that were; and going on from a step of one."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from llmops_tui.chains.definition import Body, Chain, misfit
from llmops_tui.chains.expressions import StepProcess
from llmops_tui.chains.reading import parse_chain
from llmops_tui.chains.records import RanRecord, RunAsked, RunRecord, SpanRecord
from llmops_tui.chains.resolution import Resolved, part_of, resolve
from llmops_tui.chains.spans import read_spans
from llmops_tui.chains.store import ChainStore
from llmops_tui.chains.tools import ChainTools
from llmops_tui.chains.values import foreign, kept
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.foreign_text import JsonObject, parse_yaml
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.store import Job, JobStore
from llmops_tui.models.answering_files import files_of
from llmops_tui.workspace.ids import resolve_prefix

KIND = "chain"
ENTRY: JobEntry[RanRecord] = JobEntry("llmops_tui.chains.job:run")
RESULTS = "results.jsonl"
_TOP = re.compile(r"^(?:row\[\d+\]/)?([A-Za-z]\w*)")
_SET = re.compile(r"([A-Za-z]\w*)\.([^=]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class ChainRunRecord:
    """A run as its job keeps it."""

    job: Job
    asked: RunAsked
    folder: Path

    @property
    def id(self) -> str:
        """How it is named: by its first job."""
        return self.job.resumes or self.job.id

    @property
    def ref(self) -> str:
        """Of which chain, with the version where it was one."""
        version = self.asked["version"]
        return self.asked["chain"] + ("" if version is None else f"@{version}")

    def spans(self) -> list[SpanRecord]:
        """Its steps so far."""
        return read_spans(self.folder)

    def as_dict(self) -> RunRecord:
        """The run as the command line's JSON shows it."""
        job = self.job
        return {
            "run": self.id,
            "chain": self.ref,
            "state": job.state.value,
            "message": job.message,
            "cause": job.cause,
            "inputs": self.asked["inputs"],
            "dataset": self.asked["dataset"],
            "model": self.asked["model"],
            "created_at": job.created_at,
            "finished_at": job.finished_at,
            "result": cast("RanRecord | None", job.result),
        }


def all_runs(jobs: JobStore, chain: str = "", limit: int = 1000) -> list[ChainRunRecord]:
    """The newest runs, the newest first; of one chain, where it is named."""
    found: dict[str, ChainRunRecord] = {}
    for job in jobs.of_kind(KIND, limit):
        if (job.resumes or job.id) not in found:
            one = _record(jobs, job)
            if not chain or one.asked["chain"] == chain:
                found[one.id] = one
    return list(found.values())


def get_run(jobs: JobStore, given: str) -> ChainRunRecord:
    """A run by its id, or the beginning of it, however long ago it was; also by the id of a job that resumed it.

    Raises:
        NotFoundError: there is none.
    """
    folders = jobs.folders_of(KIND)
    own = folders.get(given) or resolve_prefix("chain run", given, set(folders.values()))
    return _record(jobs, jobs.newest_for([own])[own])


def _record(jobs: JobStore, job: Job) -> ChainRunRecord:
    return ChainRunRecord(job, cast("RunAsked", job.spec["arguments"]["asked"]), jobs.folder(job))


@dataclass(frozen=True)
class RunOptions:
    """How a chain is run: by which model where it names none, over which rows, and whether known answers are taken."""

    model: str = ""
    dataset: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    fresh: bool = False


def prepare_run(
    tools: ChainTools,
    ref: str,
    inputs: Mapping[str, object],
    options: RunOptions,
    *,
    text: str | None = None,
    before: ChainRunRecord | None = None,
    step: str = "",
) -> tuple[RunAsked, Resolved]:
    """What a run is asked for, and its chain with all that it names; everything is checked.

    ``text`` is that of a chain that is in no version; with ``before`` the run goes on from a ``step`` of that one.

    Raises:
        ChainRefusedError, NotFoundError, InputRefusedError: ``bad_input``, ``no_model``, ``columns_unmatched``.
    """
    version = None if text is not None else ChainStore(tools.catalog).get(ref)
    chain = parse_chain(version.text if version is not None else text or "")
    resolved = resolve(chain, tools, model=options.model, pins=before.asked["pins"] if before is not None else None)
    for one in resolved.steps.values():
        if one.prompt is not None and not one.model:
            raise InputRefusedError(
                "no_model",
                f"step {one.step.name} names no model, and neither does the chain",
                "Choose one with --model NAME.",
            )
    dataset, columns = options.dataset, dict(options.columns)
    if dataset:
        rows = tools.datasets.get(dataset)
        dataset, columns = rows.ref, input_columns(chain, rows, columns, inputs, tools.process)
    else:
        check_inputs(chain, inputs)
        if columns or options.limit is not None:
            raise InputRefusedError(
                "bad_input", "columns and a limit are for the rows of a dataset", "Name it with --dataset."
            )
    if before is not None:
        check_again(chain, parse_chain(before.asked["text"]), resolved, step)
    asked: RunAsked = {
        "chain": version.name if version is not None else ref,
        "version": version.number if version is not None else None,
        "text": chain.text,
        "inputs": dict(inputs),
        "dataset": dataset,
        "columns": columns,
        "limit": options.limit,
        "model": options.model,
        "fresh": options.fresh,
        "begun_at": time.time(),
        "pins": dict(resolved.pins),
        "again": {"run": before.id, "step": step} if before is not None else None,
        "models": model_files(resolved, tools),
    }
    return asked, resolved


def model_files(resolved: Resolved, tools: ChainTools) -> dict[str, str]:
    """The models that a chain asks, each with the hash of its files."""
    return {name: files_of(tools.registry.get(name)) for name in resolved.models}


def check_inputs(chain: Chain, inputs: Mapping[str, object]) -> None:
    """Refuse inputs that do not fit.

    Raises:
        InputRefusedError: ``bad_input``.
    """
    known = ", ".join(f"{one.name} ({one.type})" for one in chain.inputs.values()) or "none"
    for name in inputs:
        if name not in chain.inputs:
            raise InputRefusedError("bad_input", f"the chain has no input {name!r}", f"Its inputs: {known}.")
    for one in chain.inputs.values():
        if one.name not in inputs:
            if one.required:
                raise InputRefusedError("bad_input", f"the input {one.name!r} has no value", f"Its inputs: {known}.")
        elif wrong := misfit(one.type, inputs[one.name]):
            raise InputRefusedError("bad_input", f"the input {one.name!r}: {wrong}", f"Its inputs: {known}.")
        else:
            kept(inputs[one.name], f"the input {one.name!r}")


def read_input(chain: Chain, name: str, given: str) -> Any:
    """A value as it is typed: a text as it stands, all else as JSON or YAML.

    Raises:
        InputRefusedError: ``bad_input``.
    """
    one = chain.inputs.get(name)
    if one is None or one.type == "text":
        return given
    try:
        value = parse_yaml(given)
    except yaml.YAMLError as error:
        raise InputRefusedError("bad_input", f"the input {name!r} cannot be read: {error}"[:300]) from error
    if (odd := foreign(value)) is not None:
        raise InputRefusedError("bad_input", f"the input {name!r}: {odd[1]}", "Write it in quotes, as a text.")
    return value


def input_columns(
    chain: Chain, rows: DatasetVersion, given: Mapping[str, str], inputs: Mapping[str, object], process: StepProcess
) -> dict[str, str]:
    """The expression over a row of each input: as given, else the column of its name.

    Raises:
        InputRefusedError: ``columns_unmatched``: there is none for an input that has no value, or one uses what is no column.
    """
    known = [column.name for column in rows.columns]
    hint = f"Columns of {rows.ref}: {', '.join(known)}."
    for (name, text), used in zip(given.items(), process.names(list(given.values())), strict=True):
        if name not in chain.inputs:
            raise InputRefusedError("columns_unmatched", f"the chain has no input {name!r}", hint)
        if isinstance(used, str) or (missing := next((one for one in used if one not in known), "")):
            told = used if isinstance(used, str) else f"there is no column {missing!r}"
            raise InputRefusedError("columns_unmatched", f"{name}={text[:60]}: {told}", hint)
    found = dict(given)
    for one in chain.inputs.values():
        if one.name in found or one.name in inputs:
            continue
        if one.name in known:
            found[one.name] = one.name
        elif one.type == "messages" and "messages" in known:
            found[one.name] = "messages"
        elif one.required:
            raise InputRefusedError(
                "columns_unmatched",
                f"{rows.ref} has no column for the input {one.name!r}; there are {', '.join(known)}",
                f"Say what it is: --column {one.name}=COLUMN, or an expression such as messages[1].content.",
            )
    return found


def row_inputs(asked: RunAsked, row: Row, process: StepProcess) -> JsonObject:
    """The inputs of one row of a dataset.

    Raises:
        InputRefusedError: ``bad_expression``: the row has no such value.
    """
    found = {name: process.evaluate(text, row) for name, text in asked["columns"].items()}
    return {**asked["inputs"], **found}


# ── going on from a step ──


def steps_before(resolved: Resolved, step: str) -> list[str]:
    """The steps of a chain that need not be done again where one begins at ``step``."""
    found: list[str] = []
    for names in resolved.orders[resolved.chain.body.place]:
        found += [name for name in names if name != step]
        if step in names:
            return found
    return found


def pinned_spans(before: ChainRunRecord, resolved: Resolved, step: str) -> list[SpanRecord]:
    """The steps of an earlier run that a run from ``step`` on takes over."""
    kept = set(steps_before(resolved, step))
    return [span for span in before.spans() if (found := _TOP.match(span["path"])) and found[1] in kept]


def check_again(chain: Chain, old: Chain, resolved: Resolved, step: str) -> None:
    """Refuse to go on from a step where one before it is another than in the earlier run.

    Raises:
        NotFoundError: there is no such step. InputRefusedError: ``changed_before``.
    """
    part_of(chain, step)
    before = steps_before(resolved, step)
    # What decides steps without standing in them: the model of those that name none, and what an input is that was not given.
    unchanged = {"model": old.model == chain.model, "inputs": old.inputs == chain.inputs}
    for what, same in unchanged.items():
        if before and not same:
            raise InputRefusedError(
                "changed_before",
                f"{what} of the chain is another than in the run, and {before[0]} comes before {step}",
                f"Go on from {before[0]}: --from {before[0]}, or run the chain.",
            )
    for name in before:
        then = old.body.steps.get(name)
        now = chain.body.steps[name]
        if then is None or (then.fields, _shape(then.bodies)) != (now.fields, _shape(now.bodies)):
            raise InputRefusedError(
                "changed_before",
                f"step {name} comes before {step}, and is another than in the run",
                f"Go on from {name}: --from {name}.",
            )


def _shape(bodies: Mapping[str, Body]) -> object:
    return {
        part: (body.output, {name: (step.fields, _shape(step.bodies)) for name, step in body.steps.items()})
        for part, body in bodies.items()
    }


def edited(text: str, changes: list[str]) -> str:
    """A chain's text with fields of its outermost steps set: ``label.parameters.temperature=0.7``.

    Raises:
        InputRefusedError: ``bad_edit``. NotFoundError: there is no such step.
    """
    body = parse_yaml(text, core=True)
    for change in changes:
        found = _SET.fullmatch(change)
        if found is None:
            raise InputRefusedError(
                "bad_edit", f"{change[:60]!r} is no change", "Such as label.parameters.temperature=0.7."
            )
        name, path, value = found[1], found[2].split("."), found[3]
        if name not in body["steps"]:
            raise NotFoundError("step", name, f"The chain's steps are {', '.join(body['steps'])}.")
        # Copies all the way: what an alias shares with another step stays as it is there.
        place = body["steps"] = dict(body["steps"])
        for key in (name, *path[:-1]):
            place[key] = dict(inner) if isinstance(inner := place.get(key, {}), dict) else inner
            place = place[key]
            if not isinstance(place, dict):
                raise InputRefusedError("bad_edit", f"{name}.{'.'.join(path)}: {key} is no mapping")
        try:
            place[path[-1]] = parse_yaml(value, core=True)
        except yaml.YAMLError as error:
            raise InputRefusedError("bad_edit", f"{change[:60]!r}: the value cannot be read: {error}"[:300]) from error
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)
