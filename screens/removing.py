"""Removing a run or a job from a screen: what goes and what depends on it is shown first, and asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from llmops_tui.safe_text import safe_line
from screens.base import BaseScreen
from screens.widgets.dialogs import ConfirmDialog

if TYPE_CHECKING:
    from llmops_tui.keeping.removal_of_work import Work, WorkRemoval

_SHOWN = 4


def offer_removal(screen: BaseScreen, kind: str, name: str, then: Callable[[], Awaitable[None]]) -> None:
    """Say what would go, ask, remove it, and do ``then``; what is at work is not removed but named."""
    screen.act("removal", _offer, screen, kind, name, then)


async def _offer(screen: BaseScreen, kind: str, name: str, then: Callable[[], Awaitable[None]]) -> None:
    from llmops_tui.keeping.removal_of_work import Work, plan_work_removal

    work = Work(kind)
    planned = await asyncio.to_thread(plan_work_removal, screen.services.workspace, work, name)
    if planned.in_the_way:
        screen.app.say(f"{safe_line(name)} stays: {safe_line('; '.join(planned.in_the_way))}", severity="warning")
        return

    def answered(yes: bool | None) -> None:
        if yes:
            screen.act("removal", _remove, screen, work, planned, then)

    screen.app.push_screen(ConfirmDialog(f"Delete {kind} {safe_line(planned.name)}?", consequence(planned)), answered)


def consequence(planned: WorkRemoval) -> str:
    """What goes and what depends on it, in lines."""
    lines = [f"{planned.size / 1e6:,.1f} MB are deleted; this cannot be undone."]
    lines += [safe_line(str(path)) for path in planned.paths[:_SHOWN]]
    lines += [f"Depends on it: {safe_line(use)}" for use in planned.uses[:_SHOWN]]
    if len(planned.uses) > _SHOWN:
        lines.append(f"and {len(planned.uses) - _SHOWN} more depend on it")
    return "\n".join(lines)


async def _remove(screen: BaseScreen, kind: Work, planned: WorkRemoval, then: Callable[[], Awaitable[None]]) -> None:
    from llmops_tui.keeping.removal_of_work import remove_work

    # Only what was shown is agreed to: what came to depend on it meanwhile is told instead.
    done = await asyncio.to_thread(remove_work, screen.services.workspace, kind, planned.name, force=bool(planned.uses))
    screen.app.say(f"{safe_line(done.name)} is deleted, {done.size / 1e6:,.1f} MB freed.")
    await then()
