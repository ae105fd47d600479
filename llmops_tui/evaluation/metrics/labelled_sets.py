"""The labelled sets by which metrics are measured themselves: how often what they say of an answer is right."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from llmops_tui.foreign_text import JsonObject


class QualityRecord(TypedDict):
    """How well a metric finds what it looks for."""

    finds: str
    precision: float
    recall: float
    n: int
    unseen: tuple[float, float, int]


FOLDER = Path(__file__).parent / "labelled"


@dataclass(frozen=True)
class Quality:
    """How well a metric finds what it looks for, on the half of its labelled set that nothing was chosen on.

    Attributes:
        finds: what is looked for.
        precision: of what it finds, the share that is.
        recall: of what is, the share that it finds.
        n: the cases of that half.
        unseen: precision, recall and cases of those that were written when the metric was finished.
    """

    finds: str
    precision: float
    recall: float
    n: int
    unseen: tuple[float, float, int]

    def as_dict(self) -> QualityRecord:
        """For JSON."""
        return {
            "finds": self.finds,
            "precision": self.precision,
            "recall": self.recall,
            "n": self.n,
            "unseen": self.unseen,
        }

    def __str__(self) -> str:
        precision, recall, n = self.unseen
        return (
            f"{self.finds} with precision {self.precision:.2f} and recall {self.recall:.2f} on {self.n} labelled answers, "
            f"{precision:.2f} and {recall:.2f} on the {n} of them that were written last"
        )


def labelled(name: str) -> list[JsonObject]:
    """The cases of a set.

    Each has a ``text``, a ``label`` (1 where it refuses, obeys, abuses, or is supported), the ``half`` it is in (``tune`` or
    ``held``) and what else it takes; ``later`` marks those that were written when the metric was finished.
    """
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def measured(name: str, finds: str, found: Callable[[JsonObject], bool], sought: int = 1) -> Quality:
    """How well ``found`` finds the cases of a set whose label is ``sought``, on the half that nothing was chosen on."""
    said = [
        (found(one), one["label"] == sought, bool(one.get("later"))) for one in labelled(name) if one["half"] == "held"
    ]
    return Quality(finds, *_rates(said), unseen=_rates([one for one in said if one[2]]))


def _rates(said: list[tuple[bool, bool, bool]]) -> tuple[float, float, int]:
    hits = sum(a and b for a, b, _ in said)
    return hits / max(1, sum(a for a, *_ in said)), hits / max(1, sum(b for _, b, _ in said)), len(said)


@functools.cache
def qualities() -> dict[str, Quality]:
    """The quality of each metric that has a labelled set, by type."""
    from llmops_tui.datasets.checks.refusals import refusal
    from llmops_tui.evaluation.metrics.claims import support
    from llmops_tui.evaluation.metrics.obedience import obeyed
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
    }
