"""What is new in a window, as clusters with words that name them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters, usual_count
from llmops_tui.datasets.meaning.topics import name_clusters, words_of
from llmops_tui.decisions.numbers import Floats
from llmops_tui.drift.samples import Sample


@dataclass(frozen=True)
class NewTopic:
    """Rows of the window that are alike and unlike what was said before; ``words`` name them, ``rows`` are their numbers."""

    words: tuple[str, ...]
    rows: tuple[int, ...]


def new_topics(reference: Sample, window: Sample, vectors: Floats, new: tuple[int, ...]) -> list[NewTopic]:
    """Clusters of the window's new rows, the largest first; ``vectors`` are those of all of its rows."""
    if not new:
        return []
    rows = np.asarray(new)
    centres = fit_clusters(vectors, rows, min(8, usual_count(len(rows))))
    of = nearest_clusters(vectors, rows, centres)
    members = [rows[of == cluster] for cluster in range(len(centres))]
    before = Counter(word for text in reference.texts for word in set(words_of(text)))
    counted = [Counter(w for row in mine for w in set(words_of(window.texts[int(row)]))) for mine in members]
    # Beside what was said before, so that words which are always there name nothing.
    named = name_clusters([*counted, before])
    found = [
        NewTopic(tuple(words), tuple(int(row) for row in mine))
        for words, mine in zip(named, members, strict=False)
        if len(mine)
    ]
    return sorted(found, key=lambda topic: -len(topic.rows))
