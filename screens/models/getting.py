"""Getting a model on the models screen: what is asked for, what it would be, a yes, and the job that brings it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.models.known import KNOWN
from screens.models.facts import size_text
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.inference.fit import Room
    from llmops_tui.models.getting import Choices, Plan
    from llmops_tui.models.hub import Offer
    from screens.models.screen import ModelsScreen

_OFFERED = next(iter(KNOWN.values()))
_HINT = (
    f"{_OFFERED.name} ({size_text(_OFFERED.file.wheel_size)}, {_OFFERED.licence}); or hf:OWNER/NAME, with :TYPE such as "
    ":Q4_K_M behind it; or the address of a GGUF file. A blank and a name behind it is its name here. "
    "What would be fetched is shown first."
)


def ask_what_to_get(screen: ModelsScreen) -> None:
    """Ask for a known name, a repository or an address; the known one stands there already."""

    def answered(text: str | None) -> None:
        if text:
            what, _, name = text.partition(" ")
            screen.act("get", _get, screen, what, name.strip())

    screen.app.push_screen(LineDialog("Get a model from the network", _HINT, _OFFERED.name), answered)


async def _get(screen: ModelsScreen, what: str, name: str) -> None:
    from llmops_tui.inference.fit import room
    from llmops_tui.models.getting import (
        ENTRY,
        KIND,
        Plan,
        already,
        check_disk,
        job_arguments,
        look_up,
        parse,
        running_job,
    )  # fmt: skip

    request = parse(what)
    free = await asyncio.to_thread(room)
    found = await asyncio.to_thread(look_up, request, name or None)
    if isinstance(found, Plan):
        plan = found
    else:
        offer = await _choose(screen, found, free)
        if offer is None:
            return
        plan = found.plan(offer)
    running = await asyncio.to_thread(running_job, screen.services.jobs.store, plan)
    if running is not None:
        await screen.follow(running, f"{plan.name} is registered.")
        return
    here = await asyncio.to_thread(already, screen.services.models, plan)
    if here is not None:
        screen.app.say(f"{plan.name} is here already.")
        return
    await asyncio.to_thread(check_disk, screen.services.workspace, plan)
    if plan.size and not await screen.app.push_screen_wait(ConfirmDialog(*_question(plan, free))):
        return
    arguments = await asyncio.to_thread(job_arguments, screen.services.workspace, plan)
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(kind=KIND, title=f"get {plan.name}", entry=ENTRY, arguments=arguments)
    )
    await screen.follow(job, f"{plan.name} is registered.")


async def _choose(screen: ModelsScreen, found: Choices, free: Room) -> Offer | None:
    """Which of several; the usual one stands first, and what is no model is named below."""
    from llmops_tui.models.hub import sensible

    if len(found.offers) == 1:
        return found.offers[0]
    repository, usual = found.repository, sensible(found.offers, free.fits)
    offers = sorted(found.offers, key=lambda offer: (offer != usual, offer.size))
    choices = [
        Choice(str(n), offer.path, f"{size_text(offer.size)}, weights alone: {free.verdict(offer.size)}")
        for n, offer in enumerate(offers)
    ]
    title = f"{repository.name}, {repository.licence or 'no licence named'}"
    if repository.left_out:
        title += f"; left out: {', '.join(repository.left_out)}"
    chosen = await screen.app.push_screen_wait(ChoiceDialog(title, choices))
    return offers[int(chosen)] if chosen is not None else None


def _question(plan: Plan, free: Room) -> tuple[str, str]:
    licence = plan.origin.get("license") or "no licence named"
    vouched = (
        "Its SHA-256 is held to what is known." if plan.vouched else "Nothing vouches for the file but its address."
    )
    place = plan.origin.get("origin") or plan.origin["source"]
    facts = f"From {place}, {licence}. Weights alone: {free.verdict(plan.size)} ({free.text()}). {vouched}"
    return f"Fetch {size_text(plan.size)} as {plan.name}?", facts
