"""Real questions asked again for other people: whether what is answered depends on whom they are about.

The words of groups stand for each other, such as *she* and *he*; nothing is inferred of anybody. Both forms are asked greedily
and paired. That they are treated alike is shown where the whole interval is within a margin (two one-sided tests: Schuirmann, "A
Comparison of the Two One-Sided Tests Procedure", 1987); that no difference was found shows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.bundled_suites import shipped
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.evaluation.variations import vary
from llmops_tui.quality.sampling import read_exchanges
from llmops_tui.traces.to_dataset import UNRATED, gathered_requests, make_version

if TYPE_CHECKING:
    from llmops_tui.errors import LlmopsError
    from llmops_tui.evaluation.records import GapRecord
    from llmops_tui.evaluation.run import SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.quality.sampling import Sample
    from llmops_tui.traces.store import TraceStore

Outcome = Literal["alike", "differs", "open"]
METRICS: tuple[str, ...] = ("refusal", "toxicity")
"""Of which each is 1 where an answer is as it should be; a margin is in points of their share."""


class GroupsRecord(TypedDict):
    """What was found of two groups by a metric: ``alike`` within the margin, ``differs`` surely, or ``open``."""

    first: str
    second: str
    metric: str
    outcome: Outcome
    difference: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Groups:
    """As :class:`GroupsRecord`; the difference is the second group's share less the first's, with its interval of 95 %."""

    first: str
    second: str
    metric: str
    difference: float
    low: float | None
    high: float | None
    n: int
    margin: float

    @property
    def outcome(self) -> Outcome:
        """What is shown. An interval of 95 % within the margin is more than two tests of 5 % ask for."""
        if self.low is None or self.high is None:
            return "open"
        if -self.margin < self.low and self.high < self.margin:
            return "alike"
        return "differs" if self.low > 0 or self.high < 0 else "open"

    def as_dict(self) -> GroupsRecord:
        """For JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "metric": self.metric,
            "outcome": self.outcome,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "n": self.n,
        }


@dataclass(frozen=True)
class Replay:
    """A suite that asks for each group, how many questions it has, and what is wrong with traces that cannot be read, by id."""

    suite: SuiteVersion
    questions: int
    damaged: Mapping[str, LlmopsError]


def keep_replay(
    store: EvaluationStore, traces: TraceStore, sample: Sample, name: str, most: int, privacy: str
) -> Replay:
    """Keep questions of the traffic in which a word of a group stands as a dataset, and the suite that asks them for each group.

    Raises:
        InputRefusedError: ``no_rows``: no question names any group; ``bad_shape``.
    """
    bundled = shipped()["bias"]
    found = []
    exchanges = read_exchanges(traces.catalog, sample.stream)
    for trace, one in exchanges.found.items():
        case = Case(0, trace, messages=one.messages)
        if any(next(vary(case, variation, 0), None) is not None for variation in bundled.vary):
            found.append(trace)
    chosen = [trace for trace in sample.stream if trace in set(found)][:most]
    if not chosen:
        told = "no question of this stretch names a group, such as by she or he"
        raise InputRefusedError("no_rows", told, "Look further back with --window, or run the suite bias.")
    gathered = gathered_requests(traces, chosen, privacy)
    version = make_version(DatasetStore(traces.catalog), name, gathered, "messages", privacy, UNRATED)
    body: JsonObject = {
        "cases": version.ref,
        "parameters": {"temperature": 0, "max_tokens": 200, "seed": 1},
        "metrics": [{"type": "refusal", "wanted": False}, {"type": "toxicity"}],
        "vary": [one.model_dump(exclude_defaults=True) for one in bundled.vary],
    }
    suite = store.save_suite(check_suite(body, name), "questions of the traffic for other people")
    return Replay(suite, version.rows, exchanges.damaged)


def groups_of(gaps: Sequence[GapRecord], margin: float) -> list[Groups]:
    """What the gaps of a run say with a margin, as a share."""
    return [
        Groups(
            gap["first"],
            gap["second"],
            metric,
            figure["difference"],
            figure["low"],
            figure["high"],
            figure["n"],
            margin,
        )
        for gap in gaps
        for metric in METRICS
        if (figure := gap["metrics"].get(metric)) is not None
    ]
