"""The access keys of a workspace, in its event log: made, shown, rotated and revoked."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.access.keys import (
    KIND,
    AccessKey,
    Scope,
    check_name,
    hash_of,
    new_secret,
    shown,
    wider,
    within,
)
from llmops_tui.inference.access.known import KnownKeys
from llmops_tui.workspace.audit import add_entry
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ids import new_id

# Of those that open something.
_MOST = 10_000
# A key that a key made may make others in turn; so deep.
_DEEPEST = 5
_TABLES = (
    (
        "CREATE TABLE IF NOT EXISTS access_keys (id TEXT PRIMARY KEY, name TEXT UNIQUE NOT NULL, hash TEXT UNIQUE NOT NULL, "
        "body TEXT NOT NULL, revoked_at REAL, last_used REAL)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS access_accounts (key TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, "
        "PRIMARY KEY (key, name))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS access_use (key TEXT NOT NULL, day INTEGER NOT NULL, model TEXT NOT NULL, "
        "requests INTEGER NOT NULL, refused INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, "
        "completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (key, day, model))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS access_clock (one INTEGER PRIMARY KEY, boot TEXT NOT NULL, since_boot INTEGER NOT NULL, "
        "wall INTEGER NOT NULL, now INTEGER NOT NULL)"
    ),
)
_COLUMNS = "id, name, hash, body, revoked_at, last_used"


@dataclass(frozen=True)
class NewKey:
    """A key that was just made or rotated, and its secret, which is kept nowhere."""

    key: AccessKey
    secret: str


class KeyStore:
    """Makes and finds keys."""

    def __init__(
        self, event_log: EventLog, known: KnownKeys | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.event_log = event_log
        self._known = known or KnownKeys()
        self._clock = clock

    def create(
        self,
        name: str,
        scope: Scope,
        *,
        owner: str = "",
        expires_at: float | None = None,
        parent: AccessKey | None = None,
    ) -> NewKey:
        """Make a key; within ``parent``, whose limits hold for both together, it has what that one has where nothing is said.

        Raises:
            InputRefusedError: ``bad_name``, ``bad_scope``, ``key_exists``, ``key_beyond``: it would go beyond its parent,
                or ``key_parent``: that one is not active.
            LlmopsError: ``key_not_kept``: it cannot be written.
        """
        check_name(name)
        if len(owner) > 200 or not owner.isprintable():
            raise InputRefusedError("bad_owner", "the owner must be a line of up to 200 characters")
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InputRefusedError("bad_scope", "the key would have expired already", "Give a moment that is to come.")
        if parent is not None:
            scope, expires_at = self._within(scope, expires_at, parent, now)
        scope.check()
        secret = new_secret()
        key = AccessKey(
            new_id(KIND),
            name,
            hash_of(secret.encode()),
            shown(secret),
            scope,
            now,
            expires_at,
            owner,
            parent.id if parent is not None else "",
        )
        with self.writing() as connection:
            if connection.execute("SELECT 1 FROM access_keys WHERE name = ?", (name,)).fetchone():
                hint = f"Give another name; llmops key rotate {name} makes a new secret for this one."
                raise InputRefusedError("key_exists", f"there is a key {name!r} already", hint)
            # Those that open nothing any more keep nobody from making one.
            opening = (
                "SELECT count(*) FROM access_keys WHERE revoked_at IS NULL "
                "AND coalesce(CASE WHEN json_valid(body) THEN json_extract(body, '$.expires_at') END, ?) >= ?"
            )
            if connection.execute(opening, (now, now)).fetchone()[0] >= _MOST:
                hint = "Use one of them, or revoke those that nobody needs: llmops key revoke NAME."
                raise InputRefusedError("keys_full", f"there are {_MOST:,} active keys already", hint)
            connection.execute(
                "INSERT INTO access_keys (id, name, hash, body) VALUES (?, ?, ?, ?)",
                (key.id, key.name, key.hash, _body(key)),
            )
            self._know(add=[key.digest])
            add_entry(connection, "key.created", key.id, {"digest": key.digest, "within": key.parent or None})
        return NewKey(key, secret)

    def _within(
        self, scope: Scope, expires_at: float | None, parent: AccessKey, now: float
    ) -> tuple[Scope, float | None]:
        state = parent.state(now)
        if state != "active":
            raise InputRefusedError("key_parent", f"the key {parent.name!r} is {state}, and makes no others")
        if len(self._ancestors(parent)) >= _DEEPEST:
            raise InputRefusedError("key_parent", f"the key {parent.name!r} is made within {_DEEPEST} others already")
        whole = within(scope, parent.scope)
        if scope.endpoints is None and whole.endpoints is not None:
            # That it may make keys is passed on only where it is said.
            whole = replace(
                whole, endpoints=tuple(name for name in whole.endpoints if name != "keys") or whole.endpoints
            )
        if beyond := wider(whole, parent.scope):
            raise InputRefusedError("key_beyond", f"it would go beyond {parent.name!r} in {beyond}", "Stay within it.")
        if parent.expires_at is not None and expires_at is not None and expires_at > parent.expires_at:
            end = time.strftime("%Y-%m-%d %H:%M", time.localtime(parent.expires_at))
            raise InputRefusedError("key_beyond", f"it would outlive {parent.name!r}, which ends {end}")
        return whole, parent.expires_at if expires_at is None else expires_at

    def rotate(self, key: AccessKey) -> NewKey:
        """Give a key another secret; the one before opens nothing from now on. What it may do and has used stays.

        Raises:
            InputRefusedError: ``key_revoked``.
        """
        secret = new_secret()
        with self.writing() as connection:
            current = self._row(connection, key.id)
            if current.revoked_at is not None:
                raise InputRefusedError("key_revoked", f"the key {key.name!r} is revoked", "Create another one.")
            fresh = replace(
                current, hash=hash_of(secret.encode()), begins=shown(secret), rotated_at=self._clock(), foreign=False
            )
            self._know(add=[fresh.digest], remove=[current.digest])
            connection.execute(
                "UPDATE access_keys SET hash = ?, body = ? WHERE id = ?", (fresh.hash, _body(fresh), fresh.id)
            )
            add_entry(connection, "key.rotated", fresh.id, {"digest": fresh.digest})
        return NewKey(fresh, secret)

    def revoke(self, key: AccessKey) -> list[AccessKey]:
        """Revoke a key and all that were made within it; returns those that were not before."""
        with self.writing() as connection:
            rows = self._all(connection)
            going, gone = {key.id}, -1
            while gone != len(going):
                gone = len(going)
                going |= {one.id for one in rows if one.parent in going}
            revoked = [one for one in rows if one.id in going and one.revoked_at is None]
            # Before it is written: whoever is killed here has keys that open nothing.
            self._know(remove=[one.digest for one in revoked])
            now = self._clock()
            connection.executemany(
                "UPDATE access_keys SET revoked_at = ? WHERE id = ?", [(now, one.id) for one in revoked]
            )
            for one in revoked:
                add_entry(connection, "key.revoked", one.id, {"with": key.id if one.id != key.id else None})
        return [replace(one, revoked_at=now) for one in revoked]

    def all(self) -> list[AccessKey]:
        """All keys, those that were revoked too, in the order they were made."""
        connection = self.event_log.connection()
        return self._all(connection) if has_tables(connection) else []

    def get(self, name: str) -> AccessKey:
        """A key by its name or id.

        Raises:
            NotFoundError: ``key_not_found``.
        """
        found = next((key for key in self.all() if name in {key.name, key.id}), None)
        if found is None:
            raise NotFoundError("key", name[:100], "llmops key list shows those that there are.")
        return found

    def children(self, key: AccessKey | None) -> list[AccessKey]:
        """Those that were made with a key or within it; all without one."""
        return [one for one in self.all() if key is None or one.parent == key.id]

    def by_hash(self, connection: sqlite3.Connection, digest: str) -> AccessKey | None:
        """The key with this hash of its secret, revoked or not."""
        row = connection.execute(f"SELECT {_COLUMNS} FROM access_keys WHERE hash = ?", (digest,)).fetchone()
        return None if row is None else self._read(row)

    def by_id(self, connection: sqlite3.Connection, identifier: str) -> AccessKey | None:
        """The key with this id, revoked or not."""
        row = connection.execute(f"SELECT {_COLUMNS} FROM access_keys WHERE id = ?", (identifier,)).fetchone()
        return None if row is None else self._read(row)

    def by_name(self, connection: sqlite3.Connection, name: str) -> AccessKey | None:
        """The key of this name, revoked or not."""
        row = connection.execute(f"SELECT {_COLUMNS} FROM access_keys WHERE name = ?", (name,)).fetchone()
        return None if row is None else self._read(row)

    def line_of(self, connection: sqlite3.Connection, key: AccessKey) -> list[AccessKey]:
        """A key and those that it is made within, itself first."""
        line = [key]
        while line[-1].parent and len(line) <= _DEEPEST + 1:
            above = self.by_id(connection, line[-1].parent)
            if above is None:
                # Somebody took it out of the file: what it limited is not to be unlimited.
                return [*line[:-1], replace(line[-1], foreign=True)]
            line.append(above)
        return line

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which the tables are there."""
        with self.event_log.transaction() as connection:
            if not has_tables(connection):
                for table in _TABLES:
                    connection.execute(table)
            yield connection

    def _ancestors(self, key: AccessKey) -> list[AccessKey]:
        return self.line_of(self.event_log.connection(), key)[1:]

    def _row(self, connection: sqlite3.Connection, identifier: str) -> AccessKey:
        found = self.by_id(connection, identifier)
        if found is None:
            raise NotFoundError("key", identifier)
        return found

    def _all(self, connection: sqlite3.Connection) -> list[AccessKey]:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM access_keys ORDER BY id").fetchall()
        return [self._listed(row) for row in rows]

    def _listed(self, row: tuple[Any, ...]) -> AccessKey:
        """A key of a list: one whose record cannot be read opens nothing, and the others are seen and revoked all the same."""
        try:
            return self._read(row)
        except LlmopsError:
            identifier, name, digest, _, revoked_at, last_used = row
            nothing = Scope(endpoints=())
            return AccessKey(
                identifier, name, digest, "?", nothing, 0.0, revoked_at=revoked_at, last_used=last_used, foreign=True
            )

    def _read(self, row: tuple[Any, ...]) -> AccessKey:
        identifier, name, digest, body, revoked_at, last_used = row
        try:
            told = json.loads(body)
            given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in told.pop("scope").items()}
            key = AccessKey(
                id=identifier,
                name=name,
                hash=digest,
                scope=Scope(**given),
                revoked_at=revoked_at,
                last_used=last_used,
                **told,
            )
            # Whoever planted it may have written anything.
            key.scope.check()
        except (ValueError, TypeError, KeyError, AttributeError, InputRefusedError) as error:
            told, called = f"the record of the key {str(name)[:60]!r} cannot be read: {error}", str(name)[:60]
            hint = f"llmops key revoke {called}, and create another one."
            raise LlmopsError("key_damaged", told, hint) from error
        return replace(key, foreign=key.revoked_at is None and key.digest not in self._known)

    def _know(self, add: list[str] | None = None, remove: list[str] | None = None) -> None:
        try:
            self._known.change(add or [], remove or [])
        except OSError as error:
            told = f"your own list of access keys cannot be written: {error.strerror}"
            raise LlmopsError("key_not_kept", told, f"{error.filename}: make it writable.") from error


def has_tables(connection: sqlite3.Connection) -> bool:
    """Whether a workspace had keys ever; one of an earlier version has no tables of them."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'access_clock'").fetchone())


def _body(key: AccessKey) -> str:
    kept = {
        "scope": asdict(key.scope),
        "begins": key.begins,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "owner": key.owner,
        "parent": key.parent,
        "rotated_at": key.rotated_at,
    }
    return json.dumps(kept)
