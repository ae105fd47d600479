"""Which version is open once the datasets were read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion


def which_opens(
    logs: Mapping[str, Sequence[DatasetVersion]],
    asked: str,
    current: DatasetVersion | None,
    away: Collection[str],
    *,
    leaves: bool,
) -> DatasetVersion | None:
    """The version asked for, else the one that is open, else the newest of the first dataset that the list shows.

    ``logs`` are the versions by their datasets, the newest first; ``away`` are datasets that the list leaves out. One of
    these is shown to whoever asks for it, and stays open; with ``leaves`` it does neither.
    """
    known = {v.ref: v for name, log in logs.items() for v in log if not (leaves and name in away)}
    found = known.get(asked) or (known.get(current.ref) if current is not None else None)
    if found is not None:
        return found
    return next((log[0] for name, log in logs.items() if name not in away), None)
