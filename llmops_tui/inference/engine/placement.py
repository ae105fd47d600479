"""Which sequence of the context a request gets, and what of its prompt is there already: in a slot, or in a snapshot."""

from __future__ import annotations

from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.engine.prefix_cache import WORTH_KEEPING, PrefixCache, Snapshot, common_prefix
from llmops_tui.inference.engine.sequence import Running, Slot

# A stream with fewer tokens to come is not worth moving.
_MOVE_WORTH = 32


class Placement:
    """Places requests into slots; what a slot held before is saved first where it was long."""

    def __init__(self, native: NativeModel, slots: list[Slot], cache: PrefixCache) -> None:
        self._native = native
        self._slots = slots
        self._cache = cache

    def will_be_shared(self, new: Running) -> bool:
        """Whether another request is just now evaluating a long beginning of this one's prompt."""
        for slot in self._slots:
            other = slot.running
            if other is None or slot.adapter != new.request.adapter or not self._native.can_trim:
                continue
            common = common_prefix(other.tokens, new.tokens, min(new.reusable, other.prompt_length))
            if common >= slot.evaluated + WORTH_KEEPING:
                return True
        return False

    def place(self, new: Running, free: list[Slot]) -> None:
        """Give a request the slot, and the part of its prompt, that is evaluated already."""
        whole = not self._native.can_trim
        adapter = new.request.adapter
        length, source = 0, None
        for slot in self._slots:
            if slot.adapter != adapter or not slot.evaluated:
                continue
            common = common_prefix(slot.tokens, new.tokens, min(new.reusable, slot.evaluated))
            if common > length and (not whole or common == slot.evaluated):
                length, source = common, slot
        stored, snapshot = self._cache.best(new.tokens, adapter, new.reusable, whole=whole)
        alone = len(free) == len(self._slots)
        target = source if source is not None and source.running is None and (alone or source is free[0]) else free[0]
        own = length if target is source else self._own_prefix(target, new)
        if stored >= length and stored - own >= WORTH_KEEPING and snapshot is not None:
            self._cache.touch(snapshot)
            self._replace(target, snapshot, stored)
        elif source is not None and target is not source and length - own >= WORTH_KEEPING:
            state = self._native.save(source.id)
            self._replace(target, Snapshot(source.tokens[: source.evaluated], adapter, state), length)
        else:
            self._stash(target, own)
            self._cut(target, own)
        new.reused = target.evaluated
        new.slot = target
        target.running, target.adapter, target.tokens = new, adapter, new.tokens

    def _own_prefix(self, slot: Slot, new: Running) -> int:
        if slot.adapter != new.request.adapter:
            return 0
        common = common_prefix(slot.tokens, new.tokens, min(new.reusable, slot.evaluated))
        return common if self._native.can_trim or common == slot.evaluated else 0

    def _replace(self, slot: Slot, snapshot: Snapshot, length: int) -> None:
        self._stash(slot, 0)
        slot.evaluated = len(snapshot.tokens) if self._native.restore(slot.id, snapshot.state) else 0
        self._cut(slot, min(length, slot.evaluated))

    def _stash(self, slot: Slot, kept: int) -> None:
        """Save what a slot holds before most of it is given up."""
        tokens = slot.tokens[: slot.evaluated]
        if (
            slot.evaluated - kept >= WORTH_KEEPING
            and self._cache.limit_bytes
            and not self._cache.covers(tokens, slot.adapter)
        ):
            self._cache.add(Snapshot(tokens, slot.adapter, self._native.save(slot.id)))

    def _cut(self, slot: Slot, length: int) -> None:
        if slot.evaluated != length:
            slot.evaluated = length if self._native.trim(slot.id, length) else 0

    def close_ranks(self) -> None:
        """Move the last busy slot into a gap below it: llama.cpp evaluates neighbouring sequences in one pass alone."""
        busy = [s for s in self._slots if s.running is not None]
        if len(busy) < 2 or busy[-1].id - busy[0].id + 1 == len(busy):
            return
        last = busy[-1]
        assert last.running is not None
        if last.running.left < _MOVE_WORTH or last.running.missing > 1:
            return
        gap = next(s for s in self._slots[busy[0].id :] if s.running is None)
        self._replace(gap, Snapshot(last.tokens[: last.evaluated], last.adapter, self._native.save(last.id)), 1 << 62)
        if gap.evaluated != last.evaluated:
            return
        gap.running, gap.adapter, gap.tokens = last.running, last.adapter, last.tokens
        gap.running.slot = gap
        last.running, last.tokens = None, list(last.tokens)
