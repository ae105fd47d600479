"""Memory leases per device, taken by model servers and jobs before they load anything.

The ledger belongs to the user, not to one workspace: all workspaces share the machine. A lease is held by a lock, which goes
from whoever takes it to the process that it is for: one whose owner has died counts for nobody, and is cleared away when
the next is taken. To look changes nothing, and sees owners in other containers too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.workspace.files import make_private_folder, write_atomic
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.locks import is_held, try_lock


class Measured(Protocol):
    """What a device's memory looks like now; bytes."""

    @property
    def total(self) -> int:
        """All of it."""

    @property
    def free(self) -> int:
        """What nobody uses."""

    @property
    def by_process(self) -> dict[int, int]:
        """What each process holds."""

    @property
    def names(self) -> dict[int, str]:
        """What processes are called."""


@dataclass(frozen=True)
class Lease:
    """Memory that somebody uses or is about to use. ``kind`` is ``server`` or ``job``; ``sizes`` in bytes, by device.

    ``lock`` is the descriptor that holds it, in the process that took it; a process that it is handed over to has to
    inherit that.
    """

    id: str
    sizes: dict[str, int]
    name: str
    kind: str
    workspace: str
    pid: int
    started: float
    since: float
    lock: int = -1

    @property
    def process(self) -> ProcessIdentity:
        """Whose it is."""
        return ProcessIdentity(self.pid, self.started)


@dataclass(frozen=True)
class Holder:
    """Somebody who holds memory: a lease of ours, or a foreign process."""

    name: str
    size: int
    lease: Lease | None = None

    def describe(self) -> str:
        """In a few words."""
        kind = f"{self.lease.kind} " if self.lease is not None else "process "
        return f"{kind}{self.name} {self.size / 1e9:.1f} GB"


class MemoryShortError(LlmopsError):
    """Something does not fit beside what is loaded.

    Attributes:
        holders: who holds the memory, the largest first.
        wanted: bytes asked for.
        available: bytes that could be had.
        smaller: context and parallel requests with which it would fit, where there are any.
    """

    def __init__(self, name: str, device: str, wanted: int, available: int, holders: list[Holder]) -> None:
        held = ", ".join(h.describe() for h in holders[:4]) or "no visible process"
        ours = next((h for h in holders if h.lease is not None and h.lease.kind == "server"), None)
        unload = f"unload one (llmops model stop {ours.name}), " if ours is not None else ""
        super().__init__(
            "memory_short",
            f"{name} needs {wanted / 1e9:.1f} GB of {device} memory and {available / 1e9:.1f} GB are free; held by: {held}",
            f"To make room: {unload}shrink (--context, --parallel), or wait (--wait).",
        )
        self.device = device
        self.wanted = wanted
        self.available = available
        self.holders = holders
        self.smaller: tuple[int, int] | None = None


class MemoryLedger:
    """The leases of one user on one machine."""

    def __init__(
        self, folder: Path, measure: Callable[[str], Measured], tree: Callable[[int], set[int]] = lambda pid: {pid}
    ) -> None:
        self._folder = folder
        self._measure = measure
        self._tree = tree

    def leases(self) -> list[Lease]:
        """All leases whose owners live, the oldest first."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                lease = Lease(**parse_json(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                continue
            if self._lives(lease):
                found.append(lease)
        return sorted(found, key=lambda lease: lease.since)

    def available(self, device: str) -> int:
        """Bytes that can be taken: what is free, less what was promised and is not used yet."""
        return self.inspect(device)[1]

    def total(self, device: str) -> int:
        """Bytes the device has, whoever uses them."""
        return self._measure(device).total

    def take(self, sizes: dict[str, int], *, name: str, kind: str, workspace: str, process: ProcessIdentity) -> Lease:
        """Take memory of one device or of several, all or none of it, or say who has it.

        Raises:
            MemoryShortError: it is not there; of several devices the first that is short is named.
        """
        with self._locked():
            for device, size in sizes.items():
                _, available, holders = self.inspect(device)
                if size > available:
                    raise MemoryShortError(name, device, size, available, holders)
            self._clear()
            lease_id = new_id("lease")
            lock = try_lock(self._lock_of(lease_id))
            assert lock is not None
            lease = Lease(lease_id, sizes, name, kind, workspace, process.pid, process.started, time.time(), lock)
            self._write(lease)
            return lease

    def hand_over(self, lease: Lease, process: ProcessIdentity) -> Lease:
        """Make a lease another process's, which was started with it and inherited its lock."""
        with self._locked():
            moved = replace(lease, pid=process.pid, started=process.started, lock=-1)
            self._write(moved)
        os.close(lease.lock)
        return moved

    def give_back(self, lease: Lease) -> None:
        """End a lease."""
        self._path_of(lease.id).unlink(missing_ok=True)
        self._lock_of(lease.id).unlink(missing_ok=True)
        os.close(lease.lock)

    def _path_of(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _lock_of(self, name: str) -> Path:
        return self._folder / f"{name}.held"

    def _lives(self, lease: Lease) -> bool:
        lock = self._lock_of(lease.id)
        # One that an earlier version took has no lock.
        return is_held(lock) if lock.exists() else lease.process.alive()

    def _clear(self) -> None:
        """Take away the leases whose owners are gone."""
        living = {lease.id for lease in self.leases()}
        for path in [*self._folder.glob("lease_*.json"), *self._folder.glob("lease_*.held")]:
            if path.stem not in living:
                path.unlink(missing_ok=True)

    def inspect(self, device: str) -> tuple[int, int, list[Holder]]:
        """The device's size, what :meth:`available` is now, and who holds the rest, the largest first."""
        memory = self._measure(device)
        promised, ours = 0, set()
        holders = []
        for lease in self.leases():
            size = lease.sizes.get(device, 0)
            if not size:
                continue
            # Of a process in another container it is not known what it uses by now.
            tree = self._tree(lease.pid) if lease.process.alive() else set()
            ours |= tree
            promised += max(0, size - sum(memory.by_process.get(pid, 0) for pid in tree))
            holders.append(Holder(lease.name, size, lease))
        foreign = [
            Holder(f"{memory.names.get(pid, '?')} (pid {pid})", size)
            for pid, size in memory.by_process.items()
            if pid not in ours and size > memory.total // 100
        ]
        holders = sorted([*holders, *foreign], key=lambda h: -h.size)
        return memory.total, max(0, memory.free - promised), holders

    def _write(self, lease: Lease) -> None:
        write_atomic(self._path_of(lease.id), json.dumps({k: v for k, v in asdict(lease).items() if k != "lock"}))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Two that ask at once are not both given the last of it."""
        make_private_folder(self._folder.parent)
        make_private_folder(self._folder)
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
