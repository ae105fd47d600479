"""Whether to train anew: computed from what is there, with each figure beside what it would take; and the recipe for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.counts import counted
from llmops_tui.datasets.authors import AuthorsRecord, authors_of
from llmops_tui.datasets.records import answer_text, question_text
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.loop.canary import Fallen
from llmops_tui.loop.distinct import new_clusters
from llmops_tui.loop.feedback import Feedback, is_held_out, of_subject, versions_of_traces
from llmops_tui.loop.runs import newest_done, runs_of
from llmops_tui.training.recipe import DataSource, Recipe, check

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.loop.subject import Subject
    from llmops_tui.monitoring.traffic_days import TrafficDays
    from llmops_tui.training.runs import Run, RunStore

DISTINCT, LABELLED = 50, 20
"""From how many clusters that no training has seen, and of a drift how many rated answers, a new training is proposed."""
_HEAVIEST = 1000.0


class ReasonRecord(TypedDict):
    """One thing that may speak for training anew: what was found, what it would take, and whether it holds."""

    reason: str
    found: float
    needed: float
    holds: bool
    told: str


@dataclass(frozen=True)
class Reason:
    """As :class:`ReasonRecord`."""

    reason: str
    found: float
    needed: float
    told: str

    @property
    def holds(self) -> bool:
        """Whether it speaks for a new training."""
        return self.found >= self.needed

    def as_dict(self) -> ReasonRecord:
        """For JSON."""
        return {
            "reason": self.reason,
            "found": self.found,
            "needed": self.needed,
            "holds": self.holds,
            "told": self.told,
        }


class ProposalRecord(TypedDict):
    """As ``--json`` has it. ``new`` and ``old`` are dataset versions with their rows; ``recipe`` its fields, where there is one.

    ``replay`` is the share of old rows in an epoch; ``why_none`` says why there is no recipe.
    """

    subject: str
    model: str
    proposed: bool
    reasons: list[ReasonRecord]
    new: dict[str, int]
    old: dict[str, int]
    authors: list[AuthorsRecord]
    replay: float | None
    recipe: JsonObject | None
    why_none: str


@dataclass(frozen=True)
class Proposal:
    """What speaks for training anew, and the recipe that would do it."""

    subject: Subject
    reasons: tuple[Reason, ...]
    new: tuple[DatasetVersion, ...]
    old: tuple[tuple[DatasetVersion, float], ...]
    recipe: Recipe | None = None
    why_none: str = ""

    @property
    def proposed(self) -> bool:
        """Whether anything speaks for it, and there is something to learn."""
        return bool(self.new) and any(one.holds for one in self.reasons)

    @property
    def replay(self) -> float | None:
        """The share of an epoch's rows that are old ones."""
        if self.recipe is None:
            return None
        weights = {source.dataset: source.weight for source in self.recipe.data}
        old = sum(version.rows * weights.get(version.ref, 0.0) for version, _ in self.old)
        new = sum(version.rows * weights.get(version.ref, 0.0) for version in self.new)
        return old / (old + new) if old + new else None

    def as_dict(self) -> ProposalRecord:
        """For JSON."""
        return {
            "subject": self.subject.name,
            "model": self.subject.model,
            "proposed": self.proposed,
            "reasons": [one.as_dict() for one in self.reasons],
            "new": {one.ref: one.rows for one in self.new},
            "old": {one.ref: one.rows for one, _ in self.old},
            "authors": [authors_of(one).as_dict() for one in self.new],
            "replay": self.replay,
            "recipe": dict(self.recipe.body) if self.recipe is not None else None,
            "why_none": self.why_none,
        }


@dataclass(frozen=True)
class Wanted:
    """How a proposal is to be made.

    Attributes:
        distinct, labelled: from how many clusters and rated answers on it is one.
        recipe: the recipe to fill in; empty: the one of the newest run.
        replay: the share of old rows in an epoch where the run goes on from the last one.
        go_on: whether it goes on from the newest run, and not from the base on all data together.
    """

    distinct: int = DISTINCT
    labelled: int = LABELLED
    recipe: str = ""
    replay: float = 0.2
    go_on: bool = False


def propose(
    store: RunStore, subject: Subject, feedback: Feedback, days: TrafficDays, fallen: Sequence[Fallen], wanted: Wanted
) -> Proposal:
    """What speaks for training anew on what feedback made, and the recipe for it.

    Raises:
        NotFoundError: there is no such recipe. InputRefusedError: ``bad_replay``.
    """
    if not 0 <= wanted.replay < 1:
        raise InputRefusedError("bad_replay", f"{wanted.replay:g} is no share of replayed rows", "Give 0.05 to 0.5.")
    runs = store.all()
    seen = {ref for run in runs_of(runs, subject) if run.result is not None for ref, _ in run.data}
    ours = [one for one in of_subject(versions_of_traces(store.datasets), feedback) if not is_held_out(one)]
    new = tuple(one for one in ours if one.ref not in seen)
    last = newest_done(runs, subject)
    named = store.recipe(wanted.recipe) if wanted.recipe else None
    # Before the first training the recipe's own data is what there is of old.
    learned = last.recipe if last is not None else named
    old = _old(store, learned)
    reasons = (
        _distinct(new, [version for version, _ in old], wanted.distinct),
        _canary(fallen),
        _drifted(days, subject, feedback, new, wanted.labelled),
    )
    if not new:
        waits = (
            f"; {counted(len(feedback.fresh), 'rated answer waits', 'rated answers wait')}" if feedback.fresh else ""
        )
        why = f"nothing was collected that no training has seen{waits}: llmops loop collect"
        return Proposal(subject, reasons, new, old, None, why)
    try:
        return Proposal(subject, reasons, new, old, _recipe(named, last, old, new, wanted))
    except InputRefusedError as error:
        return Proposal(subject, reasons, new, old, None, f"{error.message}. {error.hint}".strip())


def _old(store: RunStore, learned: Recipe | None) -> tuple[tuple[DatasetVersion, float], ...]:
    """The versions that a recipe learns from, as far as they are there, with their weights."""
    found = []
    for source in learned.data if learned is not None else ():
        try:
            found.append((store.datasets.get(source.dataset), source.weight))
        except NotFoundError:
            continue  # it was removed, as where a person was forgotten: there is nothing to replay of it
    return tuple(found)


def _texts(version: DatasetVersion) -> list[str]:
    return [
        f"{question_text(version.kind, row)}\n{answer_text(version.kind, row)}"
        for batch in version.read()
        for _, row in batch
    ]


def _distinct(new: Sequence[DatasetVersion], old: Sequence[DatasetVersion], needed: int) -> Reason:
    rows = [text for version in new for text in _texts(version)]
    known = [text for version in old for text in _texts(version)] if rows else []
    found = new_clusters(known, rows)
    told = f"{counted(len(rows), 'new row')} in {counted(found, 'cluster')} that no training has seen, {needed:,} are asked for"
    return Reason("distinct", found, needed, told)


def _canary(fallen: Sequence[Fallen]) -> Reason:
    told = "; ".join(one.told for one in fallen) or "no suite that was asked again has become worse"
    return Reason("canary", len(fallen), 1, told)


def _drifted(
    days: TrafficDays, subject: Subject, feedback: Feedback, new: Sequence[DatasetVersion], needed: int
) -> Reason:
    prompt = subject.version.prompt if subject.version is not None else ""
    monitors = {"all traffic", subject.base, subject.model, f"prompt {prompt}"} & set(days.monitors())
    begins = [begin for monitor in sorted(monitors) if (begin := _since(days, monitor)) is not None]
    if not begins:
        return Reason("drift", 0, needed, "no alarm of changed traffic")
    begin = min(begins)
    traces = {trace for version in new for trace, _ in version.recipe.inputs}
    found = sum(feedback.usable.get(trace, 0.0) >= begin for trace in traces)
    told = f"traffic changed, and {counted(found, 'new row')} of the time since are rated, {needed:,} are asked for"
    return Reason("drift", found, needed, told)


def _since(days: TrafficDays, monitor: str) -> float | None:
    """When the rise began that is an alarm now, in seconds; none where there is no alarm."""
    import datetime as dt

    course = days.course(monitor)
    if not course or not course[-1].alarm:
        return None
    first = len(course) - 1
    while first > 0 and course[first - 1].statistic > 1.0:
        first -= 1
    return dt.datetime.combine(dt.date.fromisoformat(course[first].day), dt.time()).timestamp()


def _recipe(
    named: Recipe | None,
    last: Run | None,
    old: Sequence[tuple[DatasetVersion, float]],
    new: Sequence[DatasetVersion],
    wanted: Wanted,
) -> Recipe:
    """The recipe with the old data and the new."""
    pattern = named or (last.recipe if last is not None else None)
    if pattern is None:
        hint = "Name one with --recipe; llmops train new makes it."
        raise InputRefusedError("no_recipe", "no finished training of this model has a recipe to fill in", hint)
    for version, _ in [*((one, 1.0) for one in new), *old]:
        if version.kind not in pattern.facts.kinds:
            told = f"{version.ref} has {version.kind} rows, and {pattern.method} learns from {' or '.join(pattern.facts.kinds)}"
            raise InputRefusedError("bad_kind", told, "Name a recipe of another method with --recipe.")
    start, share = "", 1.0
    if wanted.go_on:
        if last is None:
            raise InputRefusedError("no_start", "there is no finished training to go on from", "Leave --go-on out.")
        start = last.name
        replayed = sum(version.rows * weight for version, weight in old)
        rows = sum(version.rows for version in new)
        share = wanted.replay / (1 - wanted.replay) * rows / replayed if replayed else 1.0
    sources = [
        DataSource(dataset=version.ref, weight=min(_HEAVIEST, max(1e-6, weight * share)))
        for version, weight in old
        if share > 0
    ]
    sources += [DataSource(dataset=version.ref) for version in new]
    return check(
        {**pattern.model_dump(), "data": [one.model_dump() for one in sources], "start": start}, "the proposal"
    )
