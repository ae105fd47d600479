"""How many different things some texts say: clusters of near-duplicates, and those that nothing known is like.

A hundred wordings of one question are one thing to learn, so rows are not what a new training is decided by.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.datasets.near_duplicates import Sketches, clusters

SIMILARITY = 0.8


def clusters_of(texts: Sequence[str], similarity: float = SIMILARITY) -> list[list[int]]:
    """The texts by number, each in one cluster of such as are nearly the same."""
    if not texts:
        return []
    sketches = Sketches()
    sketches.add(texts)
    joined = clusters(sketches.pairs(similarity))
    inside = {one for members in joined for one in members}
    return [*joined, *([number] for number in range(len(texts)) if number not in inside)]


def new_clusters(known: Sequence[str], texts: Sequence[str], similarity: float = SIMILARITY) -> int:
    """How many clusters of texts there are that no known text is in."""
    found = clusters_of([*known, *texts], similarity)
    return sum(min(members) >= len(known) for members in found)
