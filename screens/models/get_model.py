"""Download a model: request, preview, confirmation, and the job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.models.known_models import KNOWN
from screens.models.facts import size_text
from screens.models.job_end import Begun
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.inference.fit import Room
    from llmops_tui.models.fetch import Choices, Plan
    from llmops_tui.models.hub import Offer

_OFFERED = next(iter(KNOWN.values()))
_HINT = (
    f"{_OFFERED.name} ({size_text(_OFFERED.file.wheel_size)}, {_OFFERED.licence}); or hf:OWNER/NAME, with :TYPE such as "
    ":Q4_K_M appended; or the URL of a GGUF file. To choose the name, append a space and the name. "
    "A preview is shown first."
)


async def get_model(shell: Shell) -> Begun | None:
    """Ask for a known name, a repository or an address; the known one stands there already. The job that fetches."""
    text = await shell.ask(LineDialog("Download a model", _HINT, _OFFERED.name))
    if not text:
        return None
    what, _, name = text.partition(" ")
    return await _get(shell, what, name.strip())


async def get_named(shell: Shell, what: str) -> Begun | None:
    """Ask whether a model is to be fetched, by what :func:`get_model` takes; the job that fetches."""
    return await _get(shell, what, "")


async def _get(shell: Shell, what: str, name: str) -> Begun | None:
    from llmops_tui.inference.fit import room
    from llmops_tui.models.fetch import (
        ENTRY,
        KIND,
        Plan,
        already,
        check_disk,
        job_arguments,
        parse,
        resolve_source,
        running_job,
    )

    request = parse(what)
    free = await asyncio.to_thread(room)
    found = await asyncio.to_thread(resolve_source, request, name or None)
    if isinstance(found, Plan):
        plan = found
    else:
        offer = await _choose(shell, found, free)
        if offer is None:
            return None
        plan = found.plan(offer)
    running = await asyncio.to_thread(running_job, shell.services.jobs.store, plan)
    if running is not None:
        return Begun(running, f"{plan.name} is registered.")
    here = await asyncio.to_thread(already, shell.services.models, plan)
    if here is not None:
        shell.say(f"{plan.name} is already downloaded.")
        return None
    await asyncio.to_thread(check_disk, shell.services.workspace, plan)
    if plan.size and not await shell.ask(ConfirmDialog(*_question(plan, free))):
        return None
    arguments = await asyncio.to_thread(job_arguments, shell.services.workspace, plan)
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind=KIND, title=f"get {plan.name}", entry=ENTRY, arguments=arguments)
    )
    return Begun(job, f"{plan.name} is registered.")


async def _choose(shell: Shell, found: Choices, free: Room) -> Offer | None:
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
    title = f"{repository.name}, {repository.licence or 'no licence given'}"
    if repository.left_out:
        title += f"; left out: {', '.join(repository.left_out)}"
    chosen = await shell.ask(ChoiceDialog(title, choices))
    return offers[int(chosen)] if chosen is not None else None


def _question(plan: Plan, free: Room) -> tuple[str, str]:
    licence = plan.origin.get("license") or "no licence given"
    vouched = (
        "Its SHA-256 is compared with the known one." if plan.vouched else "There is no known checksum for the file."
    )
    place = plan.origin.get("origin") or plan.origin["source"]
    facts = f"From {place}, {licence}. Weights alone: {free.verdict(plan.size)} ({free.text()}). {vouched}"
    return f"Download {size_text(plan.size)} as {plan.name}?", facts
