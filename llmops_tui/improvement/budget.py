"""What an improvement may take: calls, minutes and energy, held by setting aside what the sealed rows will need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llmops_tui.counts import counted


@dataclass(frozen=True)
class Limits:
    """The most that may be taken; none where there is no limit. Energy is in watt-hours, of the whole machine's devices."""

    calls: int | None = None
    minutes: float | None = None
    watt_hours: float | None = None


@dataclass
class Spent:
    """What was taken so far, by this process and those before it that were killed."""

    calls: int = 0
    cached: int = 0
    reflections: int = 0
    seconds: float = 0.0
    joules: float | None = None


@dataclass
class Budget:
    """Limits, and what is left of them.

    ``now`` gives the seconds and joules so far, those of killed processes among them.
    """

    limits: Limits
    spent: Spent = field(default_factory=Spent)
    now: Callable[[], tuple[float, float | None]] = lambda: (0.0, None)

    def refresh(self) -> None:
        """Read the clock and the counters of energy."""
        self.spent.seconds, self.spent.joules = self.now()

    def short_of(self, calls: int) -> str:
        """What is not enough for so many more calls, in words; empty where all is.

        Minutes and energy are judged by what a call took so far.
        """
        self.refresh()
        spent, limits = self.spent, self.limits
        if limits.calls is not None and spent.calls + calls > limits.calls:
            return f"{counted(limits.calls, 'call')}: {spent.calls:,} are used, and {calls:,} more would be needed"
        each = 1 / max(1, spent.calls)
        seconds = spent.seconds * (1 + calls * each) if spent.calls else spent.seconds
        if limits.minutes is not None and seconds > 60 * limits.minutes:
            return f"{limits.minutes:g} minutes: about {seconds / 60:.1f} would be needed at the speed so far"
        if limits.watt_hours is not None and spent.joules is not None:
            joules = spent.joules * (1 + calls * each) if spent.calls else spent.joules
            if joules > 3600 * limits.watt_hours:
                return f"{limits.watt_hours:g} Wh: about {joules / 3600:.2g} would be needed at the power so far"
        return ""
