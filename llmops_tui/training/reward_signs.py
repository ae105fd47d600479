"""Signs that a reward is gamed, or that nothing is learned from it, told at the step at which they are seen.

A reward is a stand-in for what is wanted, and what is optimized for long enough parts from it (Skalse et al., "Defining
and Characterizing Reward Hacking", 2022; Gao et al., "Scaling Laws for Reward Model Overoptimization", 2023).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmops_tui.training.history import Event

FIGURES = (
    "reward", "reward_std", "frac_reward_zero_std", "kl", "clip_ratio/region_mean", "completions/mean_length",
    "completions/clipped_ratio", "completions/repetition", "sampling/sampling_logp_difference/mean",
    "sampling/sampling_logp_difference/max", "sampling/importance_sampling_ratio/mean",
)  # fmt: skip
"""What is recorded of a step beside the rewards themselves, as TRL names it."""
_GRAM = 4
_WINDOW = 10
_LONGER, _SHORTER = 2.0, 0.25
_REPEATED = 0.3
_FLAT = 0.9
_ERRORS = 2.0


def repetition(tokens: Sequence[int]) -> float:
    """The share of an answer's runs of four tokens that it has said before; 0 of one with no two runs."""
    runs = [tuple(tokens[place : place + _GRAM]) for place in range(len(tokens) - _GRAM + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


@dataclass
class RewardWatch:
    """Looks at the figures of steps and of evaluations, as TRL names them; remembers what it needs to."""

    watched: tuple[str, ...] = ()
    _seen: dict[str, deque[float]] = field(default_factory=dict)
    _first: dict[str, list[float]] = field(default_factory=dict)
    _evaluated: dict[str, tuple[float, float]] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def step(self, step: int, figures: Mapping[str, float]) -> list[Event]:
        """What is to be said of a step."""
        for name in ("reward", "completions/mean_length", "completions/repetition", "frac_reward_zero_std"):
            if name in figures and math.isfinite(figures[name]):
                self._first.setdefault(name, [])
                if len(self._first[name]) < _WINDOW:
                    self._first[name].append(figures[name])
                self._seen.setdefault(name, deque(maxlen=_WINDOW)).append(figures[name])
        found = [self._length(step), self._repetition(step), self._flat(step)]
        return [event for event in found if event is not None]

    def _then_and_now(self, name: str) -> tuple[float, float] | None:
        first, seen = self._first.get(name, []), self._seen.get(name, deque())
        if len(first) < _WINDOW or len(seen) < _WINDOW or list(seen) == first:
            return None
        return sum(first) / len(first), sum(seen) / len(seen)

    def _length(self, step: int) -> Event | None:
        lengths, rewards = self._then_and_now("completions/mean_length"), self._then_and_now("reward")
        if lengths is None or rewards is None or rewards[1] <= rewards[0]:
            return None
        then, now = lengths
        if now > _LONGER * then:
            how, what = "longer", "A reward that long answers get by their length alone is gamed: weigh length below 0."
        elif now < _SHORTER * then:
            how, what = "shorter", "Look whether they still answer: samples and answers are on the training screen."
        else:
            return None
        message = f"the reward rises and the answers get {how}: {now:.0f} tokens, and {then:.0f} in the beginning"
        return self._once(f"length-{how}", Event(step, "warn", message, what))

    def _repetition(self, step: int) -> Event | None:
        shares = self._then_and_now("completions/repetition")
        if shares is None or shares[1] < _REPEATED or shares[1] < _LONGER * shares[0]:
            return None
        message = (
            f"the answers repeat themselves: {shares[1]:.0%} of their runs of four tokens, and {shares[0]:.0%} before"
        )
        return self._once("repetition", Event(step, "warn", message, "Raise beta, or lower optimizer.learning_rate."))

    def _flat(self, step: int) -> Event | None:
        flat = self._seen.get("frac_reward_zero_std", deque())
        if len(flat) < _WINDOW or sum(flat) / len(flat) < _FLAT:
            return None
        message = (
            f"in {sum(flat) / len(flat):.0%} of the groups all answers have the same reward: hardly anything is learned"
        )
        hint = "The task is solved or out of reach: add a reward that grades answers finer, or raise generations or temperature."
        return self._once("flat", Event(step, "warn", message, hint))

    def evaluation(self, step: int, figures: Mapping[str, float]) -> list[Event]:
        """What is to be said of an evaluation: a reward that rises in it while something that is only watched falls."""
        now = {
            name: (value, figures.get(f"{name}/se" if "/" in name else f"{name}_se", 0.0))
            for name, value in figures.items()
            if not name.endswith(("/se", "_se"))
        }
        if not self._evaluated:
            self._evaluated = now
            return []
        found = []
        for name in self.watched:
            key = f"eval_rewards/{name}"
            if key in now and key in self._evaluated and self._moved("eval_reward", now) > 0 > self._moved(key, now):
                message = (
                    f"the reward of held-out rows rises, and {name}, which is only watched, falls: "
                    f"{now[key][0]:.3g}, and {self._evaluated[key][0]:.3g} before"
                )
                event = self._once(
                    f"watched-{name}", Event(step, "warn", message, f"The reward is gamed; give {name} a weight.")
                )
                found += [event] if event is not None else []
        return found

    def _moved(self, name: str, now: Mapping[str, tuple[float, float]]) -> int:
        """1 where a figure rose since the first evaluation by more than chance, -1 where it fell, else 0."""
        (before, error), (value, own) = self._evaluated.get(name, (0.0, 0.0)), now.get(name, (0.0, 0.0))
        difference = value - before
        return 0 if abs(difference) <= _ERRORS * math.hypot(error, own) else 1 if difference > 0 else -1

    def _once(self, name: str, event: Event) -> Event | None:
        if name in self._told:
            return None
        self._told.add(name)
        return event
