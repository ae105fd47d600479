"""Tools in ``llmops prompt run``: which servers, and who says yes to a call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from llmops_tui.cli.output import Session
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.prompts.records import CallRecord
    from llmops_tui.prompts.tool_rounds import CallStep, Decision, ToolRounds

    Offer = AbstractAsyncContextManager[ToolRounds | None]

_SHOWN = 1000


def offering(session: Session, names: Sequence[str], *, approve: bool, first: str = "") -> Offer:
    """The tools of a run, connected while they are needed; none where no server is named.

    ``first`` is what the first answer is to call, as :attr:`.ToolRounds.first` has it.

    Raises:
        LlmopsError: ``usage``: nobody is there to approve calls, and that was not done beforehand.
    """
    if approve and not names:
        raise LlmopsError("usage", "--approve-tools needs --mcp SERVER", exit_code=ExitCode.USAGE)
    if first and not names:
        raise LlmopsError("usage", "--tool-choice needs --mcp SERVER", exit_code=ExitCode.USAGE)
    if names and not approve and not sys.stdin.isatty():
        raise LlmopsError(
            "usage",
            "--mcp: each call of a tool is asked about, and nobody is at a terminal",
            "--approve-tools makes all calls without asking.",
            exit_code=ExitCode.USAGE,
        )
    return _offered(session, names, approve=approve, first=first or "auto")


@asynccontextmanager
async def _offered(
    session: Session, names: Sequence[str], *, approve: bool, first: str
) -> AsyncIterator[ToolRounds | None]:
    if not names:
        yield None
        return
    from llmops_tui.mcp_client.connection import ToolConnection
    from llmops_tui.mcp_client.servers import tool_server
    from llmops_tui.mcp_client.toolbox import Toolbox
    from llmops_tui.prompts.tool_rounds import Decision, ToolRounds

    async def ask(step: CallStep) -> Decision:
        return Decision.RUN if approve else await asyncio.to_thread(_asked, step)

    servers = [tool_server(session.workspace, name) for name in dict.fromkeys(names)]
    async with Toolbox(servers, partial(ToolConnection, session.workspace)) as toolbox:
        for note in toolbox.notes:
            session.say(note)
        yield ToolRounds(toolbox, ask, first)


def _asked(step: CallStep) -> Decision:
    """What the person at the terminal says; what is no yes is a no."""
    from llmops_tui.prompts.tool_rounds import Decision

    arguments = safe_line(step.arguments, _SHOWN)
    sys.stderr.write(
        f"\nThe model calls {safe_line(step.tool)} of {step.server} with {arguments}\n"
        "Allow it? y once, a for this tool in this run, else no: "
    )
    sys.stderr.flush()
    said = sys.stdin.readline().strip().lower()
    return {"y": Decision.ONCE, "yes": Decision.ONCE, "a": Decision.RUN}.get(said, Decision.DENY)


def called(session: Session, step: CallStep) -> list[CallRecord]:
    """Tell of a call what is new; its record once it has ended."""
    if step.state == "runs":
        session.say(f"calling {step.tool} of {step.server}: {safe_line(step.arguments, _SHOWN)}")
    if step.state in {"waits", "runs"}:
        return []
    session.say(f"{step.function} {step.state}: {safe_line(step.text, _SHOWN)}")
    return [
        {
            "function": step.function,
            "server": step.server,
            "tool": step.tool,
            "arguments": step.arguments,
            "state": step.state,
            "text": step.text,
        }
    ]
