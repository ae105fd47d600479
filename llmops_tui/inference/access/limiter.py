"""What keys have taken of their limits and used, in the event log, shared by all servers of a workspace."""

from __future__ import annotations

import itertools
import json
import math
import os
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.access.clock import LimitClock, Reading
from llmops_tui.inference.access.gcra import MICROSECONDS, Account, Limit
from llmops_tui.inference.access.keys import AccessKey, LimitRecord
from llmops_tui.inference.access.store import has_tables
from llmops_tui.jobs.process import ProcessIdentity, identify

_DAY = 86_400
# Above so many requests under way it is looked which of them nobody answers any more.
_MANY = 256


@dataclass(frozen=True)
class Standing:
    """How a key stands to one limit, for headers: the unit and its span, the amount, what is left, and when nothing is taken."""

    unit: str
    span: str
    amount: int
    left: int
    whole_in: float

    def as_record(self) -> LimitRecord:
        """For JSON."""
        return {
            "unit": self.unit, "span": self.span, "amount": self.amount, "left": self.left,
            "whole_in_s": round(self.whole_in, 3),
        }  # fmt: skip


class LimitReachedError(LlmopsError):
    """A request that a limit does not let in now; in ``retry_after`` seconds it does, as far as is known."""

    def __init__(self, message: str, retry_after: float, standings: Sequence[Standing] = ()) -> None:
        super().__init__("rate_limit_exceeded", message, f"Try again in {math.ceil(retry_after):,} s.")
        self.retry_after = retry_after
        self.standings = standings


def tightest(standings: Iterable[Standing]) -> dict[str, Standing]:
    """By unit, the limit that has the least share left."""
    found: dict[str, Standing] = {}
    for one in standings:
        before = found.get(one.unit)
        if before is None or one.left / one.amount < before.left / before.amount:
            found[one.unit] = one
    return found


@dataclass(frozen=True)
class Used:
    """What a request used."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt_tokens + self.completion_tokens


class Limiter:
    """Takes, reserves and settles, each within a transaction of the caller's."""

    def __init__(self, clock: LimitClock | None = None) -> None:
        self.clock = clock or LimitClock()
        me = identify(os.getpid())
        # One process may have several, as for tests.
        self._me = f"{os.getpid()}:{me.started if me is not None else 0}:{secrets.token_hex(4)}"
        self._count = itertools.count(1)

    def now(self, connection: sqlite3.Connection, *, write: bool = True) -> int:
        """The limits' clock, in microseconds; kept, so that it goes on from there in another process."""
        row = connection.execute("SELECT boot, since_boot, wall, now FROM access_clock WHERE one = 1").fetchone()
        reading = self.clock.read(None if row is None else Reading(*row))
        if write:
            connection.execute(
                "INSERT OR REPLACE INTO access_clock (one, boot, since_boot, wall, now) VALUES (1, ?, ?, ?, ?)",
                (reading.boot, reading.since_boot, reading.wall, reading.now),
            )
        return reading.now

    def count_request(self, connection: sqlite3.Connection, line: Sequence[AccessKey], now: int) -> list[Standing]:
        """Take one request of a key's limits and of those it is made within; returns how the key's own stand.

        Raises:
            LimitReachedError: one of them is reached; nothing was taken.
        """
        return self._take(connection, line, "requests", 1, now, "")

    def reserve(
        self, connection: sqlite3.Connection, line: Sequence[AccessKey], tokens: int, now: int
    ) -> tuple[str, list[Standing]]:
        """Reserve tokens for a request under way; returns its name for :meth:`settle`, and how the key's own limits stand.

        Raises:
            LimitReachedError: as :meth:`count_request`.
        """
        name = f"{self._me}-{next(self._count)}"
        return name, self._take(connection, line, "tokens", tokens, now, name)

    def check(self, connection: sqlite3.Connection, line: Sequence[AccessKey], tokens: int, now: int) -> None:
        """Refuse what could not be reserved now; nothing is taken.

        Raises:
            LimitReachedError: as :meth:`count_request`.
        """
        self._take(connection, line, "tokens", tokens, now, "", keep=False)

    def settle(self, connection: sqlite3.Connection, line: Sequence[AccessKey], request: str, used: int) -> None:
        """Give back what a request reserved and did not use."""
        for key in line:
            for name, (unit, _, limit) in key.scope.limits().items():
                if unit == "tokens":
                    account = _account(connection, key.id, name)
                    if account.settle(limit, request, used):
                        _write(connection, key.id, name, account)

    def standings(self, connection: sqlite3.Connection, key: AccessKey, now: int, unit: str = "") -> list[Standing]:
        """How a key stands to its own limits, or to those of one unit."""
        return [
            _standing(counted, span, limit, _account(connection, key.id, name), now)
            for name, (counted, span, limit) in key.scope.limits().items()
            if unit in {"", counted}
        ]

    def _take(
        self,
        connection: sqlite3.Connection,
        line: Sequence[AccessKey],
        unit: str,
        cost: int,
        now: int,
        request: str,
        *,
        keep: bool = True,
    ) -> list[Standing]:
        due: list[tuple[str, str, Account]] = []
        before: list[Standing] = []
        after: list[Standing] = []
        longest, told = 0, ""
        for key in line:
            for name, (counted, span, limit) in key.scope.limits().items():
                if counted != unit:
                    continue
                account = _account(connection, key.id, name)
                if len(account.under_way) > _MANY:
                    account.close(one for one in account.under_way if not _lives(one))
                stood = _standing(unit, span, limit, account, now)
                wait = account.take(limit, now, cost, request)
                if wait > longest:
                    longest = wait
                    of = f"of the key {key.name!r}" + ("" if key is line[0] else f", within which {line[0].name!r} is,")
                    needs = f"; this request may use {cost:,}" if unit == "tokens" else ""
                    told = (
                        f"the limit {of} is reached: {limit.amount:,} {unit} a {span}, {stood.left:,} are left{needs}"
                    )
                due.append((key.id, name, account))
                if key is line[0]:
                    before.append(stood)
                    after.append(_standing(unit, span, limit, account, now))
        if longest:
            raise LimitReachedError(told, longest / MICROSECONDS, before)
        for identifier, name, account in due if keep else ():
            _write(connection, identifier, name, account)
        return after


def note_use(
    connection: sqlite3.Connection,
    key: str,
    model: str,
    wall: float,
    used: Used,
    *,
    requests: int = 0,
    refused: int = 0,
) -> None:
    """Add what a key used of a model to that of its day."""
    connection.execute(
        "INSERT INTO access_use (key, day, model, requests, refused, prompt_tokens, completion_tokens, seconds) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key, day, model) DO UPDATE SET requests = requests + excluded.requests, "
        "refused = refused + excluded.refused, prompt_tokens = prompt_tokens + excluded.prompt_tokens, "
        "completion_tokens = completion_tokens + excluded.completion_tokens, seconds = seconds + excluded.seconds",
        (key, int(wall // _DAY), model, requests, refused, used.prompt_tokens, used.completion_tokens, used.seconds),
    )


@dataclass(frozen=True)
class DayOfUse:
    """What a key used of one model on one day, counted in days since 1970 (UTC)."""

    key: str
    day: int
    model: str
    requests: int
    refused: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


def use_of(connection: sqlite3.Connection, since: float = 0.0) -> list[DayOfUse]:
    """What all keys used since a moment, by day and model; ``model`` is empty of requests that came to none."""
    if not has_tables(connection):
        return []
    rows = connection.execute(
        "SELECT key, day, model, requests, refused, prompt_tokens, completion_tokens, seconds FROM access_use "
        "WHERE day >= ? ORDER BY key, day, model",
        (int(since // _DAY),),
    )
    return [DayOfUse(*row) for row in rows]


def _standing(unit: str, span: str, limit: Limit, account: Account, now: int) -> Standing:
    left, whole = max(0, account.left(limit, now)), account.whole_in(limit, now) / MICROSECONDS
    return Standing(unit, span, limit.amount, left, whole)


def _account(connection: sqlite3.Connection, key: str, name: str) -> Account:
    row = connection.execute("SELECT state FROM access_accounts WHERE key = ? AND name = ?", (key, name)).fetchone()
    try:
        return Account() if row is None else Account.of_record(json.loads(row[0]))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        told = f"what was used of a limit of the key {key!r} cannot be read: {error}"
        raise LlmopsError("limits_damaged", told, "llmops key revoke ends the key; make another one.") from error


def _write(connection: sqlite3.Connection, key: str, name: str, account: Account) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO access_accounts (key, name, state) VALUES (?, ?, ?)",
        (key, name, json.dumps(account.as_record())),
    )


def _lives(request: str) -> bool:
    pid, started, _ = request.split(":")
    return ProcessIdentity(int(pid), float(started)).alive()
