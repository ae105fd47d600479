"""Checks that go by what rows mean; they run where a version was embedded."""

from __future__ import annotations

from llmops_tui.datasets.checks.base import Check, Finding
from llmops_tui.datasets.meaning.duplicates import NEIGHBOURS, THRESHOLD, find_outliers, find_semantic_duplicates


class SemanticDuplicates(Check):
    """Rows that say the same in other words."""

    id = "semantic-duplicate"
    title = "Semantic duplicates"
    why = "Rows that say the same in other words add little, and leak between splits; near-duplicates do not show them."
    fix = "keep the first of those that are alike"
    by_meaning = True

    def finish(self) -> Finding:
        """Pairs with a cosine of at least ``cosine``, 0.95 unless it says otherwise."""
        index = self.parameters["meaning"]
        given = self.parameters.get("cosine")
        threshold = THRESHOLD if given is None else given
        found = find_semantic_duplicates(index, threshold)
        dropped = set(found.dropped())
        reasons: dict[int, str] = {}
        for pair in found.pairs:
            for row, other in ((pair.left, pair.right), (pair.right, pair.left)):
                if row in dropped and other not in dropped:
                    reasons.setdefault(row, f"like row {other:,}, in other words: cosine {pair.similarity:.3f}")
        self.hit_many(reasons)
        self.finding.groups = [list(group) for group in found.groups]
        if found.pairs:
            by_parts = "; only rows of the same part were compared" if found.by_parts else ""
            what = f"by {index.spec.model}, of {index.text.told}"
            self.finding.note = f"cosine of {threshold:g} or more {what}; the texts differ{by_parts}"
        return self.finding


class Outliers(Check):
    """Rows that are like no other."""

    id = "outlier"
    title = "Outliers"
    why = (
        "A row that is far from all others is often a mistake: another language, a fragment, a row of another dataset."
    )
    by_meaning = True

    def finish(self) -> Finding:
        """Rows whose nearest rows are far away, compared with those of all rows."""
        index = self.parameters["meaning"]
        found = find_outliers(index)
        self.hit_many({n: f"mean cosine to its {NEIGHBOURS} nearest rows {mean:.2f}" for n, mean in found.rows})
        if found.rows:
            by_parts = "; only rows of the same part were compared" if found.by_parts else ""
            what = f"by {index.spec.model}, of {index.text.told}"
            self.finding.note = f"in the middle {found.median:.2f}, {what}{by_parts}"
        return self.finding
