"""The verdict in words: with how many conversations, the interval, and what was looked at."""

from __future__ import annotations

from llmops_tui.experiments.metrics import decider
from llmops_tui.experiments.records import VerdictRecord
from llmops_tui.inference.experiments.records import RATING, Experiment


def sentence(experiment: Experiment, made: VerdictRecord) -> str:
    """What there is to say, in a few sentences."""
    told = [_state(experiment), _split(experiment, made), _decision(experiment, made), _ratings(experiment, made)]
    told += [_guardrails(made), f"Looked at, after every conversation: {'; '.join(made['looked_at'])}."]
    return " ".join(part for part in told if part)


def _state(experiment: Experiment) -> str:
    if experiment.state == "running":
        return ""
    why = f": {experiment.why}" if experiment.why else ""
    return f"{experiment.state.capitalize()}{why}."


def _split(experiment: Experiment, made: VerdictRecord) -> str:
    if not made["split_broken"]:
        return ""
    a, b = made["conversations"]["a"], made["conversations"]["b"]
    return (
        f"The traffic was not split as it should be: {b} of {a + b} conversations went to B, and "
        f"{_percent(experiment.settings['share'])} of them should. No difference between A and B can be told from this; look for "
        "what keeps some conversations away."
    )


def _decision(experiment: Experiment, made: VerdictRecord) -> str:
    a, b = experiment.settings["a"], experiment.settings["b"]
    if experiment.kind == "shadow":
        n = f"{made['pairs']} conversations, each answered by both"
        if made["unpaired"]:
            n += f" ({made['unpaired']} requests have no answer of {b})"
    else:
        n = f"{made['scored']['a']} conversations with {a} and {made['scored']['b']} with {b}"
    if made["effect"] is None or made["low"] is None or made["high"] is None:
        return f"Nothing is known of {made['metric']} yet, from {n}."
    differs = f"{made['metric']} differs by"
    if experiment.kind == "shadow" and decider(experiment.settings["metric"], experiment.kind).two_valued:
        differs = f"by {made['metric']}, the share of conversations with the better answer differs by"
    effect = (
        f"{differs} {made['effect']:+.3f} ({made['low']:+.3f} to {made['high']:+.3f}, "
        f"{_percent(made['level'])} at all looks together)"
    )
    if made["better"] is not None and not made["split_broken"]:
        first, second = (b, a) if made["better"] == "b" else (a, b)
        if made["low"] <= 0 <= made["high"]:
            return (
                f"{first} is better than {second}: that was decided after {made['decided_after']} conversations. Now {effect}, "
                f"from {n}, which includes no difference: it is small, or what users ask has changed."
            )
        return f"{first} is better than {second}: {effect}, from {n}."
    told = f"Undecided: {effect}, from {n}; evidence {made['evidence']:.3g} of {made['threshold']:.3g}."
    if made["remaining"] is not None:
        told += f" At this rate about {made['remaining']} more conversations decide it."
    return told


def _percent(share: float) -> str:
    """A share in percent, with as many digits as it has: 99.99 % is not 100."""
    return f"{100 * share:.4g}%"


def _ratings(experiment: Experiment, made: VerdictRecord) -> str:
    if experiment.settings["metric"] != RATING:
        return ""
    parts = []
    for arm in ("a", "b"):
        every = made["conversations"][arm]
        rated = made["scored"][arm]
        parts.append(f"{rated / every:.1%} of {arm.upper()}'s" if every else f"none of {arm.upper()}'s")
    return f"Rated are {parts[0]} and {parts[1]} conversations: who rates is not who does not."


def _guardrails(made: VerdictRecord) -> str:
    told = []
    for one in made["guardrails"]:
        if one["state"] == "open":
            told.append(f"{one['metric']}: not known yet")
        else:
            told.append(f"{one['metric']}: {one['state']}")
    return f"Guardrails: {', '.join(told)}." if told else ""
