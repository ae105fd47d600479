"""The labelled sets by which metrics are measured themselves: how often what they say of an answer is right."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from llmops_tui.evaluation.statistics.bootstrap import Interval
from llmops_tui.evaluation.statistics.intervals import wilson
from llmops_tui.foreign_text import JsonObject


class RatesRecord(TypedDict):
    """Precision and recall, each with the ends of its 95 % interval, and on how many answers."""

    precision: tuple[float, float, float]
    recall: tuple[float, float, float]
    n: int


class QualityRecord(TypedDict):
    """How well a metric finds what it looks for."""

    finds: str
    precision: float
    recall: float
    n: int
    unseen: tuple[float, float, int]
    held: RatesRecord
    last: RatesRecord
    languages: dict[str, RatesRecord]


FOLDER = Path(__file__).parent / "labelled"


@dataclass(frozen=True)
class Rates:
    """How often a metric was right.

    Attributes:
        hits: the answers that it found, and that are what is looked for.
        found: those that it found.
        sought: those that are.
        n: all.
    """

    hits: int
    found: int
    sought: int
    n: int

    @property
    def precision(self) -> Interval:
        """Of what it finds, the share that is; Wilson's interval."""
        return wilson(self.hits, self.found)

    @property
    def recall(self) -> Interval:
        """Of what is, the share that it finds; Wilson's interval."""
        return wilson(self.hits, self.sought)

    def as_dict(self) -> RatesRecord:
        """For JSON."""
        precision, recall = self.precision, self.recall
        return {
            "precision": (precision.value, precision.low, precision.high),
            "recall": (recall.value, recall.low, recall.high),
            "n": self.n,
        }

    def __str__(self) -> str:
        shares = (f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in (self.precision, self.recall))
        return "precision {} and recall {}".format(*shares) + f" on {self.n}"


@dataclass(frozen=True)
class Quality:
    """How well a metric finds what it looks for, on the half of its labelled set that nothing was chosen on.

    Attributes:
        finds: what is looked for.
        held: on the answers of that half.
        unseen: on those of them that were written when the metric was finished.
        languages: on the answers of that half by language, where the set has several.
    """

    finds: str
    held: Rates
    unseen: Rates
    languages: dict[str, Rates]

    def as_dict(self) -> QualityRecord:
        """For JSON."""
        return {
            "finds": self.finds,
            "precision": self.held.precision.value,
            "recall": self.held.recall.value,
            "n": self.held.n,
            "unseen": (self.unseen.precision.value, self.unseen.recall.value, self.unseen.n),
            "held": self.held.as_dict(),
            "last": self.unseen.as_dict(),
            "languages": {name: rates.as_dict() for name, rates in self.languages.items()},
        }

    def __str__(self) -> str:
        return f"{self.finds} with {self.held} labelled answers, {self.unseen} of them that were written last"


def labelled(name: str) -> list[JsonObject]:
    """The cases of a set.

    Each has a ``text``, a ``label`` (1 where it refuses, obeys, abuses, or is supported), the ``half`` it is in (``tune`` or
    ``held``) and what else it takes; ``later`` marks those that were written when the metric was finished.
    """
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def measured(name: str, finds: str, found: Callable[[JsonObject], bool], sought: int = 1) -> Quality:
    """How well ``found`` finds the cases of a set whose label is ``sought``, on the half that nothing was chosen on."""
    held = [(one, found(one), one["label"] == sought) for one in labelled(name) if one["half"] == "held"]
    languages = sorted({str(one["language"]) for one, *_ in held if "language" in one})
    return Quality(
        finds,
        _rates([said for _, *said in held]),
        _rates([said for one, *said in held if one.get("later")]),
        {name: _rates([said for one, *said in held if one["language"] == name]) for name in languages},
    )


def _rates(said: list[list[bool]]) -> Rates:
    return Rates(sum(a and b for a, b in said), sum(a for a, _ in said), sum(b for _, b in said), len(said))


@functools.cache
def qualities() -> dict[str, Quality]:
    """The quality of each metric that has a labelled set, by type."""
    from llmops_tui.datasets.checks.refusals import refusal
    from llmops_tui.evaluation.metrics.claims import support
    from llmops_tui.evaluation.metrics.obedience import obeyed
    from llmops_tui.evaluation.metrics.silence import abstains
    from llmops_tui.evaluation.metrics.toxicity_model import THRESHOLD, toxicity

    return {
        "refusal": measured("refusal", "refusals", lambda c: bool(refusal(c["text"]))),
        "injection": measured("injection", "obeyed instructions", lambda c: bool(obeyed(c["text"], c["asked_for"]))),
        "toxicity": measured("toxicity", "abuse", lambda c: toxicity(c["text"])[0] >= THRESHOLD),
        "grounded": measured(
            "groundedness",
            "answers with unsupported claims",
            lambda c: bool(support(c["text"], c["context"], c["question"]).unsupported),
            sought=0,
        ),
        "abstention": measured("abstention", "answers that abstain", lambda c: bool(abstains(c["text"]))),
    }
