"""What a run of a chain will ask for, before it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmops_tui.chains.definition import Body, BranchStep, MapStep, RepeatStep, Step
from llmops_tui.chains.records import CostRecord, RunAsked, StepCost
from llmops_tui.chains.resolution import Resolved
from llmops_tui.chains.runs import ChainRunRecord, all_runs, steps_before
from llmops_tui.chains.tools import ChainTools
from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import JobStore


def cost_of(asked: RunAsked, resolved: Resolved, tools: ChainTools, jobs: JobStore) -> CostRecord:
    """How many requests a run makes at least and at most, and the time and tokens that they take by an earlier run."""
    rows = 1
    if asked["dataset"]:
        whole = tools.datasets.get(asked["dataset"]).rows
        rows = min(whole, asked["limit"] or whole)
    again = asked["again"]
    left_out = set(steps_before(resolved, again["step"])) if again is not None else set()
    measured = _Measured(all_runs(jobs, asked["chain"]))
    steps: list[StepCost] = []
    # Of a dataset each row may bring another list.
    given = {} if asked["dataset"] else {**resolved.chain.defaults(), **asked["inputs"]}
    for step, least, most in _asking(resolved, resolved.chain.body, 1, 1, left_out, given):
        seconds, tokens = measured.of(step.name)
        steps.append(
            {
                "step": step.name,
                "model": resolved.steps[step.place].model,
                "least": least * rows,
                "most": None if most is None else most * rows,
                "seconds": seconds,
                "tokens": tokens,
            }
        )
    known = [step for step in steps if step["least"]]
    highest = [step["most"] for step in steps]
    each = measured.seconds
    return {
        "chain": asked["chain"],
        "rows": rows,
        "steps": steps,
        "least": sum(step["least"] for step in steps),
        "most": None if None in highest else sum(one or 0 for one in highest),
        "seconds": sum(step["least"] for step in known) * each if each is not None else None,
        "tokens": None
        if any(step["tokens"] is None for step in known)
        else sum(step["least"] * (step["tokens"] or 0) for step in known),
        "measured": measured.by,
    }


def cost_text(cost: CostRecord) -> str:
    """The same in words, in one line."""
    least, most = cost["least"], cost["most"]
    if most == least:
        told = counted(least, "request")
    elif most is None:
        told = f"at least {counted(least, 'request')}, and more for each member of a list"
    else:
        told = f"{least:,} to {most:,} requests"
    models = ", ".join(dict.fromkeys(step["model"] for step in cost["steps"]))
    parts = [f"{told} to {models}" if models else "it asks no model"]
    if cost["tokens"] is not None and cost["seconds"] is not None:
        of = "" if most == least else f" for {counted(least, 'request')} alone" if most is None else " at least"
        parts.append(f"about {cost['tokens']:,.0f} tokens and {cost['seconds']:,.0f} s{of}, by {cost['measured']}")
    elif least:
        parts.append("no run has measured it yet")
    return "; ".join(parts)


def _asking(
    resolved: Resolved, body: Body, least: int, most: int | None, left_out: set[str], given: Mapping[str, object]
) -> Iterator[tuple[Step, int, int | None]]:
    """The steps that ask a model, each with how often at least and at most; ``given`` are the values known to a body."""
    for name, step in body.steps.items():
        if name in left_out:
            continue
        if resolved.steps[step.place].prompt is not None:
            yield step, least, most
        for inner in step.bodies.values():
            low, high = least, most
            fields = step.fields
            if isinstance(fields, BranchStep):
                low = 0
            elif isinstance(fields, RepeatStep):
                high = None if most is None else most * fields.repeat
                low = least if fields.until else least * fields.repeat
            elif isinstance(fields, MapStep):
                dataset = resolved.steps[step.place].dataset
                listed = given.get(fields.map)
                rows = dataset.rows if dataset is not None else len(listed) if isinstance(listed, list) else None
                members = None if rows is None else min(rows, fields.limit)
                low = 0 if members is None else least * members
                high = None if members is None or most is None else most * members
            # Inside, a name may stand for something else.
            yield from _asking(resolved, inner, low, high, set(), {})


class _Measured:
    """What the requests of the newest run took that made any."""

    def __init__(self, runs: list[ChainRunRecord]) -> None:
        self.by = ""
        self.seconds: float | None = None
        self._steps: dict[str, tuple[float, float]] = {}
        for run in runs:
            result, job = run.job.result, run.job
            asked = (result["requests"] - result["cached"]) if result else 0
            if result and asked and job.finished_at is not None and job.started_at is not None:
                self._read(run)
                self.by, self.seconds = run.id, (job.finished_at - job.started_at) / asked
                break

    def _read(self, run: ChainRunRecord) -> None:
        found: dict[str, list[tuple[float, int]]] = {}
        try:
            spans = run.spans()
        except LlmopsError:
            # A run that cannot be read measures nothing; it says so itself where it is opened.
            return
        for span in spans:
            if span["kind"] == "prompt" and span["state"] == "done" and not span["cached"]:
                tokens = (span["prompt_tokens"] or 0) + (span["completion_tokens"] or 0)
                found.setdefault(span["step"], []).append((span["seconds"], tokens))
        for step, told in found.items():
            self._steps[step] = (sum(s for s, _ in told) / len(told), sum(t for _, t in told) / len(told))

    def of(self, step: str) -> tuple[float | None, float | None]:
        """Seconds and tokens of one request of a step."""
        return self._steps.get(step, (None, None))
