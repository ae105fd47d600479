"""Slot assignment: which sequence a request gets, and how much of its prompt is cached there."""

from __future__ import annotations

from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.engine.prefix_cache import WORTH_KEEPING, Mark, PrefixCache, Snapshot, common_prefix
from llmops_tui.inference.engine.sequence import Running, Slot
from llmops_tui.inference.engine.states import restore, save

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
            if self._native.window and other.prompt_length > self._native.window:
                # Of a copy only the end can be gone on from.
                continue
            common = common_prefix(other.tokens, new.tokens, min(new.reusable, other.prompt_length))
            if common >= slot.evaluated + WORTH_KEEPING:
                return True
        return False

    def place(self, new: Running, free: list[Slot]) -> None:
        """Give a request the slot, and the part of its prompt, that is evaluated already."""
        adapter = new.request.adapter
        alone = len(free) == len(self._slots)
        length, source = 0, None
        for slot in self._slots:
            if slot.adapter != adapter or not slot.evaluated:
                continue
            common = common_prefix(slot.tokens, new.tokens, min(new.reusable, slot.evaluated))
            stays = slot.running is None and (alone or slot is free[0])
            usable = self._reach(common, slot.evaluated, self._first(slot, copied=not stays), slot.mark)
            if usable > length:
                length, source = usable, slot
        stored, snapshot = self._cache.best(
            new.tokens,
            adapter,
            new.reusable,
            lambda kept, common: self._reach(common, len(kept.tokens), kept.first, kept.mark),
        )
        target = source if source is not None and source.running is None and (alone or source is free[0]) else free[0]
        own = length if target is source else self._own_prefix(target, new)
        if stored >= length and stored - own >= WORTH_KEEPING and snapshot is not None:
            self._cache.touch(snapshot)
            self._replace(target, snapshot, stored)
        elif source is not None and target is not source and length - own >= WORTH_KEEPING:
            self._replace(target, self._snapshot(source), length)
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
        return self._reach(common, slot.evaluated, self._first(slot), slot.mark)

    def _reach(self, common: int, length: int, first: int, mark: Mark | None) -> int:
        """How many of ``common`` tokens can be gone on from, of ``length`` whose windows are there from ``first`` on."""
        native = self._native
        if common == length:
            return common
        if not native.can_trim:
            return 0
        if native.resumes(first, common):
            return common
        if mark is None:
            return 0
        if common >= mark.length:
            return mark.length
        return common if native.resumes(mark.first, common) else 0

    def _first(self, slot: Slot, *, copied: bool = False) -> int:
        """Where the windows of a slot begin; those of a copy hold what its next token looks back at, and no more."""
        first = self._native.first(slot.id)
        return max(first, slot.evaluated - self._native.window) if copied and self._native.window else first

    def _snapshot(self, slot: Slot) -> Snapshot:
        return Snapshot(
            slot.tokens[: slot.evaluated],
            slot.adapter,
            save(self._native, slot.id),
            first=self._first(slot, copied=True),
            mark=slot.mark,
        )

    def _replace(self, slot: Slot, snapshot: Snapshot, length: int) -> None:
        self._stash(slot, 0)
        slot.evaluated = len(snapshot.tokens) if restore(self._native, slot.id, snapshot.state) else 0
        slot.mark = snapshot.mark
        self._cut(slot, min(length, slot.evaluated))

    def _stash(self, slot: Slot, kept: int) -> None:
        """Save what a slot holds before most of it is given up."""
        tokens = slot.tokens[: slot.evaluated]
        if (
            slot.evaluated - kept >= WORTH_KEEPING
            and self._cache.limit_bytes
            and not self._cache.covers(tokens, slot.adapter)
        ):
            self._cache.add(self._snapshot(slot))

    def _cut(self, slot: Slot, length: int) -> None:
        native, mark = self._native, slot.mark
        if slot.evaluated != length:
            if mark is not None and length <= mark.length and not native.resumes(native.first(slot.id), length):
                restore(native, slot.id, mark.state, window=True)
            slot.evaluated = length if native.trim(slot.id, length) else 0
        if mark is not None and mark.length > slot.evaluated:
            slot.mark = None

    def mark(self, running: Running) -> None:
        """Keep a way back to a prompt's end where its answer may push it out of the windows."""
        slot, native = running.slot, self._native
        if slot is None or not native.window or slot.evaluated + running.left <= native.window_cells:
            return
        first = self._first(slot, copied=True)
        if slot.evaluated >= WORTH_KEEPING and native.can_trim:
            state = save(native, slot.id, window=True)
            # All slots may have one; they take half of what is for prompts at the most.
            if state.nbytes * len(self._slots) <= self._cache.limit_bytes // 2:
                slot.mark = Mark(slot.evaluated, first, state)

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
        self._replace(gap, self._snapshot(last), 1 << 62)
        if gap.evaluated != last.evaluated:
            return
        gap.running, gap.adapter, gap.tokens = last.running, last.adapter, last.tokens
        gap.running.slot = gap
        last.running, last.tokens = None, list(last.tokens)
