"""Experiments as they are kept. Moments are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from llmops_tui.foreign_text import JsonObject

Kind = Literal["ab", "canary", "shadow"]
State = Literal["running", "rolled back", "stopped"]
Arm = Literal["a", "b"]
KINDS: tuple[Kind, ...] = ("ab", "canary", "shadow")
# What a conversation is known by where nothing else is asked for: how it begins.
BY_OPENING = "conversation"
HEADER = "header:"
RATING: JsonObject = {"type": "rating"}
ANSWERED: JsonObject = {"type": "answered"}
"""Metrics of an experiment that are no metrics of answers: what users said, and whether they were answered at all."""


class Settings(TypedDict):
    """What an experiment was started with.

    ``share`` is that of B, of conversations; ``budget`` the largest share of them that may fail before B is stopped, none
    where nothing stops it; ``alpha`` how often that may be wrong. ``metric`` is what decides. ``slower`` is by which factor
    an answer may take longer and B is still not worse.
    """

    a: str
    b: str
    share: float
    by: str
    metric: JsonObject
    budget: float | None
    alpha: float
    slower: float


@dataclass(frozen=True)
class Experiment:
    """One experiment on the requests for a served name; ``salt`` makes its assignment independent of all others'."""

    id: str
    name: str
    kind: Kind
    settings: Settings
    salt: str
    state: State
    why: str
    started_at: float
    ended_at: float | None

    def model_of(self, arm: Arm) -> str:
        """The served name that answers for an arm."""
        return self.settings["a"] if arm == "a" else self.settings["b"]


@dataclass(frozen=True)
class Counts:
    """Conversations of one arm: all, and those in which something failed."""

    conversations: int = 0
    failed: int = 0


class ExperimentRecord(TypedDict):
    """An experiment as ``--json`` has it."""

    experiment: str
    name: str
    kind: Kind
    state: State
    why: str
    started_at: float
    ended_at: float | None
    settings: Settings
    conversations: dict[Arm, int]
    failed: dict[Arm, int]
    without_unit: int
