"""The search for a better prompt: proposals on the reflect part, a race on the select part, one look at the sealed part.

GEPA (Agrawal et al., arXiv 2507.19457) is the model of the first stage: a model is shown what went wrong, and writes another
instruction. What is done with it differs: GEPA keeps what is better on three rows and reports the rows that it chose by.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from llmops_tui.improvement.budget import Budget
from llmops_tui.improvement.candidates import Candidate, Example, Frame, Kind
from llmops_tui.improvement.race import Race, cost, race
from llmops_tui.improvement.refusals import CopyCheck, why_not
from llmops_tui.improvement.verdict import OPENED_AT, Judged, judge, paired, worth_a_look

HEAT_ROWS = 16
MOST_RACED = 8
_TRIES = 2
_SHOWN_WRONG, _SHOWN_RIGHT = 6, 2
_SIZES = (4, 2, 8)


class Bench(Protocol):
    """Asks candidates rows, and scores the answers."""

    async def score(self, candidate: Candidate, rows: Sequence[str]) -> Sequence[float | None]:
        """The scores of a candidate's answers to rows, given by their keys; none where one cannot be scored."""
        ...


class Reflector(Protocol):
    """Writes instructions."""

    async def propose(self, number: int, parent: Candidate, wrong: Sequence[str], right: Sequence[str]) -> str:
        """Another instruction than the parent's, which answered some rows wrong and some right; ``number`` is the try's."""
        ...


class Listener(Protocol):
    """Is told what happens, and keeps what must not happen twice."""

    def begun(self, step: str) -> bool:
        """Whether a step was begun already, by a process that was killed: then it may not be left out."""
        ...

    def begin(self, step: str) -> None:
        """A step begins."""
        ...

    def changed(self, found: Found) -> None:
        """Something is known now that was not before."""
        ...


@dataclass(frozen=True)
class Rows:
    """The keys of the rows of each part, each in an order that says nothing, and the groups of rows that ask the same."""

    reflect: tuple[str, ...]
    select: tuple[str, ...]
    sealed: tuple[str, ...]
    groups: Mapping[str, str]

    def groups_of(self, rows: Sequence[str]) -> list[str]:
        """The group of each row."""
        return [self.groups.get(row, row) for row in rows]


@dataclass(frozen=True)
class Settings:
    """What of a plan the search goes by.

    Attributes:
        turns: how many candidates are proposed.
        ways: ``instructions``, ``examples``, or both in turn.
        better: 1 where more of the metric is better, -1 where less is.
        best: the score that nothing is better than; none where there is no such.
        most_words: the longest instruction that is accepted.
    """

    turns: int
    ways: tuple[str, ...]
    better: int
    best: float | None
    most_words: int
    seed: int


@dataclass
class Standing:
    """A candidate and what became of it: ``heat`` is its mean gain over its parent, on ``heat_rows`` rows of the reflect part."""

    candidate: Candidate
    heat: float = 0.0
    heat_rows: int = 0
    fate: str = ""
    gain: float = 0.0


@dataclass
class Found:
    """All that a search found so far.

    Attributes:
        standings: by number, the seed first.
        refused: proposals that are no candidates, with the reason.
        p_select: the corrected p-value of the winner on the select part.
        stopped: why it ended before its turns did; empty where it did not.
        closed: why the sealed part stayed closed although the winner was worth a look; empty where it did not.
    """

    standings: list[Standing]
    refused: list[tuple[int, str]] = field(default_factory=list)
    race: Race | None = None
    p_select: float = 1.0
    judged: Judged | None = None
    stopped: str = ""
    closed: str = ""

    @property
    def winner(self) -> Candidate | None:
        """The best of the race; none before its end."""
        return self.race.winner.candidate if self.race is not None and self.race.winner is not None else None

    @property
    def opens(self) -> bool:
        """Whether the winner is worth a look at the sealed rows."""
        return self.winner is not None and self.p_select <= OPENED_AT


class Search:
    """One search. All that is random in it comes from the plan's seed, so that it goes the same way again after a kill."""

    def __init__(
        self,
        frame: Frame,
        seed: Candidate,
        rows: Rows,
        settings: Settings,
        *,
        bench: Bench,
        reflector: Reflector,
        shots: Callable[[int, int], Sequence[Example]],
        copies: CopyCheck,
        budget: Budget,
        listener: Listener,
    ) -> None:
        """``shots`` gives examples by their number and the number of the draw."""
        self._frame, self._rows, self._settings = frame, rows, settings
        self._bench, self._reflector, self._shots, self._copies = bench, reflector, shots, copies
        self._budget, self._listener = budget, listener
        self._random = random.Random(settings.seed)  # noqa: S311
        self._at = 0
        self.found = Found([Standing(seed)])

    @property
    def _seed(self) -> Candidate:
        return self.found.standings[0].candidate

    def _pool(self) -> list[Standing]:
        return [one for one in self.found.standings if not one.fate]

    def _may(self, step: str, calls: int) -> str:
        """Begin a step, if the budget allows it with all that has to come after it; else why not."""
        if not self._listener.begun(step):
            if short := self._budget.short_of(calls):
                return short
            self._listener.begin(step)
        return ""

    # ── proposing, on the reflect part ──

    async def propose(self) -> None:
        """Take all turns, or those that the budget allows."""
        for turn in range(self._settings.turns):
            if not self._listener.begun(f"turn {turn}") and self._raced():
                # The limit that ended it may look farther off now; the race has begun without this turn.
                self.found.stopped = f"it had ended before turn {turn + 1} when it was begun"
                break
            raced = min(MOST_RACED, len(self._pool()))
            later = cost(raced, len(self._rows.select)) + 2 * len(self._rows.sealed)
            if stopped := self._may(f"turn {turn}", 2 * HEAT_ROWS + _TRIES + later):
                self.found.stopped = stopped
                break
            way = self._settings.ways[turn % len(self._settings.ways)]
            child = await (self._instruction(turn) if way == "instructions" else self._with_examples(turn))
            if child is not None:
                await self._heat(child)
            self._listener.changed(self.found)

    def _raced(self) -> bool:
        """Whether a process that was killed had begun the race."""
        return any(self._listener.begun(f"race of {count}") for count in range(1, MOST_RACED + 1))

    def _parent(self, turn: int, *, bare: bool = False) -> Standing:
        """The best so far, or, every other time, any: what looks best on few rows may not be."""
        pool = [one for one in self._pool() if not (bare and one.candidate.examples)]
        if turn % 2:
            return self._random.choice(pool)
        return max(pool, key=lambda one: (one.gain, -one.candidate.number))

    def _next_rows(self, without: Sequence[str] = ()) -> list[str]:
        rows, found = self._rows.reflect, list[str]()
        for _ in range(len(rows)):
            row = rows[self._at % len(rows)]
            self._at += 1
            if row not in without:
                found.append(row)
            if len(found) == HEAT_ROWS:
                break
        return found

    async def _instruction(self, turn: int) -> tuple[Candidate, list[str]] | None:
        parent = self._parent(turn).candidate
        rows = self._next_rows([example.key for example in parent.examples])
        scores = dict(zip(rows, await self._bench.score(parent, rows), strict=True))
        wrong = [row for row in rows if not self._is_best(scores[row])]
        right = [row for row in rows if self._is_best(scores[row])]
        if not wrong:
            self.found.refused.append((turn, f"nothing to mend: all {len(rows)} rows are right"))
            return None
        known = [one.candidate.instruction for one in self.found.standings]
        for attempt in range(_TRIES):
            text = await self._reflector.propose(
                turn * _TRIES + attempt, parent, wrong[:_SHOWN_WRONG], right[:_SHOWN_RIGHT]
            )
            refused = why_not(text, self._seed.instruction, known, self._copies, self._settings.most_words)
            if not refused:
                return self._child(parent, text.strip(), parent.examples), rows
            self.found.refused.append((turn, refused))
        return None

    def _is_best(self, score: float | None) -> bool:
        best = self._settings.best
        return score is not None and best is not None and score == best

    async def _with_examples(self, turn: int) -> tuple[Candidate, list[str]] | None:
        draw = turn // len(self._settings.ways)
        shots = tuple(self._shots(_SIZES[draw % len(_SIZES)], draw))
        parent = self._parent(turn, bare=True).candidate
        if not shots:
            self.found.refused.append((turn, "no row of the reflect part can be an example"))
            return None
        child = self._child(parent, parent.instruction, shots)
        if any(one.candidate.sha256 == child.sha256 for one in self.found.standings):
            self.found.refused.append((turn, "the same examples as another candidate's"))
            return None
        return child, self._next_rows([example.key for example in shots])

    def _child(self, parent: Candidate, instruction: str, examples: Sequence[Example]) -> Candidate:
        system, template = self._frame.with_text(instruction, examples)
        changed = instruction != self._seed.instruction
        kind: Kind = "both" if changed and examples else "instruction" if changed else "examples"
        number = len(self.found.standings)
        return Candidate(
            number, kind, system, template, instruction, tuple(examples), parent.number, self._seed.settings
        )

    async def _heat(self, made: tuple[Candidate, list[str]]) -> None:
        """Hold a candidate against its parent on some rows; it stays if it is better, or as good and shorter."""
        child, rows = made
        parent = self.found.standings[child.parent]
        standing = Standing(child, heat_rows=len(rows))
        self.found.standings.append(standing)
        self._listener.changed(self.found)
        if not rows:
            standing.fate = "no rows of the reflect part are left to try it on"
            return
        before, after = await self._bench.score(parent.candidate, rows), await self._bench.score(child, rows)
        gains = paired(before, after, rows, self._settings.better).differences
        standing.heat = float(gains.mean()) if len(gains) else 0.0
        standing.gain = parent.gain + standing.heat
        if standing.heat < 0 or (standing.heat == 0 and child.words >= parent.candidate.words):
            told = "worse" if standing.heat < 0 else "no better, and no shorter,"
            standing.fate = f"{told} than its parent on {len(rows)} rows"

    # ── ranking, on the select part ──

    async def rank(self) -> None:
        """Race those that stayed, the best on the reflect part first where there are too many."""
        pool = sorted(self._pool()[1:], key=lambda one: (-one.gain, one.candidate.number))
        raced = self._affordable(pool[:MOST_RACED])
        for one in pool[len(raced) :]:
            one.fate = f"not raced: {len(raced)} others were better on the reflect part"
        rows, sealed = self._rows.select, 2 * len(self._rows.sealed)
        found = await race(
            self._seed,
            [one.candidate for one in raced],
            rows,
            self._bench.score,
            better=self._settings.better,
            may=lambda number, calls: self._may(f"race {number}", calls + sealed),
        )
        self.found.race = found
        if found.stopped:
            self.found.stopped = found.stopped
        fates = {runner.candidate.number: runner for runner in found.runners}
        for one in raced:
            runner = fates[one.candidate.number]
            if runner.out_after:
                one.fate = f"left the race after {runner.out_after} rows"
            elif runner is not found.winner and found.winner is not None:
                one.fate = "second in the race"
        if found.winner is not None:
            pairs = paired(found.seed.scores, found.winner.scores, self._rows.groups_of(rows), self._settings.better)
            self.found.p_select = worth_a_look(pairs, len(found.runners))
        self._listener.changed(self.found)

    def _affordable(self, pool: list[Standing]) -> list[Standing]:
        """So many of the first as the budget allows to race, with the sealed rows behind it."""
        known = next((count for count in range(len(pool), 0, -1) if self._listener.begun(f"race of {count}")), None)
        if known is not None:
            return pool[:known]
        for count in range(len(pool), 0, -1):
            short = self._budget.short_of(cost(count, len(self._rows.select)) + 2 * len(self._rows.sealed))
            if not short:
                self._listener.begin(f"race of {count}")
                return pool[:count]
            self.found.stopped = short
        return []

    # ── judging, on the sealed part ──

    async def judge(self, look: int) -> None:
        """Ask the seed and the winner the sealed rows, once. Whoever calls this has noted that it was done."""
        assert self.found.winner is not None
        rows = self._rows.sealed
        before = await self._bench.score(self._seed, rows)
        after = await self._bench.score(self.found.winner, rows)
        pairs = paired(before, after, self._rows.groups_of(rows), self._settings.better)
        self.found.judged = judge(pairs, look)
        self._listener.changed(self.found)


def mean_of(scores: Sequence[float | None]) -> float | None:
    """The mean of the scores that are known."""
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None
