"""Batch composition of a step: one token per stream, prompt chunks within a time budget, one adapter."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.inference.engine.sequence import Running

# While streams run, a step's share of prompt evaluation is kept near this, so that they keep flowing.
_STALL_SECONDS = 0.1
_MIN_CHUNK = 16
# How many steps one adapter's requests get before those of another: changing adapters rebuilds the graph.
_ADAPTER_TURN = 4


@dataclass
class Part:
    """What one request has in a step: ``count`` tokens of its list from its evaluated length on, and their rows."""

    running: Running
    tokens: list[int]
    outputs: list[int]
    drafted: int = 0


class BatchComposer:
    """Composes steps of up to ``batch`` tokens; learns how fast prompts are evaluated here."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._rate = 0.0
        self._turn_adapter = ""
        self._turn_left = 0

    def learn(self, tokens: int, seconds: float) -> None:
        """Take in how long a step with so many tokens of prompts took."""
        rate = tokens / seconds if seconds > 0 else self._rate
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate

    def compose(self, busy: list[Running]) -> list[Part]:
        """What each running request has in the next step; all of them have one adapter."""
        adapter = self._choose_adapter(busy)
        busy = [r for r in busy if r.request.adapter == adapter]
        streams = [r for r in busy if r.missing == 1]
        prompts = [r for r in busy if r.missing > 1]
        room = self._batch - len(streams)
        if streams and prompts and self._rate:
            room = min(room, max(_MIN_CHUNK, int(self._rate * _STALL_SECONDS)))
        shares = self._share(prompts, room)
        draft = len(busy) == 1
        return [self._part(r, shares.get(id(r), 1), draft=draft) for r in busy if r.missing == 1 or shares.get(id(r))]

    def _choose_adapter(self, busy: list[Running]) -> str:
        """Adapters take turns; a step never mixes them."""
        wanted = sorted({r.request.adapter for r in busy})
        if self._turn_adapter not in wanted or (self._turn_left <= 0 and len(wanted) > 1):
            later = [name for name in wanted if name > self._turn_adapter]
            self._turn_adapter = (later or wanted)[0]
            self._turn_left = _ADAPTER_TURN
        self._turn_left -= 1
        return self._turn_adapter

    def _share(self, prompts: list[Running], room: int) -> dict[int, int]:
        """How many tokens each prompt gets: half of the room to the oldest, the rest to the shortest first.

        A short prompt is thus never stuck behind a long one, and a long one never starves.
        """
        shares: dict[int, int] = {}
        if not prompts:
            return shares
        oldest = min(prompts, key=lambda r: r.started)
        alone = len(prompts) == 1
        shares[id(oldest)] = min(oldest.wanted, room if alone else room // 2)
        room -= shares[id(oldest)]
        for running in sorted(prompts, key=lambda r: r.missing):
            got = shares.get(id(running), 0)
            more = min(running.wanted - got, room)
            if more > 0:
                shares[id(running)] = got + more
                room -= more
        return shares

    def _part(self, running: Running, count: int, *, draft: bool) -> Part:
        slot = running.slot
        assert slot is not None
        start = slot.evaluated
        tokens = running.tokens[start : start + count]
        if running.missing > 1:
            return Part(running, tokens, running.outputs(start, count))
        guesses: list[int] = []
        if draft and running.draft is not None and running.made:
            guesses = running.draft.propose(running.tokens, running.left - 1)
        return Part(running, tokens + guesses, [1] * (1 + len(guesses)), len(guesses))
