"""The record of a version's profile. Fields that a newer version added are preserved.

Shares are from 0 to 1; an ``interval`` of a mean is the half width of its 95 % interval, that of a share its two ends.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Numbers(TypedDict, total=False):
    """Figures of numbers, or of the lengths of texts in characters; empty where there are none."""

    min: float
    max: float
    mean: float
    p50: float
    p95: float
    histogram: list[int]


class ColumnStatistics(Numbers, total=False):
    """A column: how many values, missing and different ones; of texts ``length``; ``top`` has common values with counts.

    Without ``exact`` the number of different ones is an estimate.
    """

    name: str
    type: str
    values: int
    missing: int
    distinct: int
    exact: bool
    length: Numbers
    top: list[list[Any]]


class Share(TypedDict):
    """A share with its interval."""

    share: float
    interval: list[float]


class Mean(TypedDict):
    """A mean with its interval."""

    mean: float
    interval: float


class Turns(Mean):
    """Turns a row: how many rows have how many, and how many turns each role has."""

    counts: list[tuple[int, int]]
    roles: dict[str, int]


class Duplicates(TypedDict):
    """Rows that say the same as another; of a sample that is a lower bound."""

    rows: int
    of: int
    lower_bound: bool


class Labels(TypedDict):
    """The column of labels, and how often each stands there."""

    column: str
    counts: list[list[Any]]


class Languages(TypedDict):
    """Languages by share of the texts that tell one: long enough, and no program code, tables or the like."""

    shares: dict[str, Share]
    looked_at: int
    too_short: int
    no_prose: int


class Outliers(TypedDict):
    """How many lengths are far outside of the others; long ones are ``above`` so many tokens."""

    short: int
    long: int
    above: float


class TokenFigures(TypedDict, total=False):
    """Lengths in tokens of a model, with its template; ``total`` 0 where no row could be rendered.

    ``cut`` is the share of rows longer than each length; ``packing`` and ``padding`` the share of a batch that is no padding.
    """

    model: str
    looked_at: int
    p50: float
    p95: float
    p99: float
    max: int
    min: int
    mean: float
    interval: float
    total: int
    total_interval: int
    trained_share: float
    by_role: dict[str, int]
    histogram: list[int]
    edges: list[float]
    cut: dict[str, Share]
    max_length: int
    packing: float
    padding: float
    outliers: Outliers
    failed: dict[str, int]
    problems: dict[str, int]


class TrainingTime(TypedDict):
    """How long an epoch takes at a speed."""

    seconds_per_epoch: float
    tokens_per_second: float


class _Profile(TypedDict):
    version: str
    sha256: str
    format: str
    rows: int
    looked_at: int
    sampled: bool
    columns: list[ColumnStatistics]


class Profile(_Profile, total=False):
    """All of it; what is counted in tokens is there where a model was given."""

    turns: Turns
    duplicates: Duplicates
    labels: Labels
    languages: Languages
    tokens: TokenFigures
    training: TrainingTime
