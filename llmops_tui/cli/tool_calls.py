"""Tools in ``llmops prompt run`` and ``llmops chat``: which servers, and who says yes to a call."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from llmops_tui.cli.output import Session
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.evaluation.scripted.script import Script
    from llmops_tui.inference.wire import ToolCall
    from llmops_tui.prompts.records import CallRecord
    from llmops_tui.prompts.tool_rounds import CallStep, Decision, ToolRounds, Tools

Offer: TypeAlias = "AbstractAsyncContextManager[ToolRounds | None]"
_SHOWN = 1000

Servers = Annotated[
    list[str] | None, typer.Option("--mcp", metavar="SERVER", help="Offer the tools of this server; repeatable.")
]
MockTools = Annotated[
    Path | None,
    typer.Option("--tools", metavar="FILE", help="Offer the tools of this file, with mock results as in suites."),
]
ApproveTools = Annotated[
    bool, typer.Option("--approve-tools", help="Make the calls of the model without asking; for scripts.")
]
ToolChoice = Annotated[
    str, typer.Option(metavar="auto|required|TOOL", help="What the first answer must call; the next are free.")
]


def offering(
    session: Session, names: Sequence[str], *, approve: bool, first: str = "", mock: Path | None = None
) -> Offer:
    """The tools of a run, connected while they are needed; none where no server and no file of mock tools is named.

    ``first`` is what the first answer is to call, as :attr:`.ToolRounds.first` has it.

    Raises:
        LlmopsError: ``usage``: nobody is there to approve calls, and that was not done beforehand.
    """
    if approve and not names:
        raise LlmopsError("usage", "--approve-tools needs --mcp SERVER", exit_code=ExitCode.USAGE)
    if first and not names and mock is None:
        raise LlmopsError("usage", "--tool-choice needs --mcp SERVER or --tools FILE", exit_code=ExitCode.USAGE)
    if names and not approve and not sys.stdin.isatty() and not _has_rules(session, names):
        raise LlmopsError(
            "usage",
            "--mcp: each call of a tool is asked about, and nobody is at a terminal",
            "--approve-tools makes all calls without asking; llmops tools allow makes a rule.",
            exit_code=ExitCode.USAGE,
        )
    script = None
    if mock is not None:
        from llmops_tui.evaluation.scripted.mock_toolbox import read_mock_tools

        script = read_mock_tools(mock)
    return _offered(session, names, script, approve=approve, first=first or "auto")


def _has_rules(session: Session, names: Sequence[str]) -> bool:
    from llmops_tui.mcp_client.servers import tool_server

    return any(rule.allow for name in names for rule in tool_server(session.workspace, name).followed_rules)


@asynccontextmanager
async def _offered(
    session: Session, names: Sequence[str], script: Script | None, *, approve: bool, first: str
) -> AsyncIterator[ToolRounds | None]:
    if not names and script is None:
        yield None
        return
    from llmops_tui.mcp_client.connection import ToolConnection
    from llmops_tui.mcp_client.servers import tool_server
    from llmops_tui.mcp_client.toolbox import Toolbox
    from llmops_tui.prompts.tool_rounds import Decision, Together, ToolRounds

    async def ask(step: CallStep) -> Decision:
        if approve:
            return Decision.RUN
        # Where nobody can be asked, what no rule allows is denied.
        import asyncio

        return await asyncio.to_thread(_asked, step) if sys.stdin.isatty() else Decision.DENY

    sources: list[Tools] = []
    if script is not None:
        from llmops_tui.evaluation.scripted.mock_toolbox import MockToolbox

        sources.append(MockToolbox(script))
    servers = [tool_server(session.workspace, name) for name in dict.fromkeys(names)]
    async with AsyncExitStack() as stack:
        if servers:
            toolbox = await stack.enter_async_context(Toolbox(servers, partial(ToolConnection, session.workspace)))
            for note in toolbox.notes:
                session.say(note)
            sources.append(toolbox)
        yield ToolRounds(Together(*sources), ask, first)


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


def uncalled(session: Session, calls: Sequence[ToolCall]) -> list[CallRecord]:
    """Tell of calls of tools that a prompt's version holds, which end the answer: nobody here makes them."""
    records: list[CallRecord] = []
    for call in calls:
        name, arguments = call["function"]["name"], str(call["function"]["arguments"])
        session.say(
            f"the model calls {safe_line(name)} with {safe_line(arguments, _SHOWN)}; --tools FILE has mock results"
        )
        records.append(
            {"function": name, "server": "", "tool": name, "arguments": arguments, "state": "asked", "text": ""}
        )
    return records
