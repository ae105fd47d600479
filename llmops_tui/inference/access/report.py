"""Access keys as lists and screens show them: where each stands, what it has left, and what it used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from llmops_tui.inference.access.gcra import MICROSECONDS
from llmops_tui.inference.access.keys import AccessKey, LimitRecord, ScopeRecord
from llmops_tui.inference.access.limiter import DayOfUse, Limiter, Standing, use_of
from llmops_tui.inference.access.store import KeyStore, has_tables


class KeyRecord(TypedDict):
    """A key as JSON has it; moments are seconds since 1970. Its secret is nowhere."""

    id: str
    name: str
    begins: str
    state: str
    owner: str
    within: str | None
    created_at: float
    expires_at: float | None
    rotated_at: float | None
    revoked_at: float | None
    last_used: float | None
    scope: ScopeRecord
    limits: list[LimitRecord]
    requests: int
    refused: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True)
class KeyReport:
    """One key, how it stands to its limits now, and what it used, by day and model; ``within`` is its parent's name."""

    key: AccessKey
    state: str
    within: str
    standings: tuple[Standing, ...]
    use: tuple[DayOfUse, ...]

    @property
    def requests(self) -> int:
        """How many requests it had answered or turned away by a server, but not by its limits."""
        return sum(one.requests for one in self.use)

    @property
    def refused(self) -> int:
        """How many its limits turned away, as far as was noted."""
        return sum(one.refused for one in self.use)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all its prompts."""
        return sum(one.prompt_tokens for one in self.use)

    @property
    def completion_tokens(self) -> int:
        """Tokens of all its answers."""
        return sum(one.completion_tokens for one in self.use)

    @property
    def seconds(self) -> float:
        """Seconds that its requests took in all."""
        return sum(one.seconds for one in self.use)

    def as_record(self) -> KeyRecord:
        """For JSON."""
        key = self.key
        return {
            "id": key.id,
            "name": key.name,
            "begins": key.begins,
            "state": self.state,
            "owner": key.owner,
            "within": self.within or None,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "rotated_at": key.rotated_at,
            "revoked_at": key.revoked_at,
            "last_used": key.last_used,
            "scope": key.scope.as_record(),
            "limits": [one.as_record() for one in self.standings],
            "requests": self.requests,
            "refused": self.refused,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "seconds": round(self.seconds, 3),
        }


def reports(store: KeyStore, limiter: Limiter | None = None) -> list[KeyReport]:
    """All keys of a workspace, in the order they were made; nothing is written."""
    limiter = limiter or Limiter()
    keys = store.all()
    connection = store.event_log.connection()
    if not keys or not has_tables(connection):
        return []
    names = {key.id: key.name for key in keys}
    now = limiter.now(connection, write=False)
    # By both clocks, as the gate has it: a time of day that was set back makes no key active again.
    latest = max(limiter.clock.wall, now / MICROSECONDS)
    use = use_of(connection)
    return [
        KeyReport(
            key,
            key.state(latest),
            names.get(key.parent, key.parent),
            tuple(limiter.standings(connection, key, now)),
            tuple(one for one in use if one.key == key.id),
        )
        for key in keys
    ]


def scope_in_words(key: AccessKey) -> str:
    """What a key is for, in a line."""
    scope = key.scope
    parts = [
        f"{word} {', '.join(names) or 'none'}"
        for word, names in (
            ("models", scope.models),
            ("adapters", scope.adapters),
            ("endpoints", scope.endpoints),
            ("prompts", scope.prompts),
        )
        if names is not None
    ]
    parts += [f"context ≤ {scope.max_context:,}"] if scope.max_context is not None else []
    parts += [f"output ≤ {scope.max_output:,}"] if scope.max_output is not None else []
    return " · ".join(parts) or "everything"


def limits_in_words(standings: tuple[Standing, ...]) -> str:
    """What is left of each limit, in a line."""
    return " · ".join(f"{one.left:,} of {one.amount:,} {one.unit}/{one.span}" for one in standings) or "no limits"
