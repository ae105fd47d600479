"""What each dataset of a recipe comes to in training: rows, tokens and epochs, as the examples were really made.

:func:`llmops_tui.training.examples.build` counts here while it makes the examples that are trained on; nothing is worked out
a second time from weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random

from llmops_tui.counts import counted
from llmops_tui.datasets.overlap import asked_texts, compare_texts
from llmops_tui.datasets.reports import OverlapRecord
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.training.example import Example, length_of
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import DataFacts, MixtureRecord
from llmops_tui.training.reinforcement import prompts_per_step

# As many rows are compared as for held-out rows: ten seconds of a processor.
_MOST_COMPARED = 50_000
_MOST_CHARACTERS = 50_000_000


@dataclass
class SourceShare:
    """One dataset of the mixture.

    Attributes:
        rows: all that were read, ``held_out`` of them for evaluation, ``empty`` without anything to learn.
        used: rows that are trained on at least once an epoch; by a weight below 1 some are not.
        uses: how often its rows stand in an epoch; ``examples`` they make, of ``tokens`` in all.
    """

    version: str
    weight: float
    rows: int = 0
    held_out: int = 0
    empty: int = 0
    used: int = 0
    uses: int = 0
    examples: int = 0
    tokens: int = 0

    def take(self, examples: Sequence[Example], times: int) -> None:
        """Count a row that stands in each epoch so many times."""
        self.rows += 1
        if not examples:
            self.empty += 1
            return
        self.used += times > 0
        self.uses += times
        self.examples += times * len(examples)
        self.tokens += times * sum(map(length_of, examples))

    def hold_out(self) -> None:
        """Count a row that is not trained on."""
        self.rows += 1
        self.held_out += 1


def repeats(sizes: Sequence[int], weights: Sequence[float], temperature: float) -> list[float]:
    """How many times the rows of each dataset are used, on average, in one epoch.

    A dataset's share is its size times its weight, to the power of 1/temperature (Devlin et al., multilingual BERT, 2018;
    Raffel et al., "Exploring the Limits of Transfer Learning", 2020). The epoch stays as long as without: at a temperature of
    1 each is used as often as its weight says. A dataset without rows is not used.
    """
    wanted = [size * weight for size, weight in zip(sizes, weights, strict=True)]
    # Beside the largest, so that no power is too large a number.
    largest = max(wanted, default=0) or 1
    flattened = [(each / largest) ** (1 / temperature) if each else 0.0 for each in wanted]
    total, whole = sum(wanted), sum(flattened) or 1
    if temperature == 1:
        return list(weights)
    return [total * share / whole / size if size else 0.0 for share, size in zip(flattened, sizes, strict=True)]


def times(repeat: float, chance: Random) -> int:
    """How often one row is used: the whole part of so many times, and once more by chance for the rest."""
    return int(repeat) + (chance.random() < repeat % 1)


def passes_of(recipe: Recipe, examples: int) -> float:
    """How often a run sees each of its examples: its epochs, or fewer where ``max_steps`` ends it before."""
    rows: float = recipe.effective_batch
    if recipe.facts.examples == "prompts":
        # Each has several answers in a step, and several steps on them.
        rows = prompts_per_step(recipe.reinforcement, recipe.effective_batch) / recipe.reinforcement.iterations
    return min(recipe.epochs, recipe.steps(examples) * rows / examples)


def mixture_of(sources: Sequence[SourceShare], passes: float) -> list[MixtureRecord]:
    """The shares of each source of all that is trained on; ``passes`` are the epochs that the run makes over all of it."""
    rows, tokens = sum(s.uses for s in sources) or 1, sum(s.tokens for s in sources) or 1
    return [
        {
            "version": source.version,
            "weight": source.weight,
            "rows": source.rows,
            "held_out": source.held_out,
            "without_target": source.empty,
            "used": source.used,
            "rows_an_epoch": source.uses,
            "examples_an_epoch": source.examples,
            "tokens_an_epoch": source.tokens,
            "share_of_rows": source.uses / rows,
            "share_of_tokens": source.tokens / tokens,
            "epochs": passes * source.uses / max(1, source.rows - source.held_out - source.empty),
        }
        for source in sources
    ]


def overlaps_of(versions: Sequence[DatasetVersion]) -> list[OverlapRecord] | None:
    """How many rows of each dataset ask what rows of another ask; none where there is too much to compare."""
    if len(versions) < 2:
        return []
    if sum(version.rows for version in versions) > _MOST_COMPARED:
        return None
    texts = [(version.ref, asked_texts(version)) for version in versions]
    if sum(len(text) for _, some in texts for text in some) > _MOST_CHARACTERS:
        return None
    return [compare_texts(left, right).as_dict() for left, right in combinations(texts, 2)]


def mixture_findings(overlaps: list[OverlapRecord] | None) -> list[Finding]:
    """What is to be said where datasets of a mixture have rows in common."""
    if overlaps is None:
        told = "the overlap between the datasets was not looked for: there is too much data"
        return [Finding("info", "overlap_unknown", told, "llmops data check NAME --against OTHER compares two.")]
    return [
        Finding(
            "warn",
            "mixture_overlap",
            f"{counted(found['rows'], 'row')} of {found['left']} {'asks' if found['rows'] == 1 else 'ask'} what rows of "
            f"{found['right']} ask: {found['exact']:,} exactly, {found['ngram']:,} by 13 words, {found['near']:,} nearly",
            f"They are learned from more often than the weights say; llmops data dedup {found['left']} --against "
            f"{found['right']} removes them.",
        )
        for found in overlaps
        if found["rows"]
    ]


def mixture_lines(data: DataFacts) -> list[str]:
    """The mixture as lines of a table, where a recipe has several datasets or a weight other than 1."""
    # Plans of earlier versions have none.
    sources = data.get("mixture", [])
    if len(sources) < 2 and all(source["weight"] == 1 for source in sources):
        return []
    width = max(len(source["version"]) for source in sources)
    return [
        f"{source['version']:<{width}}  × {source['weight']:g}: {source['share_of_rows']:.1%} of the rows, "
        f"{source['share_of_tokens']:.1%} of the tokens; {source['epochs']:.2f} epochs of "
        f"{counted(_usable(source), 'row')}"
        + (f", {source['used']:,} of them used" if source["used"] < _usable(source) else "")
        for source in sources
    ]


def _usable(source: MixtureRecord) -> int:
    return source["rows"] - source["held_out"] - source["without_target"]
