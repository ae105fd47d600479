"""The next step at each station of the loop: done here after asking, or a place where it is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line, safe_text
from screens.navigation import Destination, RunPlace, ScreenPlace, TraceFilterPlace
from screens.widgets.dialogs import ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.experiments.beginning import NewExperiment
    from llmops_tui.loop.stations import Standing, Station
    from llmops_tui.loop.subject import Subject
    from screens.services import Services
    from screens.shell.shell import Shell


async def do_step(shell: Shell, standing: Standing, station: Station) -> Destination | None:
    """Do what is next at a station; the place where that is, if it is not here.

    Raises:
        LlmopsError: it was refused.
    """
    match station.station:
        case "review":
            return TraceFilterPlace(station.next.split("'")[1])
        case "dataset":
            await _collect(shell, standing.subject, station.next.rpartition(" ")[2])
        case "proposal":
            return await _propose(shell, standing)
        case "training":
            return RunPlace(station.next.rpartition(" ")[2])
        case "gate":
            await _gate(shell, standing)
        case "shadow" | "canary":
            await _experiment(shell, standing, station)
        case "promotion":
            await _promote(shell, standing)
        case _:
            shell.say(station.told)
    return None


async def _collect(shell: Shell, subject: Subject, usual: str) -> None:
    hint = "What was rated up or corrected becomes its next version, redacted; a fifth is held out in NAME-new."
    name = await shell.ask(LineDialog("Collect feedback in the dataset", hint, usual))
    if name:
        shell.say(await asyncio.to_thread(_collected, shell.services, subject, name))


def _collected(services: Services, subject: Subject, name: str) -> str:
    from llmops_tui.loop.collecting import DEFAULT_METRIC, keep_suite
    from llmops_tui.loop.feedback import collect

    version, held, _ = collect(services.traces, subject, name)
    services.undo.note_rows(version, *([held] if held is not None else []))
    if held is None:
        return f"{version.ref} has {counted(version.rows, 'row')}; nothing was held out."
    suite = keep_suite(services.evaluation, held, DEFAULT_METRIC)
    return (
        f"{version.ref} has {counted(version.rows, 'row')}; {counted(held.rows, 'row')} held out, asked by {suite.ref}."
    )


async def _propose(shell: Shell, standing: Standing) -> Destination | None:
    proposal = standing.proposal
    if proposal.recipe is None:
        shell.say(safe_line(proposal.why_none, 300), severity="warning")
        return ScreenPlace("training")
    services, recipe = shell.services, proposal.recipe
    lines = [one.told for one in proposal.reasons if one.holds]
    lines += [f"{source.dataset} × {source.weight:g}" for source in recipe.data]
    replay = proposal.replay
    lines.append("no old rows" if replay is None else f"{replay:.0%} of an epoch are old rows")
    told = safe_text("\n".join(lines))
    if not await shell.ask(ConfirmDialog(f"Keep the recipe {safe_line(recipe.name)} for a new training?", told)):
        return None
    number = await asyncio.to_thread(services.training.save_recipe, recipe, f"proposed for {proposal.subject.name}")
    shell.say(f"{recipe.name}@{number} is kept; its preflight and its start are on this screen.")
    return ScreenPlace("training")


async def _gate(shell: Shell, standing: Standing) -> None:
    gate = standing.gate
    if gate is None or not gate.missing:
        shell.say(safe_line(gate.told or "It passes.", 500) if gate is not None else "There is no candidate.")
        return
    told = safe_text("\n".join(gate.missing))
    if await shell.ask(ConfirmDialog(f"Make {counted(len(gate.missing), 'run')} that the gate lacks?", told)):
        made = await asyncio.to_thread(_evaluate, shell.services, standing)
        shell.say(f"{counted(made, 'run')} started; what comes of them is read here.")


def _evaluate(services: Services, standing: Standing) -> int:
    from llmops_tui.loop.gate import missing_columns

    found = missing_columns(services.evaluation, standing.subject, standing.candidate)
    return sum(len(services.evaluation.start(suite, columns)) for suite, columns in found)


async def _experiment(shell: Shell, standing: Standing, station: Station) -> None:
    from llmops_tui.experiments.beginning import NewExperiment

    if station.state != "to do":
        shell.say(safe_line(station.told, 500))
        return
    subject, candidate = standing.subject, standing.candidate
    told = (
        f"{safe_line(candidate)} is asked the same as {safe_line(subject.model)}, which answers."
        if station.station == "shadow"
        else f"{safe_line(candidate)} answers one conversation in twenty, and is stopped where too many fail."
    )
    if await shell.ask(ConfirmDialog(f"Begin a {station.station} on {safe_line(subject.name)}?", told)):
        asked = NewExperiment(name=subject.name, b=candidate, kind=station.station)  # type: ignore[arg-type]  # one of two
        shell.say(await asyncio.to_thread(_begun, shell.services, asked))


def _begun(services: Services, asked: NewExperiment) -> str:
    from llmops_tui.experiments.beginning import begin

    store = services.experiments
    for one in store.in_force():
        if one.name == asked.name and one.kind == "shadow" and asked.kind == "canary":
            store.stop(one.id, "a canary follows it")
    made = begin(services.catalog, store, asked)
    return f"{made.id} has begun on {made.name}."


async def _promote(shell: Shell, standing: Standing) -> None:
    gate = standing.gate
    if gate is None:
        return
    told = safe_text("\n".join(f"{one.outcome}: {one.rule}" for one in gate.rulings[:12]))
    question = f"Have {safe_line(gate.candidate)} answer {safe_line(gate.subject.name)}?"
    if await shell.ask(ConfirmDialog(question, f"{told}\nB takes it back.")):
        made = await asyncio.to_thread(shell.services.loop.replacements().promote, gate)
        shell.say(f"{made.after} answers, in place of {made.before}.")


async def roll_back(shell: Shell, subject: Subject) -> bool:
    """Have the model answer again that did before the one of now, after asking; whether it was done.

    Raises:
        InputRefusedError: ``no_way_back``, ``model_moved``.
    """
    question = f"Take {safe_line(subject.model)} out of {safe_line(subject.name)}?"
    if not await shell.ask(ConfirmDialog(question, "The model that was replaced answers again.")):
        return False
    made = await asyncio.to_thread(shell.services.loop.replacements().roll_back, subject)
    shell.say(f"{made.after} answers again.")
    return True
