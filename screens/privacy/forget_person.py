"""Find a person, agree by a word, and forget them as a job whose progress is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import counted
from screens.privacy.word_dialog import WordDialog
from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog

if TYPE_CHECKING:
    from llmops_tui.maintenance.erasure_records import How
    from llmops_tui.maintenance.forgetting.plan import Plan
    from llmops_tui.privacy.person import Person

ENTRY = "llmops_tui.maintenance.tasks:forget_person"
_WORD = "forget"
_HINT = (
    "Names, addresses, numbers, pseudonyms or ids of one person, with semicolons: Anna Novak; anna@x.example; id:4711"
)


async def ask_whom(shell: Shell) -> Person | None:
    """Whom to look for; none where nothing was said."""
    from llmops_tui.privacy.person import Person

    given = await shell.ask(LineDialog("Find a person", _HINT))
    return Person.read(given.split(";")) if given else None


async def find(shell: Shell, person: Person, how: How, told: Callable[[str], object]) -> Plan:
    """Search everything, also for what may mean the person, with the progress told."""
    from llmops_tui.maintenance.forgetting.plan import find_person, with_perhaps

    def tell(share: float, what: str) -> None:
        shell.call_from_thread(told, f"{share:.0%} {what}")

    try:
        workspace = shell.services.workspace
        plan = await asyncio.to_thread(lambda: find_person(workspace, person, how, tell=tell))
        return await asyncio.to_thread(lambda: with_perhaps(workspace, plan, tell=tell))
    finally:
        told("")


async def forget(shell: Shell, plan: Plan, told: Callable[[str], object]) -> str:
    """Ask for the word, and forget as a job; the id of the erasure, empty where it was left or nothing was there."""
    if plan.in_the_way:
        shell.say(f"Nothing can be erased yet: {'; '.join(plan.in_the_way)}", severity="warning", seconds=12.0)
        return ""
    if not await shell.ask(WordDialog(f"Erase {counted(plan.things, 'thing')}?", _consequence(plan), _WORD)):
        return ""
    job = await asyncio.to_thread(_start, shell, plan)
    try:
        found: dict[str, Any] = await wait_for_job(shell.services, job, told)
    finally:
        # What the app knows of commands and filters would be written back with the name in it.
        shell.services.memory.read_again()
    left = found.get("left") or []
    if left:
        shell.say(f"Still found in {', '.join(left[:3])}; see the receipt.", severity="warning", seconds=12.0)
    else:
        shell.say(f"{counted(int(found.get('things', 0)), 'thing')} erased; a search of all bytes found nothing.")
    return str(found.get("erasure") or "")


def _consequence(plan: Plan) -> list[str]:
    lines = [f"{place}: {count:,}" for place, count in plan.counts.items()]
    lines += [f"learned from it, and stays as it is: run {one['run']}" for one in plan.trained]
    lines += [f"stays: {text}" for text in plan.staying]
    return [*lines, *(f"backups: {text}" for text in plan.backups)]


def _start(shell: Shell, plan: Plan) -> Any:
    """Start the job; whom it is about stands sealed in its record."""
    from llmops_tui.maintenance.erasure_ledger import ledger_key, seal
    from llmops_tui.workspace.ids import new_id

    key = ledger_key(make=True)
    assert key is not None
    name = new_id("ask")
    arguments = {"name": name, "sealed": seal(plan.person, name, key), "how": plan.how}
    return shell.services.jobs.start(kind="forget", title="forget a person", entry=ENTRY, arguments=arguments)
