"""Activity at a time: what ran under the crosshair, and around an alert."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from screens.navigation import JobPlace, TracePlace
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.monitoring.alerts import Alert

_SENDERS = 3


async def show_activity(shell: Shell, crossed: tuple[float, float]) -> None:
    """Show what ran under the crosshair, and go to what is chosen of it."""
    from llmops_tui.monitoring.activity import activity_between
    from llmops_tui.monitoring.energy import energy_between, energy_of_job

    begin, end = crossed
    services = shell.services
    found = await asyncio.to_thread(activity_between, services.event_log, begin, end, time.time())
    energy = await asyncio.to_thread(
        energy_between, services.recorder.history, services.event_log, begin, end, time.time()
    )
    choices = []
    for job in found.jobs:
        whole = await asyncio.to_thread(energy_of_job, services.recorder.history, services.event_log, job, time.time())
        note = f"{job.kind}, {job.state.value}" + (f", {whole.joules:,.0f} J in total" if whole is not None else "")
        choices.append(Choice(f"job {job.id}", f"{'▶' if shell.profile.utf8 else '>'} {job.title}", note))
    choices += [
        Choice(
            f"trace {timing.id}",
            f"{'▣' if shell.profile.utf8 else '*'} {timing.model}",
            f"{timing.total_ms:,.0f} ms, {counted(timing.tokens, 'token')}{', failed' if timing.failed else ''}  {timing.id}",
        )
        for timing in found.requests
    ]
    when = time.strftime("%H:%M:%S", time.localtime(begin))
    title = f"At {when} for {end - begin:,.0f} s: {counted(len(found.jobs), 'job')}, {counted(found.count, 'request')}"
    if energy is not None:
        title += f", {energy.joules:,.0f} J"
        if energy.per_thousand_tokens is not None:
            title += f" ({energy.per_thousand_tokens:,.0f} J per thousand tokens)"

    chosen = await shell.ask(ChoiceDialog(title, choices, "No recorded activity of llmops at this time."))
    _go(shell, chosen)


async def show_incident(shell: Shell, alert: Alert) -> None:
    """Show what was going on around an alert, on one line of time."""
    from llmops_tui.monitoring.incident import incident_of
    from llmops_tui.workspace.catalog import Catalog

    services = shell.services
    found = await asyncio.to_thread(
        incident_of, alert, services.recorder.history, Catalog(services.workspace), services.event_log, time.time()
    )
    begin = time.strftime("%b %d %H:%M", time.localtime(found.begin))
    end = time.strftime("%H:%M", time.localtime(found.end))
    if found.cut:
        end += " (its first hour)"
    elif alert.cleared_at is None:
        end = "now"
    asked = [
        f"{counted(each.requests, 'request')} to {each.model} ({each.who}){f', {each.failed:,} failed' if each.failed else ''}"
        for each in found.traffic[:_SENDERS]
    ]
    title = safe_line("; ".join([f"Around alert {alert.id}, from {begin} to {end}", *asked]))
    choices = [
        Choice(
            f"{entry.kind} {entry.of}",
            f"{time.strftime('%H:%M:%S', time.localtime(entry.at))}  {entry.kind:8} {entry.text}",
            entry.who,
        )
        for entry in found.entries
    ]

    _go(shell, await shell.ask(ChoiceDialog(title, choices, "No recorded activity of llmops in this time.")))


def _go(shell: Shell, chosen: str | None) -> None:
    """Go to the request or the job that was chosen, as ``KIND ID``; other things are no places."""
    kind, _, which = (chosen or "").partition(" ")
    if kind in {"trace", "request"}:
        shell.open_place(TracePlace(which))
    elif kind == "job":
        shell.open_place(JobPlace(which))
