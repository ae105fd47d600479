"""The verdict on an experiment: what is decided, from how many conversations, and what was looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmops_tui.decisions.betting import bounded_mean_sequence, mean_evidence
from llmops_tui.decisions.canaries import failure_evidence
from llmops_tui.decisions.guardrails import Guarded, bounded_guardrail, mean_guardrail
from llmops_tui.decisions.numbers import Floats
from llmops_tui.decisions.pairs import discordant_evidence
from llmops_tui.decisions.splits import effect_bounds, effects, share_evidence
from llmops_tui.experiments.metrics import Decider, decider
from llmops_tui.experiments.outcomes import by_conversation, by_pairs, unpaired
from llmops_tui.experiments.records import Conversation, Exchange, GuardrailRecord, VerdictRecord
from llmops_tui.inference.experiments.records import ANSWERED, Arm, Counts, Experiment

# A split that is broken makes all else wrong; it is said once in a thousand experiments where it is not.
SPLIT_ALPHA = 0.001
# How many more conversations may fail, where no budget says it.
FAILURE_MARGIN = 0.02
_LARGEST = 700.0
_ARMS: tuple[Arm, Arm] = ("a", "b")


@dataclass(frozen=True)
class Course:
    """Evidence after 1, 2, … conversations, as logarithms, how far B is ahead after each, and the effect with its interval."""

    evidence: Floats
    ahead: Floats
    effect: float | None
    low: float | None
    high: float | None

    def e_value(self) -> float:
        """The evidence now."""
        return math.exp(min(_LARGEST, float(self.evidence[-1]))) if self.evidence.size else 1.0

    def decided(self, alpha: float) -> tuple[int, Arm] | None:
        """After how many conversations the evidence first reached ``1 / alpha``, and for which arm it spoke then."""
        beyond = self.evidence >= -math.log(alpha)
        if not beyond.any():
            return None
        first = int(beyond.argmax())
        return first + 1, "b" if self.ahead[first] > 0 else "a"

    def excludes(self, arm: Arm) -> bool:
        """Whether what is known now is that this arm is the worse one."""
        if self.low is None or self.high is None:
            return False
        return self.high < 0 if arm == "b" else self.low > 0


_NOTHING = Course(np.zeros(0), np.zeros(0), None, None, None)


def verdict(
    experiment: Experiment, found: Sequence[Exchange], counts: dict[Arm, Counts]
) -> tuple[VerdictRecord, list[tuple[int, float]]]:
    """What is known of an experiment, and the evidence over the number of conversations.

    ``found`` are its exchanges, ``counts`` the conversations that were assigned.

    Raises:
        InputRefusedError: ``bad_metric``: what decides it cannot be made any more, such as a plugin's metric.
    """
    settings, metric = experiment.settings, decider(experiment.settings["metric"], experiment.kind)
    alpha, paired = settings["alpha"], experiment.kind == "shadow"
    scored = by_pairs(found, metric.score) if paired else by_conversation(found, metric.score)
    course = _of_pairs(scored, metric, alpha) if paired else _of_split(scored, settings["share"], alpha)
    split = None if paired else float(share_evidence([counts[a].conversations for a in _ARMS], _shares(experiment)))
    broken = split is not None and split >= -math.log(SPLIT_ALPHA)
    e_value = course.e_value()
    decided = None if broken else course.decided(alpha)
    if decided is not None and course.excludes(decided[1]):
        # What conversations say has turned since: neither is the better one of all of them.
        decided = None
    better = None if decided is None else decided[1]
    made: VerdictRecord = {
        "sentence": "",
        "looked_at": [],
        "metric": metric.name,
        "better": better,
        "decided_after": None if decided is None else decided[0],
        "effect": course.effect,
        "low": course.low,
        "high": course.high,
        "level": 1 - alpha,
        "evidence": e_value,
        "threshold": 1 / alpha,
        "values": _values(found, metric),
        "conversations": {arm: counts[arm].conversations for arm in _ARMS},
        "scored": {arm: sum(one.arm == arm for one in scored) if not paired else 0 for arm in _ARMS},
        "pairs": len(scored) if paired else 0,
        "unpaired": unpaired(found) if paired else 0,
        "remaining": _remaining(course, alpha) if better is None and not broken else None,
        "guardrails": _guardrails(experiment, found, metric),
        "split_evidence": None if split is None else math.exp(min(_LARGEST, split)),
        "split_broken": broken,
    }
    made["looked_at"] = [
        f"{metric.name}, which decides",
        *(f"{g['metric']}, as a guardrail" for g in made["guardrails"]),
    ]
    if split is not None:
        made["looked_at"].append("how the traffic was split")
    return made, [(n, float(e)) for n, e in enumerate(course.evidence, 1)]


def canary_course(course: Sequence[tuple[float, float | None]], budget: float) -> list[tuple[int, float]]:
    """The evidence against a canary over its conversations, as a logarithm, from when each began and first failed."""
    events = sorted([(at, 1, 0) for at, _ in course] + [(at, 0, 1) for _, at in course if at is not None])
    if not events:
        return []
    n, bad = np.cumsum([e[1] for e in events]), np.cumsum([e[2] for e in events])
    found = failure_evidence(n, bad, budget)
    # After each conversation the last that is known while it is the newest.
    return list({int(count): float(e) for count, e in zip(n, found, strict=True)}.items())


def _shares(experiment: Experiment) -> tuple[float, float]:
    return 1 - experiment.settings["share"], experiment.settings["share"]


def _of_split(scored: list[Conversation], share: float, alpha: float) -> Course:
    if not scored:
        return _NOTHING
    given = effects([one.value for one in scored], [one.arm == "b" for one in scored], share)
    bounds = effect_bounds((0.0, 1.0), share)
    low, high = bounded_mean_sequence(given, bounds, 1 - alpha)
    evidence = mean_evidence(given, 0.0, bounds)
    return Course(evidence, np.cumsum(given), float(given.mean()), max(-1.0, low), min(1.0, high))


def _of_pairs(scored: list[Conversation], metric: Decider, alpha: float) -> Course:
    if not scored:
        return _NOTHING
    apart = np.array([one.value for one in scored])
    if metric.two_valued:
        # One sign a conversation: its turns depend on each other. The effect is of the signs, too: of the turns it may have
        # another one, where one model wins often by little and the other seldom by much.
        apart = np.sign(apart)
        evidence = discordant_evidence(np.cumsum(apart > 0), np.cumsum(apart < 0))
    else:
        evidence = mean_evidence(apart, 0.0, (-1.0, 1.0))
    low, high = bounded_mean_sequence(apart, (-1.0, 1.0), 1 - alpha)
    return Course(evidence, np.cumsum(apart), float(apart.mean()), low, high)


def _remaining(course: Course, alpha: float) -> int | None:
    """About how many conversations more will decide, if all goes on as it did; none where nothing shows yet."""
    if not course.evidence.size or course.evidence[-1] < 1.0:
        return None
    seen = len(course.evidence)
    return max(1, round(seen * (-math.log(alpha) / float(course.evidence[-1]) - 1)))


def _values(found: Sequence[Exchange], metric: Decider) -> dict[Arm, float | None]:
    means: dict[Arm, float | None] = {}
    for arm in _ARMS:
        values = [one.value for one in by_conversation([e for e in found if e.arm == arm], metric.score)]
        means[arm] = sum(values) / len(values) if values else None
    return means


def _guardrails(experiment: Experiment, found: Sequence[Exchange], metric: Decider) -> list[GuardrailRecord]:
    settings, made = experiment.settings, list[GuardrailRecord]()
    alpha, share = settings["alpha"], settings["share"]
    if metric.entry != ANSWERED:
        margin = settings["budget"] or FAILURE_MARGIN
        if experiment.kind == "shadow":
            apart = by_pairs(found, _failure)
            harm = bounded_guardrail([one.value for one in apart], margin, (-1.0, 1.0), alpha)
        else:
            each = by_conversation(found, _failure)
            given = effects([one.value for one in each], [one.arm == "b" for one in each], share)
            harm = bounded_guardrail(given, margin, effect_bounds((0.0, 1.0), share), alpha)
        made.append(_guardrail("failures", harm, margin, "share of conversations"))
    if experiment.kind != "shadow":
        # A shadow is asked when nothing else is at work: its times say nothing of those that users wait.
        each = by_conversation(
            found, lambda e: None if e.failed is not False or e.total_ms is None else e.total_ms / 1000
        )
        slower = settings["slower"]
        given = effects([one.value for one in each], [one.arm == "b" for one in each], share, slower)
        made.append(_guardrail(f"seconds, at most {slower:g} times", mean_guardrail(given, 0.0, alpha), 0.0, "seconds"))
    return made


def _failure(exchange: Exchange) -> float | None:
    return None if exchange.failed is None else float(exchange.failed)


def _guardrail(name: str, found: Guarded, margin: float, unit: str) -> GuardrailRecord:
    return {
        "metric": name,
        "state": found.state,
        "margin": margin,
        "at_least": found.least if math.isfinite(found.least) else None,
        "at_most": found.worst if math.isfinite(found.worst) else None,
        "unit": unit,
    }
