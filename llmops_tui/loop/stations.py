"""Where the loop stands for a name: each station with its count, its newest figure, and what does the next step.

Nothing of it is kept: all is read from what the stores say, so it cannot say anything else than they do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from llmops_tui.counts import counted
from llmops_tui.datasets.authors import authors_of
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.gates import Ruling
from llmops_tui.experiments.reports import shown
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.loop.canary import fallen_suites
from llmops_tui.loop.feedback import (
    Feedback,
    gather_fresh,
    is_held_out,
    of_subject,
    read_feedback,
    versions_of_traces,
)
from llmops_tui.loop.gate import Gate, gate_of
from llmops_tui.loop.promotion import Replacements
from llmops_tui.loop.proposal import Proposal, Wanted, propose
from llmops_tui.loop.runs import candidates_of, runs_of, served_as
from llmops_tui.monitoring.traffic_days import TrafficDays
from llmops_tui.traces.store import TraceStore
from llmops_tui.training.runs import RunStore

if TYPE_CHECKING:
    from llmops_tui.deployment.promotions import Promotions
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.inference.experiments.records import Experiment
    from llmops_tui.loop.promotion import Replacement
    from llmops_tui.loop.subject import Subject
    from llmops_tui.training.runs import Run
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog

Name = Literal[
    "feedback", "review", "privacy", "dataset", "proposal", "training", "gate", "shadow", "canary", "promotion"
]
State = Literal["empty", "to do", "at work", "done", "stopped"]


class StationRecord(TypedDict):
    """A station: how many things are there, the newest figure in words, and the command that does the next step, if any."""

    station: str
    state: str
    count: int
    told: str
    next: str


@dataclass(frozen=True)
class Station:
    """As :class:`StationRecord`."""

    station: Name
    state: State
    count: int
    told: str
    next: str = ""

    def as_dict(self) -> StationRecord:
        """For JSON."""
        return {
            "station": self.station,
            "state": self.state,
            "count": self.count,
            "told": self.told,
            "next": self.next,
        }


@dataclass(frozen=True)
class Standing:
    """Where the loop of a subject stands."""

    subject: Subject
    stations: tuple[Station, ...]
    feedback: Feedback
    proposal: Proposal
    candidate: str
    gate: Gate | None

    @property
    def step(self) -> Station | None:
        """The last station that something is to be done at: what is furthest on is to be ended first."""
        return next((one for one in reversed(self.stations) if one.state == "to do"), None)


class Loop:
    """The loop of a workspace, read anew at each look."""

    def __init__(
        self, catalog: Catalog, event_log: EventLog, evaluations: EvaluationStore, promotions: Promotions
    ) -> None:
        self.catalog = catalog
        self.event_log = event_log
        self.evaluations = evaluations
        self.promotions = promotions
        self.traces = TraceStore(catalog, event_log)
        self.runs = RunStore(catalog.workspace)
        self.experiments = ExperimentStore(event_log)

    def proposal(self, subject: Subject, wanted: Wanted | None = None, feedback: Feedback | None = None) -> Proposal:
        """Whether to train anew, with the recipe.

        Raises:
            NotFoundError: there is no such recipe. InputRefusedError: ``bad_replay``.
        """
        said = read_feedback(self.traces, subject) if feedback is None else feedback
        fallen = fallen_suites(self.evaluations, subject)
        return propose(self.runs, subject, said, TrafficDays(self.event_log), fallen, wanted or Wanted())

    def standing(self, subject: Subject, wanted: Wanted | None = None) -> Standing:
        """Where the loop of a subject stands now."""
        feedback = read_feedback(self.traces, subject)
        proposal = self.proposal(subject, wanted, feedback)
        every = self.runs.all()
        known = {model.name for model in self.evaluations.registry.all()}
        made = [served_as(run) for run in candidates_of(every, subject)]
        candidate = next((name for name in made if known.issuperset(name.split("+"))), "")
        gate = self._judged(subject, candidate) if candidate else None
        found = [one for one in self.experiments.all() if one.name == subject.name and _is_of(one, candidate)]
        shadow = self._shadow(subject, gate, candidate, _newest(found, "shadow"))
        stations = (
            _feedback(feedback),
            _review(subject, feedback),
            self._privacy(subject, feedback),
            self._dataset(subject, feedback),
            _proposal(proposal, self._kept(proposal)),
            self._training(subject, every, candidate),
            _gate(gate, subject),
            shadow,
            self._canary(subject, gate, candidate, _newest(found, "canary"), shadow),
            self._promotion(subject, gate, candidate, _newest(found, "canary")),
        )
        return Standing(subject, stations, feedback, proposal, candidate, gate)

    def _kept(self, proposal: Proposal) -> str:
        """The recipe that a proposal would be kept as, where it is kept already; else nothing."""
        if proposal.recipe is None:
            return ""
        digest = proposal.recipe.sha256
        return next((f"{name}@{number}" for name, number, one, _, _ in self.runs.recipes() if one.sha256 == digest), "")

    def _judged(self, subject: Subject, candidate: str) -> Gate:
        try:
            return gate_of(self.evaluations, subject, candidate)
        except LlmopsError as error:
            # Such as a suite of the stage's policy that was removed: told where it stands, and the other stations are seen.
            return Gate(subject, candidate, (Ruling("the gate", "fail", f"{error.message}. {error.hint}"),), (), True)

    # ── the stations that look into several stores ──

    def _privacy(self, subject: Subject, feedback: Feedback) -> Station:
        if not feedback.fresh:
            return Station("privacy", "empty", 0, "nothing fresh to look through")
        parts = gather_fresh(self.traces, subject, feedback, "messages", "redact", 0.0)
        personal = parts.learned.personal
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in personal.most_common(3))
        told = f"{kinds} would be redacted" if kinds else "no personal data was found"
        return Station(
            "privacy", "done", sum(personal.values()), f"{told}, in {counted(len(parts.learned.rows), 'fresh row')}"
        )

    def _dataset(self, subject: Subject, feedback: Feedback) -> Station:
        ours = of_subject(versions_of_traces(self.runs.datasets), feedback)
        learned = [one for one in ours if not is_held_out(one)]
        rows = sum(one.rows for one in learned)
        held = sum(one.rows for one in ours if is_held_out(one))
        told = "nothing was collected"
        if learned:
            newest = learned[-1]
            share = authors_of(newest).share
            told = (
                f"{newest.ref}: {counted(newest.rows, 'row')}, {share:.0%} written by a model; {held:,} held out in all"
            )
        name = learned[-1].dataset if learned else "feedback"
        if not feedback.fresh:
            return Station("dataset", "done" if learned else "empty", rows, told)
        fresh = f"{counted(len(feedback.fresh), 'answer')} in no version yet"
        return Station("dataset", "to do", rows, f"{told}; {fresh}", f"llmops loop collect {subject.name} {name}")

    def _training(self, subject: Subject, every: list[Run], candidate: str) -> Station:
        runs = runs_of(every, subject)
        if not runs:
            return Station("training", "empty", 0, "no run of this model")
        state = self.runs.state(runs[0])
        told = f"{runs[0].name} is {state.state}" + (f": {state.cause}" if state.cause else "")
        if candidate:
            told += f"; {candidate} is the newest candidate"
        if state.state in {"running", "queued", "starting"}:
            return Station("training", "at work", len(runs), told, f"llmops train watch {runs[0].name}")
        if runs[0].result is None:
            return Station("training", "to do", len(runs), told, f"llmops train resume {runs[0].name}")
        return Station("training", "done", len(runs), told)

    def _shadow(self, subject: Subject, gate: Gate | None, candidate: str, found: Experiment | None) -> Station:
        if found is None:
            begin = f"llmops experiment start {subject.name} --b {candidate} --kind shadow"
            if gate is None or not gate.passes:
                return Station("shadow", "empty", 0, "no candidate has passed the gate")
            return Station("shadow", "to do", 0, f"{candidate} was not asked beside {subject.model}", begin)
        try:
            verdict = shown(self.catalog, self.experiments, found)["verdict"]
        except LlmopsError as error:
            return Station("shadow", "stopped", 0, error.message)
        # What is surely worse beside it goes no further, whatever suites say.
        state: State = "done" if found.state == "stopped" or verdict["better"] else "at work"
        state = "stopped" if verdict["better"] == "a" else state
        return Station("shadow", state, verdict["pairs"], verdict["sentence"], f"llmops experiment show {found.id}")

    def _canary(
        self, subject: Subject, gate: Gate | None, candidate: str, found: Experiment | None, beside: Station
    ) -> Station:
        shadow = _newest([one for one in self.experiments.all() if one.name == subject.name], "shadow")
        if found is None:
            if gate is None or not gate.passes or shadow is None or not _is_of(shadow, candidate):
                return Station("canary", "empty", 0, "no candidate was asked as a shadow")
            if beside.state == "stopped":
                return Station("canary", "empty", 0, f"the shadow does not speak for {candidate}")
            first = f"llmops experiment stop {shadow.id} && " if shadow.state != "stopped" else ""
            begin = f"{first}llmops experiment start {subject.name} --b {candidate} --kind canary"
            return Station("canary", "to do", 0, f"{candidate} answers nobody yet", begin)
        counts = self.experiments.counts(found.id)["b"]
        told = f"{counts.failed:,} of {counted(counts.conversations, 'conversation')} failed with {candidate}"
        if found.state == "rolled back":
            return Station(
                "canary",
                "stopped",
                counts.conversations,
                f"rolled back: {found.why}",
                f"llmops experiment stop {found.id}",
            )
        state: State = "at work" if found.state == "running" else "done"
        return Station("canary", state, counts.conversations, told, f"llmops experiment show {found.id}")

    def _promotion(self, subject: Subject, gate: Gate | None, candidate: str, canary: Experiment | None) -> Station:
        moves = self.replacements().history(subject.name)
        told = f"{subject.model} answers" + (
            f" since {_moment(moves[0])}, in place of {moves[0].before or 'another'}" if moves else ""
        )
        served = (
            0
            if canary is None or canary.state == "rolled back"
            else self.experiments.counts(canary.id)["b"].conversations
        )
        if gate is not None and gate.passes and served:
            return Station("promotion", "to do", len(moves), told, f"llmops loop promote {subject.name} {candidate}")
        return Station("promotion", "done" if moves else "empty", len(moves), told)

    def replacements(self) -> Replacements:
        """What took whose place."""
        return Replacements(self.catalog, self.event_log, self.promotions)


def _feedback(said: Feedback) -> Station:
    told = f"{said.up:,} up, {said.down:,} down, {said.corrected:,} corrected, of {counted(said.requests, 'request')}"
    return Station("feedback", "done" if said.rated else "empty", said.rated, told)


def _review(subject: Subject, said: Feedback) -> Station:
    which = f"prompt:{subject.version.prompt}" if subject.version is not None else f"model:{subject.base}"
    if not said.in_queue:
        return Station("review", "done" if said.requests else "empty", 0, "the queue is empty")
    told = f"{counted(said.in_queue, 'answer')} to look at"
    return Station("review", "to do", said.in_queue, told, f"llmops traces list --filter 'is:queue {which}'")


def _proposal(proposal: Proposal, kept: str) -> Station:
    holding = [one for one in proposal.reasons if one.holds]
    told = "; ".join(one.told for one in holding or proposal.reasons[:1])
    if not proposal.proposed:
        return Station("proposal", "empty", 0, f"not yet: {told}")
    if proposal.recipe is None:
        return Station("proposal", "to do", len(holding), f"{told}; {proposal.why_none}", "llmops train new")
    if kept:
        return Station("proposal", "to do", len(holding), f"{told}; kept as {kept}", f"llmops train start {kept}")
    return Station("proposal", "to do", len(holding), told, f"llmops loop propose {proposal.subject.name} --save")


def _gate(gate: Gate | None, subject: Subject) -> Station:
    if gate is None:
        return Station("gate", "empty", 0, "no candidate")
    look = f"llmops loop gate {subject.name} {gate.candidate}"

    def told(outcome: str) -> str:
        return "; ".join(filter(None, [outcome, gate.choice]))

    if gate.passes:
        return Station(
            "gate",
            "done",
            len(gate.rulings),
            told(f"{gate.candidate} passes {counted(len(gate.rulings), 'rule')}"),
            look,
        )
    if gate.missing:
        missing = told(f"{counted(len(gate.missing), 'run')} missing")
        return Station("gate", "to do", len(gate.rulings), missing, f"{look} --evaluate")
    return Station("gate", "stopped", len(gate.rulings), told(gate.told), look)


def _is_of(experiment: Experiment, candidate: str) -> bool:
    b = experiment.settings["b"]
    return bool(candidate) and (b == candidate or b.endswith(f"+{candidate}"))


def _newest(found: list[Experiment], kind: str) -> Experiment | None:
    return next((one for one in found if one.kind == kind), None)


def _moment(move: Replacement) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(move.at))
