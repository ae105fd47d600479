"""The one gate before all doors of a server: it knows the keys, counts their requests, and reserves what these may use.

What one request needs is a small transaction; those that come while one is written share the next, so that many clients
cost few writes. A request is answered only after what it takes is on the disk, so a server that is killed has forgotten
nothing; what it had reserved then stays taken.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.access.clock import LimitClock
from llmops_tui.inference.access.gcra import MICROSECONDS
from llmops_tui.inference.access.keys import AccessKey, hash_of
from llmops_tui.inference.access.limiter import Limiter, LimitReachedError, Standing, Used, note_use, tightest
from llmops_tui.inference.access.store import KeyStore, has_tables
from llmops_tui.workspace.event_log import EventLog

# Seconds from one write of what was turned away to the next.
_BETWEEN_REFUSALS = 1.0
_Result = TypeVar("_Result")
_Work = Callable[[sqlite3.Connection], Any]
Check = Callable[["Grant"], None]
"""Raises :class:`KeyRefusedError` where a grant is not for what was asked."""


KEY_STATUS = dict.fromkeys(("key_revoked", "key_expired", "key_foreign"), 401) | {"key_scope": 403}
"""The HTTP status of each refusal of a key."""


class KeyRefusedError(LlmopsError):
    """A key that opens nothing (401), or not what was asked for (403)."""


@dataclass
class Grant:
    """What one request of a key may do: the key, those it is made within, and how it stands to its limits."""

    gate: AccessGate
    line: list[AccessKey]
    standings: dict[str, Standing] = field(default_factory=dict)

    @property
    def key(self) -> AccessKey:
        """The key."""
        return self.line[0]

    @property
    def limits_tokens(self) -> bool:
        """Whether tokens are limited, by the key or those it is made within."""
        return any(unit == "tokens" for key in self.line for unit, _, _ in key.scope.limits().values())

    @property
    def most_tokens(self) -> int | None:
        """How many tokens the limits could ever let in at once; none without one."""
        limits = [one for key in self.line for unit, _, one in key.scope.limits().values() if unit == "tokens"]
        return min((limit.amount for limit in limits), default=None)

    def is_family(self, name: str) -> bool:
        """Whether the key of this name is this one, one that it is made within, or one made within it."""
        if any(key.name == name for key in self.line):
            return True
        return self.gate.is_within(name, self.key.id)

    def check_model(self, model: str, adapter: str = "", prompt: str = "") -> None:
        """Refuse a model or adapter that is not in the key's scope, asked for itself or by a served prompt.

        Raises:
            KeyRefusedError: ``key_scope``.
        """
        scope = self.key.scope
        self.check_prompt(prompt)
        if not scope.allows_model(model, prompt):
            allowed = scope.models if scope.prompts is None else (*(scope.models or ()), *_served(scope.prompts))
            raise self._beyond(f"the model {model[:100]!r}", "models", allowed)
        if not scope.allows_adapter(adapter):
            raise self._beyond(f"the adapter {adapter[:100]!r}", "adapters", scope.adapters)

    def check_endpoint(self, endpoint: str, path: str) -> None:
        """Refuse an address that is not in the key's scope; one that is for nothing known is in none.

        Raises:
            KeyRefusedError: ``key_scope``.
        """
        scope = self.key.scope
        if endpoint != "models" and not (endpoint and scope.allows_endpoint(endpoint)):
            raise self._beyond(f"{path[:100]} ({endpoint or 'for no client'})", "endpoints", scope.endpoints)

    async def reserve(self, tokens: int) -> str:
        """Reserve tokens; returns the reservation's name.

        Raises:
            LimitReachedError: they are not there now.
            LlmopsError: it cannot be written.
        """

        def work(connection: sqlite3.Connection) -> str:
            limiter = self.gate.limiter
            try:
                name, standings = limiter.reserve(connection, self.line, tokens, limiter.now(connection))
            except LimitReachedError as error:
                self.note(error.standings)
                raise
            self.note(standings)
            return name

        try:
            return await self.gate.do(work)
        except LimitReachedError:
            self.gate.count_refusal(self.key.id)
            raise

    async def refuse_spent(self, tokens: int) -> None:
        """Refuse a request that so many tokens are not there for now, before anything is computed for it.

        Raises:
            LimitReachedError: they are not there; nothing was taken.
        """
        if not self.limits_tokens:
            return

        def work() -> None:
            connection = self.gate.store.event_log.connection()
            limiter = self.gate.limiter
            limiter.check(connection, self.line, tokens, limiter.now(connection, write=False))

        try:
            await asyncio.to_thread(work)
        except LimitReachedError as error:
            self.gate.count_refusal(self.key.id)
            self.note(error.standings)
            raise

    def check_prompt(self, prompt: str) -> None:
        """Refuse a served prompt that is not in the key's scope, whether it is there or not: that is not told.

        Raises:
            KeyRefusedError: ``key_scope``.
        """
        if not self.key.scope.allows_prompt(prompt):
            raise self._beyond(f"the prompt {prompt[:100]!r}", "prompts", self.key.scope.prompts)

    async def settle(self, reservation: str, model: str, used: Used) -> None:
        """Tell what a request used; the rest of what was reserved is given back.

        Raises:
            LlmopsError: it cannot be written; what was reserved stays taken.
        """

        def work(connection: sqlite3.Connection) -> None:
            limiter = self.gate.limiter
            if reservation:
                limiter.settle(connection, self.line, reservation, used.tokens)
                self.note(limiter.standings(connection, self.key, limiter.now(connection), "tokens"))
            if used != Used():
                note_use(connection, self.key.id, model, limiter.clock.wall, used)

        await self.gate.do(work)

    def note(self, standings: Iterable[Standing]) -> None:
        """Keep of a unit's limits the one that has the least share left, for headers."""
        self.standings |= tightest(standings)

    def _beyond(self, what: str, scope: str, allowed: tuple[str, ...] | None) -> KeyRefusedError:
        told = f"the key {self.key.name!r} is not for {what}"
        return KeyRefusedError(
            "key_scope",
            told,
            f"Its {scope}: {', '.join(allowed or ()) or 'none' if allowed is not None else 'the usual'}.",
        )


def _served(prompts: tuple[str, ...]) -> list[str]:
    return [f"prompt/{name}" for name in prompts]


class AccessGate:
    """Lets keys in; for one event loop."""

    def __init__(self, event_log: EventLog, clock: LimitClock | None = None, store: KeyStore | None = None) -> None:
        self.limiter = Limiter(clock)
        self.store = store or KeyStore(event_log, clock=lambda: self.limiter.clock.wall)
        self._event_log = event_log
        self._due: list[tuple[_Work, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None
        # By key, those that are not written yet.
        self._refused: Counter[str] = Counter()
        self._counting: asyncio.Task[None] | None = None

    async def enter(self, secret: bytes, check: Check) -> Grant | None:
        """The grant of a key by its secret, counted; none where it is no key of this workspace.

        Raises:
            KeyRefusedError: ``key_revoked``, ``key_expired`` or ``key_foreign``; what ``check`` raises.
            LimitReachedError: the key has no requests left.
            LlmopsError: what it takes cannot be written.
        """
        digest = hash_of(secret)

        def find(connection: sqlite3.Connection) -> AccessKey | None:
            key = self.store.by_hash(connection, digest)
            return key if key is not None and hmac.compare_digest(key.hash, digest) else None

        return await self._enter(find, check, count=True)

    async def enter_for(self, identifier: str, check: Check, *, count: bool) -> Grant:
        """The grant of a key by its id, for a program of ours that passes on its request; counted where that was not yet.

        Raises:
            KeyRefusedError: as :meth:`enter`; or it is gone.
            LimitReachedError: as :meth:`enter`.
        """
        grant = await self._enter(lambda connection: self.store.by_id(connection, identifier), check, count=count)
        if grant is None:
            raise KeyRefusedError("key_revoked", "the key that this was asked with is not there any more")
        return grant

    async def _enter(
        self, find: Callable[[sqlite3.Connection], AccessKey | None], check: Check, *, count: bool
    ) -> Grant | None:
        # A look that writes nothing comes first: whoever guesses keys writes nothing.
        if not await asyncio.to_thread(self._exists, find):
            return None
        asked: list[str] = []

        def work(connection: sqlite3.Connection) -> Grant | None:
            key = find(connection)
            if key is None:
                return None
            line = self.store.line_of(connection, key)
            now, wall = self.limiter.now(connection), self.limiter.clock.wall
            _check_active(line, now / MICROSECONDS, wall)
            grant = Grant(self, line)
            check(grant)
            if count:
                asked.append(key.id)
                grant.note(self.limiter.count_request(connection, line, now))
                connection.execute("UPDATE access_keys SET last_used = ? WHERE id = ?", (wall, key.id))
                note_use(connection, key.id, "", wall, Used(), requests=1)
            return grant

        try:
            return await self.do(work)
        except LimitReachedError:
            self.count_refusal(asked[-1])
            raise

    def count_refusal(self, identifier: str) -> None:
        """Count a request that the limits of the key of an id turned away.

        The first is written at once, those of the next second together: a flood of them costs few writes.
        """
        self._refused[identifier] += 1
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._write_refusals())

    async def _write_refusals(self) -> None:
        while self._refused:
            await self._write_refused()
            await asyncio.sleep(_BETWEEN_REFUSALS)

    async def _write_refused(self) -> None:
        due, self._refused = self._refused, Counter()

        def work(connection: sqlite3.Connection) -> None:
            for identifier, count in due.items():
                note_use(connection, identifier, "", self.limiter.clock.wall, Used(), refused=count)

        try:
            await self.do(work)
        except LlmopsError:
            self._refused.update(due)  # the disk may take them later

    def is_within(self, name: str, identifier: str) -> bool:
        """Whether the key of a name is made within the one of an id."""
        connection = self._event_log.connection()
        key = self.store.by_name(connection, name)
        return key is not None and any(one.id == identifier for one in self.store.line_of(connection, key)[1:])

    async def do(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do this in a transaction, with what else waits for one; what it raises is its own alone.

        Raises:
            LlmopsError: the transaction cannot be written; none of it happened.
        """
        done: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._due.append((work, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(done)

    async def close(self) -> None:
        """Write what is due."""
        if self._counting is not None:
            self._counting.cancel()
        if self._refused:
            await self._write_refused()
        if self._task is not None:
            await asyncio.wait({self._task})

    def _exists(self, find: Callable[[sqlite3.Connection], AccessKey | None]) -> bool:
        connection = self._event_log.connection()
        return has_tables(connection) and find(connection) is not None

    async def _run(self) -> None:
        while self._due:
            batch, self._due = self._due, []
            outcomes = await asyncio.to_thread(self._write, [work for work, _ in batch])
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    done.set_exception(outcome)
                    # Whoever asked may have left.
                    done.exception()
                else:
                    done.set_result(outcome)

    def _write(self, works: list[_Work]) -> list[Any]:
        outcomes: list[Any] = []
        try:
            with self.store.writing() as connection:
                for work in works:
                    connection.execute("SAVEPOINT one")
                    try:
                        outcomes.append(work(connection))
                    except Exception as error:  # noqa: BLE001 - what one request does reaches no other
                        connection.execute("ROLLBACK TO one")
                        outcomes.append(error)
                    connection.execute("RELEASE one")
                if all(isinstance(one, Exception) for one in outcomes):
                    raise _NothingToWriteError
        except _NothingToWriteError:
            return outcomes
        except Exception as error:  # noqa: BLE001 - none of it is on the disk, whatever it was
            return [error] * len(works)
        return outcomes


class _NothingToWriteError(Exception):
    """All were refused, and the transaction is given up: a flood of them costs no writes."""


def _check_active(line: list[AccessKey], *moments: float) -> None:
    """Refuse a key where it, or one that it is made within, opens nothing by any of these clocks."""
    for key in line:
        of = f"the key {key.name!r}" + ("" if key is line[0] else f", within which {line[0].name!r} is,")
        if key.revoked_at is not None:
            raise KeyRefusedError("key_revoked", f"{of} is revoked", "Ask for another one.")
        if key.foreign:
            hint = "llmops key rotate gives it a secret that does, on the machine that serves."
            told = f"{of} was not made on this machine, or was revoked on it, and opens nothing here"
            raise KeyRefusedError("key_foreign", told, hint)
        if key.expired(*moments):
            raise KeyRefusedError("key_expired", f"{of} has expired", "Ask for another one.")


def whole_seconds(seconds: float) -> int:
    """What ``Retry-After`` says: no less than it takes."""
    return max(1, math.ceil(seconds))
