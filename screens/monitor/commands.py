"""What the actions of the monitor screen do: name a spike, signal a process, change and try the rules of alerts."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.monitor import drawing
from screens.navigation import JobPlace, TracePlace
from screens.shell import outside_editor
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.hardware.processes import ProcessLoad
    from llmops_tui.monitoring.alerts import Alert
    from llmops_tui.monitoring.recorder import Moment
    from screens.monitor.groups import Group
    from screens.monitor.screen import MonitorScreen

_SIGNALS = (("TERM", "asks it to end"), ("INT", "as ctrl+c does"), ("KILL", "ends it at once; nothing is saved"))
_DRY_SECONDS = 86_400
_SENDERS = 3


def choose_group(screen: MonitorScreen, groups: list[Group]) -> None:
    """Ask which series the chart is to show."""
    choices = [Choice(group.title, group.title, ", ".join(label for _, label in group.series)) for group in groups]

    def chosen(title: str | None) -> None:
        if title is not None:
            screen.show_group(title)

    screen.app.push_screen(ChoiceDialog("Show …", choices, "Nothing is recorded yet."), chosen)


def narrow(screen: MonitorScreen) -> None:
    """Ask for words that a process must have."""

    def given(words: str | None) -> None:
        if words is not None:
            screen.show_only(words)

    screen.app.push_screen(
        LineDialog(
            "Show processes with …",
            "Words of the name, or a pid; server, run or job are ours. Empty: all.",
            screen.narrow,
        ),
        given,
    )


def inspect(screen: MonitorScreen, crossed: tuple[float, float] | None) -> None:
    """Show what ran under the crosshair."""
    if crossed is None:
        screen.app.say("← and → put a crosshair on the chart first.", severity="warning")
        return
    screen.act("inspect", _inspect, screen, crossed)


async def _inspect(screen: MonitorScreen, crossed: tuple[float, float]) -> None:
    from llmops_tui.monitoring.energy import energy_between, energy_of_job
    from llmops_tui.monitoring.what_ran import what_ran

    begin, end = crossed
    services = screen.services
    found = await asyncio.to_thread(what_ran, services.journal, begin, end, time.time())
    energy = await asyncio.to_thread(
        energy_between, services.recorder.history, services.journal, begin, end, time.time()
    )
    choices = []
    for job in found.jobs:
        whole = await asyncio.to_thread(energy_of_job, services.recorder.history, services.journal, job, time.time())
        note = f"{job.kind}, {job.state.value}" + (f", {whole.joules:,.0f} J in all" if whole is not None else "")
        choices.append(Choice(f"job {job.id}", f"{'▶' if screen.profile.utf8 else '>'} {job.title}", note))
    choices += [
        Choice(
            f"trace {timing.id}", f"{'▣' if screen.profile.utf8 else '*'} {timing.model}",
            f"{timing.total_ms:,.0f} ms, {timing.tokens} tokens{', failed' if timing.failed else ''}  {timing.id}",
        )
        for timing in found.requests
    ]  # fmt: skip
    when = time.strftime("%H:%M:%S", time.localtime(begin))
    title = f"At {when} for {end - begin:,.0f} s: {len(found.jobs)} jobs, {found.count} requests"
    if energy is not None:
        title += f", {energy.joules:,.0f} J"
        if energy.per_thousand_tokens is not None:
            title += f" ({energy.per_thousand_tokens:,.0f} J for a thousand tokens)"

    def chosen(what: str | None) -> None:
        kind, _, place = (what or "").partition(" ")
        if kind == "trace":
            screen.app.open_place(TracePlace(place))
        elif kind == "job":
            screen.app.open_place(JobPlace(place))

    screen.app.push_screen(
        ChoiceDialog(
            title,
            choices,
            "Nothing of ours ran then, as far as is known.",
        ),
        chosen,
    )


async def show_incident(screen: MonitorScreen, alert: Alert) -> None:
    """Show what was going on around an alert, on one line of time."""
    from llmops_tui.monitoring.incident import incident_of
    from llmops_tui.workspace.catalogue import Catalogue

    services = screen.services
    found = await asyncio.to_thread(
        incident_of, alert, services.recorder.history, Catalogue(services.workspace), services.journal, time.time()
    )
    begin = time.strftime("%b %d %H:%M", time.localtime(found.begin))
    end = time.strftime("%H:%M", time.localtime(found.end))
    if found.cut:
        end += " (its first hour)"
    elif alert.cleared_at is None:
        end = "now"
    asked = [
        f"{each.requests:,} requests to {each.model} ({each.who}){f', {each.failed:,} failed' if each.failed else ''}"
        for each in found.traffic[:_SENDERS]
    ]
    title = safe_line("; ".join([f"Around alert {alert.id}, from {begin} to {end}", *asked]))
    choices = [
        Choice(
            f"{entry.kind} {entry.of}", f"{time.strftime('%H:%M:%S', time.localtime(entry.at))}  {entry.kind:8} {entry.text}",
            entry.who,
        )
        for entry in found.entries
    ]  # fmt: skip

    def chosen(what: str | None) -> None:
        kind, _, place = (what or "").partition(" ")
        if kind == "request":
            screen.app.open_place(TracePlace(place))
        elif kind == "job":
            screen.app.open_place(JobPlace(place))

    screen.app.push_screen(ChoiceDialog(title, choices, "Nothing of ours is known of that time."), chosen)


def signal_process(screen: MonitorScreen) -> None:
    """Ask which signal, then whether really, then send it to that very process."""
    process = screen.process
    if process is None:
        return
    if screen.read_only:
        screen.app.say("The monitor is read-only; r allows signals again.", severity="warning")
        return
    if process.started == 0:
        screen.app.say("This process is not to be seen from here, so it cannot be signalled.", severity="warning")
        return
    choices = [Choice(name, name, note) for name, note in _SIGNALS]

    def chosen(name: str | None) -> None:
        if name is not None:
            _confirm(screen, process, name)

    screen.app.push_screen(ChoiceDialog(f"Send {safe_line(process.name)} (pid {process.pid}) …", choices), chosen)


def _confirm(screen: MonitorScreen, process: ProcessLoad, name: str) -> None:
    consequence = {
        "server": "Requests under way fail; the next one loads the model again.",
        "run": "It can go on from its last checkpoint or answer: R on its screen.",
        "job": "It can be started again on the jobs screen.",
        "app": "This is llmops itself.",
    }.get(process.role, "It is not one of ours.")

    def answered(yes: bool | None) -> None:
        if yes:
            screen.act("signal", _send, screen, process, name)

    screen.app.push_screen(
        ConfirmDialog(f"Send {name} to {safe_line(process.name)}, pid {process.pid}?", consequence), answered
    )


async def _send(screen: MonitorScreen, process: ProcessLoad, name: str) -> None:
    import psutil

    try:
        # A pid that was given to another process meanwhile is refused: the start time decides.
        now = psutil.Process(process.pid)
        if abs(now.create_time() - process.started) > 1.0:
            raise psutil.NoSuchProcess(process.pid)
        now.send_signal(getattr(signal, f"SIG{name}"))
    except psutil.NoSuchProcess:
        screen.app.say(f"pid {process.pid} has ended already.", severity="warning")
    except psutil.AccessDenied as error:
        raise LlmopsError("not_allowed", f"pid {process.pid} belongs to somebody else", "Ask its owner.") from error
    else:
        screen.app.say(f"{name} sent to {safe_line(process.name)}, pid {process.pid}.")


def edit_rules(screen: MonitorScreen) -> None:
    """Change the alert rules in $EDITOR."""
    from llmops_tui.monitoring.rules import dump_rules, load_rules, save_rules, unseen

    path = screen.services.workspace.alert_rules
    head = (
        "# Alert rules. series may hold *; llmops monitor --once --json shows values, and the chart's series are named alike.\n"
        "# above or below: the limit. clear: where it is over. for_seconds: how long. command: run without a shell.\n"
    )
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else head + dump_rules(load_rules(path))
        changed = outside_editor.edit_outside(screen.app, text, "alerts.yaml")
        if changed is None or changed == text:
            return
        rules = save_rules(path, changed)
    except (LlmopsError, OSError) as error:
        screen.app.report(error if isinstance(error, LlmopsError) else LlmopsError("rules_unreadable", str(error)))
        return
    screen.app.say(f"{len(rules)} rules are used from now on. d shows what they would have raised.")
    for told in unseen(rules, screen.services.recorder.history.series()):
        screen.app.say(safe_line(told), severity="warning")


async def dry_run(screen: MonitorScreen) -> None:
    """Show what the rules would have raised in the last day."""
    from llmops_tui.monitoring.replay import replay
    from llmops_tui.monitoring.rules import load_rules

    now = time.time()
    rules = await asyncio.to_thread(load_rules, screen.services.workspace.alert_rules)
    found = await asyncio.to_thread(replay, screen.services.recorder.history, rules, now - _DRY_SECONDS, now)
    choices = [
        Choice(str(n), time.strftime("%b %d %H:%M:%S", time.localtime(alert.raised_at)), alert.text)
        for n, alert in enumerate(found)
    ]
    title = f"{len(rules)} rules would have raised {len(found)} alerts in the last day"
    screen.app.push_screen(ChoiceDialog(title, choices, "None."))


def copies(moment: Moment) -> list[tuple[str, str]]:
    """What can be copied of a moment."""
    lines = ["".join(text for text, _ in line) for line in drawing.machine(moment, 120, utf8=True)]
    return [("machine", "\n".join(lines)), ("JSON", json.dumps(moment.as_dict(), default=str, indent=1))]
