"""What an improvement will take at the most, measured before it is started: a few rows are asked, and the rest is projected.

The rows that were asked to measure are of the reflect part, and the improvement does not ask for them again.
"""

from __future__ import annotations

import asyncio
import time

from llmops_tui.counts import counted
from llmops_tui.evaluation.statistics.power import smallest_difference
from llmops_tui.foreign_text import JsonObject
from llmops_tui.hardware.energy_counters import EnergyMeter
from llmops_tui.improvement.bench import opened
from llmops_tui.improvement.call_log import CallLog
from llmops_tui.improvement.plan import check_plan
from llmops_tui.improvement.prepared import Prepared, prepare
from llmops_tui.improvement.race import cost
from llmops_tui.improvement.records import EstimateRecord
from llmops_tui.improvement.search import HEAT_ROWS, MOST_RACED
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.workspace.catalog import Catalog

ESTIMATE_ENTRY: JobEntry[EstimateRecord] = JobEntry("llmops_tui.improvement.estimate:run_estimate")
_SAMPLES = 8
# The share of rows that two prompts answer differently, where nobody knows it yet.
_DIFFERING = 0.3


def run_estimate(context: JobContext, plan: JsonObject) -> EstimateRecord:
    """The job: ask the seed a few rows, and project what all will take."""
    catalog = Catalog(context.workspace)
    prepared = prepare(catalog, check_plan(plan))
    context.report(0.0, f"starting {prepared.model.name}")
    log = CallLog(context.folder / "sample.jsonl")
    try:
        seconds, joules = asyncio.run(_measured(context, catalog, prepared, log))
    finally:
        log.close()
    return projected(prepared, seconds, joules)


async def _measured(
    context: JobContext, catalog: Catalog, prepared: Prepared, log: CallLog
) -> tuple[float | None, float | None]:
    """Seconds and joules of a call, of several at once as they will be; none where all answers were there before."""
    rows = prepared.parts.reflect[: _SAMPLES + 1]
    async with opened(catalog, prepared, "improvement", log, context.check) as (bench, _):
        # The first one waits for the model to be loaded.
        await bench.score(prepared.candidate, rows[:1])
        before, began, meter = log.calls, time.monotonic(), EnergyMeter()
        await bench.score(prepared.candidate, rows[1:])
        seconds, joules, asked = time.monotonic() - began, meter.stop().joules, log.calls - before
    if asked < (len(rows) - 1) / 2:
        return None, None
    return seconds / asked, joules / asked if joules is not None else None


def most_calls(prepared: Prepared) -> int:
    """The calls of the model if nothing is known and no limit ends it: heats of two, a race, and the sealed rows of both."""
    turns = prepared.plan.turns
    heats = turns * 2 * min(HEAT_ROWS, len(prepared.parts.reflect))
    race = cost(min(MOST_RACED, turns), len(prepared.parts.select))
    return heats + race + 2 * len(prepared.parts.sealed)


def least_calls(prepared: Prepared) -> int:
    """The calls without which nothing can come of it: one heat, a race of one, and the sealed rows of both."""
    sealed = 2 * len(prepared.parts.sealed)
    return 2 * min(HEAT_ROWS, len(prepared.parts.reflect)) + cost(1, len(prepared.parts.select)) + sealed


def projected(prepared: Prepared, call_seconds: float | None, call_joules: float | None) -> EstimateRecord:
    """What it will take at the most at this speed, and which limit ends it earlier."""
    plan, calls = prepared.plan, most_calls(prepared)
    turns = sum(plan.ways[n % len(plan.ways)] == "instructions" for n in range(plan.turns))
    seconds = call_seconds * calls if call_seconds is not None else None
    joules = call_joules * calls if call_joules is not None else None
    limited = []
    if plan.calls is not None and plan.calls < calls:
        limited.append(counted(plan.calls, "call"))
    if plan.minutes is not None and seconds is not None and 60 * plan.minutes < seconds:
        limited.append(f"{plan.minutes:g} minutes")
    if plan.watt_hours is not None and joules is not None and 3600 * plan.watt_hours < joules:
        limited.append(f"{plan.watt_hours:g} Wh")
    told = list(prepared.told)
    if plan.calls is not None and plan.calls < least_calls(prepared):
        told.append(
            f"{counted(plan.calls, 'call')} are not enough for one candidate with its race and the sealed rows, which takes "
            f"{least_calls(prepared):,}: nothing can come of it"
        )
    return {
        "calls": calls,
        "reflections": 2 * turns,
        "rows": prepared.parts.counts,
        "call_seconds": call_seconds,
        "seconds": seconds,
        "joules": joules,
        "smallest_effect": smallest_difference(len(prepared.parts.sealed), _DIFFERING),
        "limited": " and ".join(limited),
        "told": told,
    }


def estimate_text(found: EstimateRecord) -> str:
    """The estimate in a few sentences."""
    rows = ", ".join(f"{count:,} {name}" for name, count in found["rows"].items())
    time_ = "time not known" if found["seconds"] is None else f"about {max(1, round(found['seconds'] / 60)):,} min"
    energy = "energy not measured here" if found["joules"] is None else f"about {found['joules'] / 3600:.2g} Wh"
    text = (
        f"rows: {rows}; at the most {counted(found['calls'], 'call')} of the model, {time_}, {energy}, "
        f"and {counted(found['reflections'], 'call')} of the reflector"
    )
    if found["limited"]:
        text += f"; held to {found['limited']}, with what the sealed rows need set aside"
    if found["smallest_effect"] is not None:
        text += (
            f". The sealed rows would show a difference of about {100 * found['smallest_effect']:.2g} points of right or "
            "wrong, if three in ten rows are answered differently"
        )
    return text
