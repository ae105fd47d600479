"""What a run costs and could show, in words: before it, and on its card."""

from __future__ import annotations

from llmops_tui.counts import counted
from llmops_tui.evaluation.kept_summary import answered, errors_told
from llmops_tui.evaluation.plan_records import CostPlan, PlanRecord, PowerRecord
from llmops_tui.evaluation.records import Costs, OverlapFacts
from llmops_tui.evaluation.run import EvalRun


def costs_told(costs: Costs) -> str:
    """What each answer took, behind what all of them took; empty where nothing was asked or it was not noted."""
    asked = costs.get("asked")
    if not asked:
        return ""
    text = f"; {costs['seconds'] / asked:.3g} s an answer"
    joules = costs.get("joules")
    return text if joules is None else f"{text}, {joules / asked:.3g} J"


def card_text(run: EvalRun) -> str:
    """A run's card: what was asked, what it took by case, what the model knew of it."""
    summary = run.summary
    lines = [f"suite     {run.suite_ref}", f"asked     {run.column}"]
    if summary is None:
        return "\n".join([*lines, "The rest is known when the run is done."])
    whole = run.not_whole
    lines.append(
        f"cases     {summary['cases']:,}{f': {whole}' if whole else ''}, {counted(answered(summary), 'answer')}"
        + (f", {told}" if (told := errors_told(summary)) else "")
    )
    costs = summary["costs"]
    fresh = answered(summary) - summary["cached"]
    if fresh:
        tokens = (costs["prompt_tokens"] + costs["completion_tokens"]) / fresh
        lines.append(f"tokens    {tokens:,.1f} an answer")
        timed = costs.get("asked") or fresh
        lines.append(f"seconds   {costs['seconds'] / timed:.3g} an answer, {costs['seconds']:,.1f} of the whole run")
    else:
        lines.append("cost      every answer came from the cache")
    joules = costs.get("joules")
    if joules is None or not costs.get("asked"):
        lines.append(f"energy    {costs.get('energy') or 'not measured by the version that made this run'}")
    else:
        lines.append(
            f"energy    {joules / costs['asked']:,.3g} J an answer, {joules:,.0f} J in all, {costs.get('energy')}"
        )
    return "\n".join([*lines, f"seen      {overlap_text(summary.get('overlap') or {})}"])


def overlap_text(overlap: OverlapFacts) -> str:
    """Which cases the model was trained on."""
    if not overlap.get("ancestors"):
        return overlap.get("note") or "not known which data the model was trained on"
    told = ", ".join(f"{one['dataset']} {one['rows']:,}" for one in overlap["ancestors"])
    if not overlap["rows"]:
        return f"no case is in the training data of the model ({told})"
    ways = {name: sum(one.get(name, 0) for one in overlap["ancestors"]) for name in ("exact", "ngram", "near")}  # type: ignore[misc]
    how = f"{ways['exact']:,} exactly, {ways['ngram']:,} by 13 words, {ways['near']:,} nearly"
    rows = counted(overlap["rows"], "case is", "cases are")
    return f"{rows} in the training data of the model ({told}): {how}; {overlap['clean']:,} clean"


def plan_text(plan: PlanRecord) -> str:
    """What is known before a run."""
    of = f" of {plan['of']:,}" if plan["cases"] < plan["of"] else ""
    lines = [f"{plan['suite']} on {plan['model']}: {counted(plan['cases'], 'case')}{of}", ""]
    lines += [line for power in plan["power"] for line in _power_lines(power)]
    if not plan["power"]:
        lines.append("Of the suite's metrics none is one whose power can be told before.")
    return "\n".join([*lines, "", *_cost_lines(plan["cost"]), "", f"seen: {overlap_text(plan['overlap'])}"])


def _power_lines(power: PowerRecord) -> list[str]:
    needed = "no number of cases" if power["needed"] is None else counted(power["needed"], "case")
    shown = "nothing for sure" if power["smallest"] is None else f"differences from {power['smallest']:.3g} on"
    lines = [
        (
            f"{power['metric']}: {counted(power['cases'], 'case')} can show {shown} (in 80 % of all comparisons); "
            f"to show {power['effect']:g} takes {needed}"
        )
    ]
    facts = []
    if power["differing"] is not None:
        facts.append(f"{power['differing']:.0%} of the cases get another verdict")
    facts.append(f"standard deviation of differences {power['spread']:.3g}")
    if power["correlation"] is not None:
        facts.append(f"correlation {power['correlation']:.2f}")
    where = f" ({', '.join(power['measured'])})" if power["measured"] else ""
    return [*lines, f"    {power['basis']}{where}: {', '.join(facts)}"]


def _cost_lines(cost: CostPlan) -> list[str]:
    if cost["seconds"] is None or cost["tokens"] is None:
        return [f"cost: {cost['note']}"]
    lines = [
        (
            f"cost by {cost['measured']}: {cost['seconds_per_case']:.3g} s and {cost['tokens_per_case']:,.1f} tokens a case, "
            f"so about {cost['seconds']:,.0f} s and {cost['tokens']:,.0f} tokens"
        )
    ]
    if cost["joules"] is None:
        lines.append(f"energy: {cost['energy'] or 'not measured'}")
    else:
        lines.append(f"energy: {cost['joules_per_case']:.3g} J a case, about {cost['joules']:,.0f} J, {cost['energy']}")
    return [*lines, *([cost["note"]] if cost["note"] else [])]
