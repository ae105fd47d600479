"""What an improvement found, as a record: candidates with scores and fates, the front, and the verdict as a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from llmops_tui.counts import counted
from llmops_tui.evaluation.difference import interval_words, points
from llmops_tui.evaluation.statistics.clusters import numbered
from llmops_tui.evaluation.statistics.intervals import mean_interval
from llmops_tui.improvement.budget import Spent
from llmops_tui.improvement.call_log import CallLog
from llmops_tui.improvement.prepared import Prepared
from llmops_tui.improvement.race import Runner
from llmops_tui.improvement.records import CandidateRecord, ImprovedRecord, SealedRecord
from llmops_tui.improvement.search import Found, Standing
from llmops_tui.improvement.verdict import OPENED_AT, Judged

_CLOSED = "The sealed rows were not looked at."


def record_of(
    improvement: str,
    prepared: Prepared,
    found: Found,
    log: CallLog,
    spent: Spent,
    versions: Mapping[int, int],
    *,
    step: str,
    done: bool,
) -> ImprovedRecord:
    """All of it; ``versions`` are the numbers of the versions of candidates by the candidates' own numbers."""
    runners = _runners(found)
    candidates = [_candidate(one, prepared, log, runners, versions) for one in found.standings]
    _mark_front(candidates, prepared.better)
    winner = found.winner
    sealed = None
    if found.judged is not None and winner is not None:
        sealed = _sealed(found.judged, versions[winner.number])
    plan = prepared.plan
    return {
        "improvement": improvement,
        "prompt": prepared.seed.prompt,
        "seed": prepared.seed.number,
        "metric": prepared.metric.called,
        "better": prepared.better,
        "model": plan.model,
        "reflector": plan.writer,
        "data": prepared.data.ref,
        "rows": prepared.parts.counts,
        "step": step,
        "done": done,
        "verdict": verdict_of(prepared, found, versions) if done else "",
        "told": list(prepared.told),
        "candidates": candidates,
        "refused": [{"turn": turn, "why": why} for turn, why in found.refused],
        "best": versions[winner.number] if winner is not None else None,
        "p_select": found.p_select if winner is not None else None,
        "opened_at": OPENED_AT,
        "sealed": sealed,
        "stopped": found.stopped,
        "taken": {
            "calls": log.calls,
            "cached": log.cached,
            "reflections": len(log.proposals),
            "seconds": spent.seconds,
            "joules": spent.joules,
        },
    }


def _runners(found: Found) -> dict[int, Runner]:
    if found.race is None:
        return {}
    return {runner.candidate.number: runner for runner in (found.race.seed, *found.race.runners)}


def _candidate(
    one: Standing, prepared: Prepared, log: CallLog, runners: Mapping[int, Runner], versions: Mapping[int, int]
) -> CandidateRecord:
    candidate, first = one.candidate, one.candidate.number == 0
    runner = runners.get(candidate.number)
    mean, low, high, rows, gain = None, None, None, 0, None
    if runner is not None and runner.scores:
        mean, low, high, rows = _mean(runner, prepared)
        gain = None if first else _gain(runners[0], runner, prepared.better)
    return {
        "version": versions[candidate.number],
        "parent": None if first else versions[candidate.parent],
        "kind": candidate.kind,
        "words": candidate.words,
        "prompt_tokens": log.prompt_tokens(candidate.sha256),
        "heat": None if first else one.heat,
        "heat_rows": one.heat_rows,
        "mean": mean,
        "low": low,
        "high": high,
        "rows": rows,
        "gain": gain,
        "front": False,
        "fate": one.fate,
    }


def _mean(runner: Runner, prepared: Prepared) -> tuple[float | None, float | None, float | None, int]:
    rows = prepared.parts.select[: len(runner.scores)]
    known = [(score, row) for score, row in zip(runner.scores, rows, strict=True) if score is not None]
    if not known:
        return None, None, None, 0
    values = np.array([score for score, _ in known], np.float64)
    found = mean_interval(values, numbered([prepared.parts.groups.get(row, row) for _, row in known]))
    return float(values.mean()), finite(found.low), finite(found.high), len(known)


def _gain(seed: Runner, runner: Runner, better: int) -> float | None:
    """The mean gain over the seed on the rows that both were asked, above 0 where it is better."""
    pairs = [(a, b) for a, b in zip(seed.scores, runner.scores, strict=False) if a is not None and b is not None]
    return better * float(np.mean([b - a for a, b in pairs])) if pairs else None


def length_of(candidate: CandidateRecord) -> float:
    """How long a candidate is: its requests' tokens, or its words where nobody counted."""
    return candidate["prompt_tokens"] if candidate["prompt_tokens"] is not None else float(candidate["words"])


def _mark_front(candidates: Sequence[CandidateRecord], better: int) -> None:
    """Mark those that none is better than and as short, or as good and shorter, among those that ran all rows."""
    most = max((one["rows"] for one in candidates), default=0)
    whole = [one for one in candidates if one["rows"] == most and one["mean"] is not None]

    def score(one: CandidateRecord) -> float:
        return better * (one["mean"] or 0.0)

    for one in whole:
        one["front"] = not any(
            score(other) >= score(one)
            and length_of(other) <= length_of(one)
            and (score(other) > score(one) or length_of(other) < length_of(one))
            for other in whole
        )


def finite(value: float) -> float | None:
    """A figure for JSON; none where it is not determined."""
    return value if math.isfinite(value) else None


def _sealed(judged: Judged, version: int) -> SealedRecord:
    i, pairs = judged.interval, judged.paired
    return {
        "version": version,
        "seed": float(pairs.seed.mean()) if pairs.n else 0.0,
        "candidate": float(pairs.candidate.mean()) if pairs.n else 0.0,
        "difference": finite(i.value) or 0.0,
        "low": finite(i.low),
        "high": finite(i.high),
        "level": i.level,
        "method": i.method,
        "p": judged.p,
        "n": pairs.n,
        "wins": pairs.wins,
        "ties": pairs.n - pairs.wins - pairs.losses,
        "losses": pairs.losses,
        "left_out": pairs.left_out,
        "smallest_effect": finite(judged.smallest),
        "look": judged.look,
        "verdict": "better" if judged.better else "worse" if judged.worse else "unclear",
    }


def verdict_of(prepared: Prepared, found: Found, versions: Mapping[int, int]) -> str:
    """The verdict as a colleague can quote it."""
    name = prepared.metric.called
    if found.judged is not None and found.winner is not None:
        ref = f"{prepared.seed.prompt}@{versions[found.winner.number]}"
        return sealed_sentence(found.judged, ref, prepared.seed.ref, name, share=prepared.metric.bounds == (0.0, 1.0))
    if found.closed:
        return f"No verdict: {found.closed}. Begin another one with --look-again, or with more rows."
    tried = counted(len(found.standings) - 1, "candidate")
    if found.winner is None:
        why = f"the budget ended: {found.stopped}" if found.stopped else "none was better on the reflect part"
        return (
            f"No improvement was found: of {tried} none came to be held against {prepared.seed.ref} ({why}). {_CLOSED}"
        )
    return (
        f"No improvement was found: of {tried} the best looks no better on the select part than the best of equal ones may "
        f"(corrected p {found.p_select:.2g}; up to {OPENED_AT:g} is worth a look). {_CLOSED}"
    )


def sealed_sentence(judged: Judged, ref: str, seed: str, metric: str, *, share: bool) -> str:
    """What the sealed rows say, with rows, interval, and the smallest effect that could have been seen."""
    i, pairs = judged.interval, judged.paired
    unit = " points" if share else ""

    def told(value: float, *, signed: bool = True) -> str:
        return points(value, share=share, signed=signed)

    rows = counted(pairs.n, "sealed row")
    if not math.isfinite(i.low) or i.too_few:
        return f"Too few to say: {metric} of {ref} differs by {told(i.value)}{unit} on {rows}."
    sure = f"({interval_words(i, share=share)}, {rows})"
    if judged.better or judged.worse:
        way = "better" if judged.better else "worse"
        text = f"{ref} is {way} than {seed} on {metric} by {told(abs(i.value), signed=False)}{unit} {sure}."
    else:
        text = f"No difference between {ref} and {seed} on {metric} was found: {told(i.value)}{unit} {sure}."
    if math.isfinite(judged.smallest):
        text += f" The smallest difference that so many rows would show is about {told(judged.smallest, signed=False)}{unit}."
    if judged.look > 1:
        text += f" This is look {judged.look} at these rows, so the interval is wider."
    if pairs.left_out:
        text += f" {counted(pairs.left_out, 'row')} had no score and {'is' if pairs.left_out == 1 else 'are'} left out."
    return text
