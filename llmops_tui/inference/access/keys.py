"""Access keys: named secrets of which only the hash is kept, each with a scope, limits and an end."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, fields
from typing import TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.access.endpoints import ENDPOINTS, UNLIMITED
from llmops_tui.inference.access.gcra import Limit

BEGINNING = "llmops-"
"""What every secret begins with, so that it is found where it should not be."""
KIND = "key"
"""What ids of keys begin with."""
_SHOWN = len(BEGINNING) + 4
_LONGEST_NAME = 60
_MOST_NAMES = 100
# Of the workspace's own programs, and of those who need no key; see the server's callers.
_TAKEN = {"own", "open"}
_MINUTE, _DAY = 60, 86_400


class LimitRecord(TypedDict):
    """A limit and what is left of it: so many ``requests`` or ``tokens`` a ``minute`` or ``day``."""

    unit: str
    span: str
    amount: int
    left: int
    whole_in_s: float


class ScopeRecord(TypedDict):
    """A :class:`Scope` as JSON has it."""

    models: list[str] | None
    adapters: list[str] | None
    endpoints: list[str] | None
    max_context: int | None
    max_output: int | None
    requests_per_minute: int | None
    requests_per_day: int | None
    tokens_per_minute: int | None
    tokens_per_day: int | None
    prompts: list[str] | None


@dataclass(frozen=True)
class Scope:
    """What a key may ask for, and how much; ``None`` is no limit.

    ``models`` and ``adapters`` are registered names. Where ``adapters`` are given, no other may be used beside a model.
    ``prompts`` are served prompts; where they are given and ``models`` are not, no model may be asked but by them.
    ``max_context`` is the most tokens of a prompt and its answer together.
    """

    models: tuple[str, ...] | None = None
    adapters: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    max_context: int | None = None
    max_output: int | None = None
    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    prompts: tuple[str, ...] | None = None

    def check(self) -> None:
        """Refuse what no key can have.

        Raises:
            InputRefusedError: ``bad_scope``.
        """
        for name in _NAMES:
            given: tuple[str, ...] | None = getattr(self, name)
            if given is not None and len(given) > _MOST_NAMES:
                raise InputRefusedError("bad_scope", f"{name} has {len(given)} names, more than {_MOST_NAMES}")
        for endpoint in self.endpoints or ():
            if endpoint not in ENDPOINTS:
                raise InputRefusedError(
                    "bad_scope", f"{endpoint[:60]!r} is no endpoint", f"There are: {', '.join(ENDPOINTS)}."
                )
        for name in ("models", "endpoints", "prompts"):
            if getattr(self, name) == ():
                raise InputRefusedError(
                    "bad_scope", f"{name} is empty: the key could ask nothing", "Name at least one."
                )
        for name in _NUMBERS:
            number = getattr(self, name)
            if number is not None and not 1 <= number <= 10**12:
                raise InputRefusedError("bad_scope", f"{name} must be between 1 and 10^12, not {number}")

    def allows_endpoint(self, endpoint: str) -> bool:
        """Whether addresses that are for this may be asked."""
        return endpoint in (UNLIMITED if self.endpoints is None else self.endpoints)

    def allows_prompt(self, prompt: str) -> bool:
        """Whether a served prompt may be asked; none is asked where a model is asked for itself."""
        return not prompt or self.prompts is None or prompt in self.prompts

    def allows_model(self, model: str, prompt: str = "") -> bool:
        """Whether a registered model may be used, for itself or by a served prompt."""
        if not self.allows_prompt(prompt):
            return False
        if self.models is not None:
            return model in self.models
        return bool(prompt) or self.prompts is None

    def allows_adapter(self, adapter: str) -> bool:
        """Whether an adapter may be used; none always may."""
        return not adapter or self.adapters is None or adapter in self.adapters

    def limits(self) -> dict[str, tuple[str, str, Limit]]:
        """By name: what is counted, the span, and the limit."""
        return {
            name: (unit, span, Limit(amount, seconds))
            for name, (unit, span, seconds) in LIMITS.items()
            if (amount := getattr(self, name)) is not None
        }

    def as_record(self) -> ScopeRecord:
        """For JSON."""
        return {
            "models": _listed(self.models),
            "adapters": _listed(self.adapters),
            "endpoints": _listed(self.endpoints),
            "max_context": self.max_context,
            "max_output": self.max_output,
            "requests_per_minute": self.requests_per_minute,
            "requests_per_day": self.requests_per_day,
            "tokens_per_minute": self.tokens_per_minute,
            "tokens_per_day": self.tokens_per_day,
            "prompts": _listed(self.prompts),
        }


LIMITS = {
    "requests_per_minute": ("requests", "minute", _MINUTE),
    "requests_per_day": ("requests", "day", _DAY),
    "tokens_per_minute": ("tokens", "minute", _MINUTE),
    "tokens_per_day": ("tokens", "day", _DAY),
}
"""By the name of a limit: what is counted, in which span, and how many seconds that has."""
_NAMES = ("models", "adapters", "endpoints", "prompts")
_NUMBERS = ("max_context", "max_output", *LIMITS)


def wider(child: Scope, parent: Scope) -> str:
    """In what a scope goes beyond another, in words; empty where it lies within."""
    for name in _NAMES:
        mine, theirs = getattr(child, name), getattr(parent, name)
        if name == "endpoints":
            mine, theirs = mine or tuple(UNLIMITED), theirs or tuple(UNLIMITED)
        if theirs is not None and (mine is None or set(mine) - set(theirs)):
            beyond = "all" if mine is None else ", ".join(sorted(set(mine) - set(theirs)))
            return f"{name}: {beyond} (it has {', '.join(theirs) or 'none'})"
    for name in _NUMBERS:
        mine, theirs = getattr(child, name), getattr(parent, name)
        if theirs is not None and (mine is None or mine > theirs):
            return f"{name}: {'no limit' if mine is None else f'{mine:,}'} (it has {theirs:,})"
    return ""


def within(child: Scope, parent: Scope) -> Scope:
    """A scope that has the other's limits where it names none of its own."""
    given = {f.name: getattr(child, f.name) for f in fields(Scope)}
    return Scope(**{name: getattr(parent, name) if value is None else value for name, value in given.items()})


@dataclass(frozen=True)
class AccessKey:
    """One key. Moments are seconds since 1970; ``parent`` is the id of the key that it was made with, or within.

    ``begins`` is what may be shown of the secret. A key that is ``foreign`` was not made by this user on this machine, or
    was revoked here since: it came with a workspace or a backup, and opens nothing.
    """

    id: str
    name: str
    hash: str
    begins: str
    scope: Scope
    created_at: float
    expires_at: float | None = None
    owner: str = ""
    parent: str = ""
    rotated_at: float | None = None
    revoked_at: float | None = None
    last_used: float | None = None
    foreign: bool = False

    def expired(self, *moments: float) -> bool:
        """Whether its end is past by any of these clocks."""
        return self.expires_at is not None and any(moment >= self.expires_at for moment in moments)

    def state(self, now: float) -> str:
        """``active``, ``expired``, ``revoked`` or ``foreign``."""
        if self.revoked_at is not None:
            return "revoked"
        if self.foreign:
            return "foreign"
        return "expired" if self.expired(now) else "active"

    @property
    def digest(self) -> str:
        """A hash of all that decides what the key opens: one that was made here opens nothing more than it did then."""
        scope = asdict(self.scope)
        if scope["prompts"] is None:
            # As it was hashed before keys were for prompts.
            del scope["prompts"]
        decides = [self.id, self.hash, self.parent, self.expires_at, scope]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def new_secret() -> str:
    """A secret with 256 bits of chance, to be shown once."""
    return BEGINNING + secrets.token_urlsafe(32)


def hash_of(secret: bytes) -> str:
    """The SHA-256 of a secret. It is as long as the hash and random: a slow hash would protect it no better."""
    return hashlib.sha256(secret).hexdigest()


def is_access_key(owner: str) -> bool:
    """Whether an owner of files is the id of an access key."""
    return owner.startswith(f"{KIND}_")


def shown(secret: str) -> str:
    """What is kept of a secret to be told from others by."""
    return f"{secret[:_SHOWN]}…"


def check_name(name: str) -> None:
    """Refuse what no key can be called.

    Raises:
        InputRefusedError: ``bad_name``.
    """
    # People call keys as they speak; what begins as a path does is none.
    fits = bool(name.strip()) and name == name.strip() and name.isprintable() and not name.startswith((".", "/"))
    if not fits or len(name) > _LONGEST_NAME:
        raise InputRefusedError(
            "bad_name", f"{name[:_LONGEST_NAME]!r} is no name for a key", f"Give up to {_LONGEST_NAME} characters."
        )
    if name.lower() in _TAKEN:
        raise InputRefusedError(
            "bad_name", f"{name!r} is what other callers are called in traces", "Give another name."
        )


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)
