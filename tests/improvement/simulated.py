"""Searches over made-up candidates of known worth; ``python -m tests.improvement.simulated`` tells what comes of many."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from llmops_tui.improvement.budget import Budget, Limits
from llmops_tui.improvement.candidates import Candidate, frame_of
from llmops_tui.improvement.refusals import CopyCheck
from llmops_tui.improvement.search import Found, Listener, Rows, Search, Settings
from llmops_tui.improvement.verdict import judge, level_of, paired

BASE = 0.7
RUNS = 500


@dataclass
class Coins:
    """A bench of coins: each candidate is right on a row with a chance of its own, much of which is the row's.

    ``worth`` is added to the chance of candidates whose instruction names it.
    """

    random: np.random.Generator
    worth: dict[str, float] = field(default_factory=dict)
    shared: float = 0.5
    asked: int = 0
    known: dict[tuple[str, str], float] = field(default_factory=dict)
    luck: dict[str, float] = field(default_factory=dict)

    async def score(self, candidate: Candidate, rows: Sequence[str]) -> list[float | None]:
        return [self._one(candidate, row) for row in rows]

    def _one(self, candidate: Candidate, row: str) -> float:
        key = (candidate.instruction, row)
        if key not in self.known:
            self.asked += 1
            luck = self.luck.setdefault(row, float(self.random.random()))
            own = luck if self.random.random() < self.shared else float(self.random.random())
            self.known[key] = float(own < BASE + self.worth.get(candidate.instruction, 0.0))
        return self.known[key]


class Numbered:
    """A reflector whose proposals are numbers, of which one may be ``better``."""

    def __init__(self, planted: int | None = None) -> None:
        self._planted = planted

    async def propose(self, number: int, parent: Candidate, wrong: Sequence[str], right: Sequence[str]) -> str:
        return "better" if self._planted is not None and number >= self._planted else f"instruction {number}"


class Quiet:
    """A listener that keeps nothing."""

    def begun(self, step: str) -> bool:
        return False

    def begin(self, step: str) -> None: ...

    def changed(self, found: Found) -> None: ...


def rows_of(reflect: int = 60, select: int = 120, sealed: int = 120) -> Rows:
    keys = [[f"{part}{n}" for n in range(count)] for part, count in (("r", reflect), ("s", select), ("z", sealed))]
    return Rows(tuple(keys[0]), tuple(keys[1]), tuple(keys[2]), {})


def searched(
    seed: int,
    *,
    gain: float = 0.0,
    rows: Rows | None = None,
    turns: int = 12,
    calls: int | None = None,
    listener: Listener | None = None,
) -> tuple[Found, Coins]:
    """One whole search, sealed part and all, with a planted instruction that is better by so much, if by anything."""
    bench = Coins(np.random.default_rng(seed), {"better": gain})
    template = "old instruction\n{{ text }}"
    frame = frame_of("", template)
    search = Search(
        frame,
        Candidate(0, "seed", "", template, frame.instruction),
        rows or rows_of(),
        Settings(turns, ("instructions",), 1, 1.0, 100, seed),
        bench=bench,
        reflector=Numbered(4 if gain else None),
        shots=lambda size, draw: (),
        copies=CopyCheck({}, ""),
        budget=Budget(Limits(calls)),
        listener=listener or Quiet(),
    )
    search._budget.now = lambda: (search._budget.spent.__setattr__("calls", bench.asked) or 0.0, None)

    async def all_of_it() -> None:
        await search.propose()
        await search.rank()
        if search.found.opens:
            await search.judge(1)

    asyncio.run(all_of_it())
    return search.found, bench


@dataclass(frozen=True)
class Rates:
    """Shares of runs: of those that opened their sealed part, and of those that claimed an improvement."""

    opened: float
    claimed: float
    best_looked: float


def rates(gain: float, runs: int = RUNS, sealed: int = 120) -> Rates:
    """What comes of many searches."""
    opened = claimed = 0
    looked = []
    for seed in range(runs):
        found, _ = searched(seed, gain=gain, rows=rows_of(sealed=sealed))
        opened += found.opens
        claimed += found.judged is not None and found.judged.better
        if found.race is not None and found.race.winner is not None:
            looked.append(found.race.winner.mean(1) - found.race.seed.mean(1))
    return Rates(opened / runs, claimed / runs, float(np.mean(looked)) if looked else 0.0)


def false_looks(looks: int, runs: int = RUNS, sealed: int = 120, level: float | None = None) -> list[float]:
    """The share of sealed parts that had a verdict by the n-th look, of candidates that are all as good as the seed.

    Each look is at another candidate on the same rows, whatever the look before said; ``level`` is that of each look, where
    it is not the one that looks spend.
    """
    first = np.zeros(looks)
    rows = [f"z{n}" for n in range(sealed)]

    def asked(which: int, bench: Coins) -> list[float | None]:
        return asyncio.run(bench.score(Candidate(which, "instruction", "", "{{ text }}", str(which)), rows))

    for number in range(runs):
        bench = Coins(np.random.default_rng(number))
        seed = asked(0, bench)
        for look in range(1, looks + 1):
            pairs = paired(seed, asked(look, bench), rows)
            found = judge(pairs, look) if level is None else judge(pairs, level=level)
            if found.better or found.worse:
                first[look - 1] += 1
                break
    return [float(share) for share in np.cumsum(first) / runs]


if __name__ == "__main__":
    for gain in (0.0, 0.1, 0.15, 0.2):
        sys.stdout.write(f"{gain:.2f}: {rates(gain)}\n")
    levels = ", ".join(f"{100 * level_of(look):g}" for look in range(1, 6))
    sys.stdout.write(f"looks at {levels} %: {false_looks(5)}; each at 95 %: {false_looks(5, level=0.95)}\n")
