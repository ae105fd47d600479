"""The job that writes synthetic rows: asks once for each task, filters, and keeps a version. Killed, it goes on where it was."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import time
from collections.abc import Sequence

from llmops_tui.counts import counted
from llmops_tui.datasets.origins import COLUMN, OriginRecord
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.rejects import rejects_path, write_rejects
from llmops_tui.datasets.sources.base import Reject
from llmops_tui.datasets.store import DatasetStore, check_name
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.metrics.model_graded import Judge
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.synthesis.attempts import AttemptLog, Grade
from llmops_tui.synthesis.filters import Candidate, Sorted
from llmops_tui.synthesis.funnel import funnel_of
from llmops_tui.synthesis.plan import check_plan
from llmops_tui.synthesis.prepared import Prepared, each, opened, prepare
from llmops_tui.synthesis.records import SynthesisedRecord
from llmops_tui.synthesis.writer import ENDS
from llmops_tui.workspace.catalog import Catalog

ENTRY: JobEntry[SynthesisedRecord] = JobEntry("llmops_tui.synthesis.job:run_synthesis")
KIND = "synthesis"
_PART_ROWS = 5000
_RAW = 100_000


def start_arguments(prepared: Prepared, name: str) -> JsonObject:
    """The arguments of the job; the model is named with its hash, so that another of its name is noticed.

    Raises:
        InputRefusedError: the name cannot be a dataset's.
    """
    check_name(name)
    judge = {"judge_sha256": prepared.judge.sha256} if prepared.judge is not None else {}
    return {"plan": prepared.plan.as_record(), "name": name, "model_sha256": prepared.model.sha256, **judge}


def run_synthesis(
    context: JobContext, plan: JsonObject, name: str, model_sha256: str, judge_sha256: str = ""
) -> SynthesisedRecord:
    """The job: write the rows of a plan into a dataset. Started again in its folder, it goes on where it was."""
    catalog = Catalog(context.workspace)
    prepared = prepare(catalog, check_plan(plan))
    for model, began in ((prepared.model, model_sha256), (prepared.judge, judge_sha256)):
        if model is not None and began and model.sha256 != began:
            told = f"{model.name} is another model now than the one that this was started with"
            raise LlmopsError("model_changed", told, "Start it anew.")
    log = AttemptLog(context.folder / "attempts.jsonl")
    try:
        asyncio.run(_ask_all(context, catalog, prepared, log))
        found = prepared.sieve.sort(prepared.tasks, log.attempts)
        if prepared.plan.filters.judge:
            asyncio.run(_judge_all(context, catalog, prepared, log, found.kept))
            found = prepared.sieve.judged(found, log.grades)
    finally:
        log.close()
    context.report(0.97, "keeping the rows")
    return _kept(context, DatasetStore(catalog), prepared, name, found, log)


async def _ask_all(context: JobContext, catalog: Catalog, prepared: Prepared, log: AttemptLog) -> None:
    """Ask for what was not answered yet."""
    left = [task for task in prepared.tasks if task.number not in log.attempts]
    if not left:
        return
    total, began, there = len(prepared.tasks), time.monotonic(), len(log.attempts)
    share = 0.9 if prepared.plan.filters.judge else 0.95
    context.report(
        share * there / total, f"{there:,} of {counted(total, 'row')} are there; starting {prepared.model.name}"
    )
    async with opened(catalog, prepared, context.job_id) as (writer, asker):

        async def write(item: int) -> None:
            context.check()
            log.add(await writer.attempt(left[item]))
            done = len(log.attempts)
            rate = (done - there) / max(1e-9, time.monotonic() - began)
            context.report(share * done / total, f"{done:,} of {counted(total, 'row')}, {60 * rate:,.0f} a minute")

        await each(write, range(len(left)))
        asker.cache.flush()


async def _judge_all(
    context: JobContext, catalog: Catalog, prepared: Prepared, log: AttemptLog, kept: Sequence[Candidate]
) -> None:
    """Have the judge grade what passed all else, and was not graded yet."""
    left = [one for one in kept if one.task.number not in log.grades]
    filters = prepared.plan.filters
    judge = Judge(model=filters.judge, rubric=filters.rubric)
    async with opened(catalog, prepared, context.job_id) as (_, asker):

        async def grade(one: Candidate) -> None:
            context.check()
            log.add(await _graded(judge, one, prepared, asker))
            context.report(
                0.9 + 0.05 * len(log.grades) / max(1, len(kept)), f"{len(log.grades):,} of {len(kept):,} graded"
            )

        await each(grade, left)
        asker.cache.flush()


async def _graded(judge: Judge, one: Candidate, prepared: Prepared, asker: Asker) -> Grade:
    case = Case(one.task.number, "", messages=(ChatMessage(role="user", content=_asked(one, prepared)),))
    try:
        score = await judge.score_by_asking(case, Answer(text=one.text), asker)
    except LlmopsError as error:
        if error.code in ENDS:
            raise
        return Grade(one.task.number, None, f"{error.code}: {error.message}"[:300])
    return Grade(one.task.number, score.value, score.reason)


def _asked(one: Candidate, prepared: Prepared) -> str:
    """What a row was asked for, in words for the judge."""
    base = one.task.base
    if prepared.rewording is not None and base is not None:
        return f"Say this in other words, and keep its meaning:\n\n{prepared.rewording.text_of(base.row)}"
    parts = [f"{name}: {value}" for name, value in prepared.shape.given(base.row if base else None).items()]
    parts += [f"topic: {one.task.topic}"] if one.task.topic else []
    parts += [f"example: {json.dumps(base.answer, ensure_ascii=False)}"] if base is not None else []
    parts += [prepared.plan.guidance] if prepared.plan.guidance else []
    return "Write a row of a dataset.\n\n" + "\n".join(parts)


# ── keeping ──


def origin_for(prepared: Prepared, one: Candidate) -> OriginRecord:
    """What is kept of how a row was made."""
    plan = prepared.plan
    origin: OriginRecord = {
        "by": "model",
        "way": plan.way,
        "model": prepared.model.name,
        "model_sha256": prepared.model.sha256,
        "prompt": prepared.prompt.ref,
        "parameters": plan.parameters.model_dump(mode="json", exclude={"seed"}, exclude_defaults=True),
        "seed": one.task.seed,
        "parents": one.task.parents,
    }
    if one.task.topic:
        origin["topic"] = one.task.topic
    if one.attempt.between:
        origin["between"] = one.attempt.between
    return origin


def _kept(
    context: JobContext, store: DatasetStore, prepared: Prepared, name: str, found: Sorted, log: AttemptLog
) -> SynthesisedRecord:
    fallen = rejects_of(found)
    funnel = funnel_of(len(found.kept), fallen)
    if not found.kept:
        counts = ", ".join(f"{stage['rows']:,} {stage['stage']}" for stage in funnel["stages"])
        raise InputRefusedError(
            "nothing_kept",
            f"none of {counted(funnel['asked'], 'row')} is left: {counts}",
            f"The answers are in {log.path}. Use another model, other seeds or topics, or wider filters.",
        )
    folder = context.folder / "rows"
    # What an earlier try had begun to write is written anew: it takes no time.
    shutil.rmtree(folder, ignore_errors=True)
    writer = PartWriter(folder)
    rows: list[Row] = [one.row | {COLUMN: dict(origin_for(prepared, one))} for one in found.kept]
    for start in range(0, len(rows), _PART_ROWS):
        writer.add(rows[start : start + _PART_ROWS])
    columns = writer.finish()
    lines = context.folder / "fallen.jsonl"
    lines.write_bytes(b"".join(_reject_line(reject) for reject in fallen))
    lines.chmod(0o600)
    made: list[DatasetVersion] = []

    def keep_fallen(fresh: DatasetVersion) -> None:
        made.append(fresh)
        if fallen:
            write_rejects(context.workspace, fresh, lines)

    parent = next(iter(store.logs().get(name, [])), None)
    version = store.keep(
        folder,
        name,
        kind=prepared.shape.kind,
        columns=columns,
        recipe=_recipe(prepared),
        rejected=len(fallen),
        note=_note(prepared, found),
        parent=parent.number if parent else None,
        beside=keep_fallen,
    )
    if version.id != made[0].id:
        # The newest version is the same, and has its own.
        rejects_path(context.workspace, made[0]).unlink(missing_ok=True)
    attempts = log.attempts.values()
    return {
        **version.as_dict(),
        "funnel": funnel,
        "told": prepared.told,
        "calls": sum(a.calls for a in attempts) + len(log.grades),
        "prompt_tokens": sum(a.prompt_tokens for a in attempts),
        "completion_tokens": sum(a.completion_tokens for a in attempts),
    }


def rejects_of(found: Sorted) -> list[Reject]:
    """What fell, as a version keeps what it did not take; the place of each is the number of its task."""
    made = []
    for one in sorted(found.fallen, key=lambda f: f.task):
        raw = one.said.encode("utf-8", "replace")
        made.append(Reject(one.stage, one.task, -1, len(raw), f"{one.stage}: {one.reason}"[:500], raw[:_RAW]))
    return made


def _reject_line(reject: Reject) -> bytes:
    return json.dumps(vars(reject) | {"raw": base64.b64encode(reject.raw).decode()}).encode() + b"\n"


def _note(prepared: Prepared, found: Sorted) -> str:
    way = {"rows": "written", "paraphrase": "paraphrased", "back-translation": "translated there and back"}
    return (
        f"{way[prepared.plan.way]} by {prepared.model.name}: {len(found.kept):,} of "
        f"{counted(len(found.kept) + len(found.fallen), 'row')} left after filters"
    )


def _recipe(prepared: Prepared) -> Recipe:
    """The plan, and what the rows were made of: seeds, model and prompt, by which the lineage finds them."""
    inputs = [(prepared.seeds.ref, prepared.seeds.sha256)] if prepared.seeds is not None else []
    inputs += [(prepared.model.name, prepared.model.sha256)] if prepared.model.sha256 else []
    inputs.append((prepared.prompt.ref, prepared.prompt.sha256))
    return Recipe("synthesise", prepared.plan.as_record(), tuple(inputs))
