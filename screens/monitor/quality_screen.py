"""What changed in use, and how good answers are: traffic, behaviour, and cheap checks, each with its figures."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line, safe_text
from screens.monitor.judge_answers import judge_answers, judge_others, label_answers, look_at_probabilities
from screens.navigation import Destination, EvaluationPlace, TracePlace
from screens.shell.shell import Shell
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from llmops_tui.drift.behaviour import Behaviour
    from llmops_tui.quality.judging import JudgedRecord
    from screens.services import Services

_EMPTY = "No day of traffic was checked, no suite was asked again, and no answers are kept."
_WEEK = 7 * 86_400.0
# Answers that are judged while somebody waits, and for how long at most.
_MOST, _SECONDS = 400, 10.0
_STYLES = {
    "changed": "$error",
    "alarm": "$error",
    "same": "$success",
    "quiet": "$success",
    "check": "$accent",
    "none": "$muted",
    "damaged": "$error",
    "unread": "$warning",
}


@dataclass(frozen=True)
class Statement:
    """One line: what it is about, how it stands, in words, the command for more, and a place that shows what is behind it.

    ``runs`` of behaviour are the one that is held against and the newest; ``check`` of answers is what labels are of.
    """

    about: str
    state: str
    told: str
    command: str
    place: Destination | None = None
    runs: tuple[str, str] | None = None
    check: str = ""


class QualityScreen(Modal[Destination | None]):
    """Statements of traffic, behaviour and answers, which are never one light."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("f5,ctrl+r", "look", "Refresh"),
        Binding("k", "probabilities", "Probabilities"),
        Binding("j", "judge", "Judge"),
        Binding("l", "label", "Label"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self.statements: list[Statement] = []

    def compose(self) -> ComposeResult:
        """Title, statements, what is known of one, and keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("Drift and quality", classes="dialog-title", markup=False)
            yield OptionList(id="quality-statements", markup=False)
            yield Static("Reading …", id="quality-facts", markup=False)
            yield KeysLine(
                ("enter", "what is behind it"), ("k", "probabilities"), ("j", "judge"), ("l", "label"), ("f5", "again"),
                ("esc", "close"),
            )  # fmt: skip

    def on_mount(self) -> None:
        """Read all."""
        self.query_one(OptionList).focus()
        self.action_look()

    def action_look(self) -> None:
        """Read and judge again."""
        self.run_worker(self._read(), group="act", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        try:
            self.statements = await asyncio.to_thread(_statements, self._services)
        except LlmopsError as error:
            self.app.report(error)
            return
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(_line(one), id=str(number)) for number, one in enumerate(self.statements)])
        if self.statements:
            options.highlighted = 0
        else:
            self.query_one("#quality-facts", Static).update(Content.styled(_EMPTY, "$muted"))

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        one = self.statements[event.option_index]
        facts = Content.assemble(safe_text(one.told)[:1500], ("\nmore  ", "$muted"), safe_line(one.command, 300))
        self.query_one("#quality-facts", Static).update(facts)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        one = self.statements[event.option_index]
        if one.place is None:
            self.app.say(f"{one.about}: {safe_line(one.command, 200)} has more.")
        else:
            self.dismiss(one.place)

    @property
    def _highlighted(self) -> Statement | None:
        at = self.query_one(OptionList).highlighted
        return self.statements[at] if at is not None and at < len(self.statements) else None

    def action_probabilities(self) -> None:
        """Hold the probabilities of the answers of the line's run against those recorded."""
        one = self._highlighted
        if one is None or one.runs is None:
            self.app.say("Probabilities are those of a line of behaviour.")
        else:
            self._act(look_at_probabilities(self.app, one.runs, self._note))

    def action_judge(self) -> None:
        """On a line of behaviour judge the answers that are others; else have a judge grade answers in use."""
        one = self._highlighted
        self._act(
            judge_others(self.app, one.runs, self._note)
            if one is not None and one.runs is not None
            else judge_answers(self.app, self._note)
        )

    def action_label(self) -> None:
        """Say of answers that were drawn by chance whether they are what the line's check looks for."""
        one = self._highlighted
        if one is None or not one.check:
            self.app.say("Labels are of a line of answers.")
        else:
            self._act(label_answers(self.app, one.check))

    def _note(self, told: str) -> None:
        self.query_one("#quality-facts", Static).update(Content(safe_text(told)))

    def _act(self, work: Coroutine[Any, Any, object]) -> None:
        self.run_worker(self._acted(work), group="act", exclusive=True, exit_on_error=False)

    async def _acted(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except LlmopsError as error:
            self.app.report(error)
            return
        await self._read()

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def _line(one: Statement) -> Content:
    # What the figure of a check rests on is told below the list.
    told = one.told.removeprefix(f"{one.check} ").partition("; ")[0] if one.check else one.told
    return Content.assemble(
        (f"{safe_line(one.about, 26):27} ", "bold"), (f"{one.state:8} ", _STYLES[one.state]), safe_line(told, 200)
    )


def _statements(services: Services) -> list[Statement]:
    found: list[Statement] = []
    for about, part in (("traffic", _traffic), ("behaviour", _behaviour), ("answers", _answers)):
        try:
            found += part(services)
        except LlmopsError as error:
            found.append(_damaged(about, error))  # it says nothing of the other parts
    return found


def _damaged(about: str, error: LlmopsError) -> Statement:
    state = "damaged" if error.code.endswith("_damaged") else "unread"
    return Statement(about, state, f"{error.message}. {error.hint}", "llmops check")


def _traffic(services: Services) -> list[Statement]:
    from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD
    from llmops_tui.monitoring.traffic_days import TrafficDays

    days, found = TrafficDays(services.event_log), []
    for monitor in days.monitors():
        last = days.course(monitor)[-1]
        p = "too few to say" if last.p is None else f"p {last.p:.3f}"
        told = f"{last.day}: {p}; evidence {last.statistic:,.1f} of {USUAL_THRESHOLD:,.0f}"
        found.append(Statement(f"traffic, {monitor}", "alarm" if last.alarm else "quiet", told, "llmops drift days"))
    return found


def _behaviour(services: Services) -> list[Statement]:
    from llmops_tui.drift.behaviour import newest_behaviours

    behaviours = newest_behaviours(services.evaluation)
    found = []
    for one in behaviours.found:
        command = f"llmops drift behaviour {one.suite} --model {one.model}"
        state, place = "changed" if one.changed else "same", EvaluationPlace(one.newest)
        told, runs = f"{one.model}: {one.told}", (one.first, one.newest)
        found.append(Statement(f"behaviour, {one.suite}", state, told, command, place, runs))
        found += _closer(services, one, command, place)
    return found + [_damaged(name, error) for name, error in behaviours.damaged.items()]


def _closer(services: Services, one: Behaviour, command: str, place: Destination) -> list[Statement]:
    """What probabilities and a judge said of the newest run, where they were asked."""
    from llmops_tui.drift import judged, shift
    from llmops_tui.drift.recorded import read_found

    kept, found = read_found(services.evaluation.get(one.newest), one.first), list[Statement]()
    runs = one.first, one.newest
    if (moved := kept.get("shift")) is not None:
        state = "none" if moved["changed"] is None else "changed" if moved["changed"] else "same"
        told = f"{one.model}: {shift.told_of(moved)}"
        found.append(Statement(f"probabilities, {one.suite}", state, told, f"{command} --kl", place, runs))
    if (said := kept.get("judge")) is not None:
        state, told = "changed" if said["changed"] else "same", f"{one.model}: {judged.told_of(said)}"
        found.append(Statement(f"judge, {one.suite}", state, told, f"{command} --judge {said['judge']}", place, runs))
    return found


def _answers(services: Services) -> list[Statement]:
    from llmops_tui.quality.checks import CHECKS
    from llmops_tui.quality.estimates import look
    from llmops_tui.quality.labels import LabelStore
    from llmops_tui.quality.sampling import draw
    from llmops_tui.traces.store import TraceFilter

    now = time.time()
    sample = draw(services.catalog, TraceFilter(), now - _WEEK, now, _MOST)
    if not sample.size:
        return []
    judged = look(services.catalog, sample, CHECKS, LabelStore(services.event_log), seconds=_SECONDS)
    return (
        _judges(services)
        + [
            Statement(
                f"answers, {one.check.name}",
                "check" if one.applies else "none",
                f"{one.told}; {one.applies:,} judged of {sample.size:,}, {one.ms:.2f} ms each",
                f"llmops quality check --check {one.check.name}",
                TracePlace(one.traces[0]) if one.traces else None,
                check=one.check.name,
            )
            for one in judged.found
        ]
        + [_damaged(f"trace {trace}", error) for trace, error in judged.damaged.items()]
    )


def _judges(services: Services) -> list[Statement]:
    """What each kept judge said the last time it was asked, and what that cost."""
    from llmops_tui.jobs.store import JobState
    from llmops_tui.quality.judges import JudgeStore

    store = JudgeStore(services.event_log)
    said: dict[str, JudgedRecord] = {}
    for job in services.jobs.store.all():
        if job.kind == "quality" and job.state == JobState.DONE:
            for record in (job.result or {}).get("judges", ()):
                said.setdefault(record["check"], record)
    found = [_damaged(f"judge {name}", error) for name, error in store.damaged().items()]
    for name in (one.name for one in store.all()):
        told = said[name]["sentence"] if name in said else "not asked yet"
        traces = said[name]["traces"] if name in said else []
        place = TracePlace(traces[0]) if traces else None
        command = f"llmops quality check --check {name}"
        found.append(
            Statement(f"answers, {name}", "check" if name in said else "none", told, command, place, check=name)
        )
    return found
