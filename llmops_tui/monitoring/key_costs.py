"""What access keys cost: requests, tokens, seconds of the engine, and the energy where the cards' power was recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmops_tui.inference.access.limiter import DayOfUse
from llmops_tui.monitoring.energy import energy_between
from llmops_tui.monitoring.history import History
from llmops_tui.workspace.event_log import EventLog

_DAY = 86_400


@dataclass(frozen=True)
class KeyCost:
    """What one key used of one model, empty where a request came to none; ``joules`` are known of ``covered`` tokens alone.

    ``seconds`` are those in which the engine had its requests, many at a time.
    """

    key: str
    model: str
    requests: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    joules: float | None = None
    covered: int = 0


def costs_of(days: Iterable[DayOfUse], history: History | None, event_log: EventLog, now: float) -> list[KeyCost]:
    """The costs by key and model, the keys with most tokens first.

    The energy of a day is that of the cards for each token that was generated that day, whoever asked for it; it is known
    where the power was recorded and the day's requests are not counted away yet.
    """
    found: dict[tuple[str, str], KeyCost] = {}
    per_token: dict[int, float | None] = {}
    for one in days:
        if one.day not in per_token:
            per_token[one.day] = _joules_per_token(one.day, history, event_log, now)
        each = per_token[one.day]
        before = found.get((one.key, one.model), KeyCost(one.key, one.model))
        joules, covered = before.joules, before.covered
        if each is not None and one.completion_tokens:
            joules, covered = (joules or 0.0) + each * one.completion_tokens, covered + one.completion_tokens
        found[one.key, one.model] = KeyCost(
            one.key,
            one.model,
            before.requests + one.requests,
            before.refused + one.refused,
            before.prompt_tokens + one.prompt_tokens,
            before.completion_tokens + one.completion_tokens,
            before.seconds + one.seconds,
            joules,
            covered,
        )
    return sorted(found.values(), key=lambda cost: (-cost.prompt_tokens - cost.completion_tokens, cost.key, cost.model))


def _joules_per_token(day: int, history: History | None, event_log: EventLog, now: float) -> float | None:
    if history is None:
        return None
    begin = float(day * _DAY)
    energy = energy_between(history, event_log, begin, min(begin + _DAY, now), now)
    return None if energy is None or not energy.tokens else energy.joules / energy.tokens
