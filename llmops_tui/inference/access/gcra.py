"""How much a key may use in a span of time: the generic cell rate algorithm, with amounts that are known only afterwards.

The algorithm (ITU-T I.371, appendix; https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm) keeps one moment for each
limit, the *theoretical arrival time*: when all that was taken will have been given back at the limit's rate. A request of
cost c at the moment t moves it from x to max(x, t) + c·T, where T is the span divided by the amount, and is let in where
that is at most one span after t. So an unused limit may be taken at once, and afterwards at its rate.

A request of a model is let in for what it could use at most, and used less when it ends. To give the rest back by moving the
moment back would be wrong: part of it may have been given back by the clock meanwhile, and would be so twice. So each
request that is under way stays a step of its own, x ↦ max(x + a, b), which at its end is replaced by that of its real cost.
Two such steps after one another are one of the same form, so only requests under way take room. What is let in is what the
algorithm would have let in had it known each cost beforehand, those under way counting in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Limit:
    """So many units in so many seconds."""

    amount: int
    seconds: int

    @property
    def unit(self) -> int:
        """What one unit takes, in ticks: microseconds times the amount, so that no step is ever rounded."""
        return self.seconds * MICROSECONDS

    @property
    def span(self) -> int:
        """The whole amount, in ticks."""
        return self.amount * self.unit


class AccountRecord(TypedDict):
    """An :class:`Account` as JSON has it."""

    arrival: int
    steps: list[tuple[int, int, str]]


@dataclass
class Step:
    """One step of the moment, x ↦ max(x + more, least), in ticks; ``of`` is the request that it stands for, while under way."""

    more: int
    least: int
    of: str = ""


@dataclass
class Account:
    """What was taken of one limit. Moments are microseconds of a clock that is never set back."""

    arrival: int = 0
    steps: list[Step] = field(default_factory=list)

    def take(self, limit: Limit, now: int, cost: int, request: str = "") -> int:
        """Take ``cost`` units; returns 0, or in how many microseconds as many are there, and nothing is taken.

        With ``request`` they are only reserved, until :meth:`settle` tells how many were used.
        """
        at, more = now * limit.amount, cost * limit.unit
        short = max(self._moment(), at) + more - at - limit.span
        if short > 0 and cost:
            return -(-short // limit.amount)
        self.steps.append(Step(more, at + more, request))
        self._join()
        return 0

    def settle(self, limit: Limit, request: str, used: int) -> bool:
        """Replace what was reserved for a request by what it used; whether it was under way."""
        for step in self.steps:
            if step.of == request and request:
                at = step.least - step.more
                step.more = used * limit.unit
                step.least, step.of = at + step.more, ""
                self._join()
                return True
        return False

    def left(self, limit: Limit, now: int) -> int:
        """How many units could be taken now."""
        return (limit.span - self._ahead(limit, now)) // limit.unit

    def whole_in(self, limit: Limit, now: int) -> int:
        """In how many microseconds nothing is taken any more."""
        return -(-self._ahead(limit, now) // limit.amount)

    @property
    def under_way(self) -> list[str]:
        """The requests that are not settled."""
        return [step.of for step in self.steps if step.of]

    def close(self, requests: Iterable[str]) -> None:
        """Count requests that nobody will settle for all that they reserved."""
        lost = set(requests)
        for step in self.steps:
            if step.of in lost:
                step.of = ""
        self._join()

    def as_record(self) -> AccountRecord:
        """For JSON."""
        return {"arrival": self.arrival, "steps": [(step.more, step.least, step.of) for step in self.steps]}

    @classmethod
    def of_record(cls, record: AccountRecord) -> Account:
        """As :meth:`as_record` wrote it."""
        return cls(record["arrival"], [Step(*step) for step in record["steps"]])

    def _ahead(self, limit: Limit, now: int) -> int:
        return min(limit.span, max(0, self._moment() - now * limit.amount))

    def _moment(self) -> int:
        moment = self.arrival
        for step in self.steps:
            moment = max(moment + step.more, step.least)
        return moment

    def _join(self) -> None:
        """Make one step of those that are settled beside one another, and none of those that nothing comes before."""
        joined: list[Step] = []
        for step in self.steps:
            if not step.of and not joined:
                self.arrival = max(self.arrival + step.more, step.least)
            elif not step.of and not joined[-1].of:
                before = joined[-1]
                before.more, before.least = before.more + step.more, max(before.least + step.more, step.least)
            else:
                joined.append(step)
        self.steps = joined
