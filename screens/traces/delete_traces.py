"""Delete traces with what was said of them, after showing what else has their texts."""

from __future__ import annotations

import asyncio

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.danger_dialog import DangerDialog

# Lines of what else has a trace's texts that are shown before it is deleted.
_SHOWN = 8


async def delete_traces(shell: Shell, traces: list[str]) -> bool:
    """Show what goes and what stays, ask, then delete them from every file; whether that was wanted."""
    from llmops_tui.maintenance.trace_removal import plan_trace_removal, remove_traces
    from llmops_tui.traces.store import TraceFilter

    workspace = shell.services.workspace
    told = ["With the feedback, from every file of the workspace."]
    files, staying = dict[str, None](), dict[str, None]()
    for trace in traces:
        planned = await asyncio.to_thread(plan_trace_removal, workspace, TraceFilter(), trace)
        files |= dict.fromkeys(planned.files)
        staying |= dict.fromkeys(planned.staying)
    told += [f"Also deleted: {safe_line(name)}" for name in files]
    told += [f"Still has the text: {safe_line(one)}" for one in staying]
    if len(told) > _SHOWN:
        told[_SHOWN:] = [f"and {len(told) - _SHOWN} more: llmops traces remove {traces[0]}"]
    name = safe_line(traces[0]) if len(traces) == 1 else counted(len(traces), "trace")
    if not await shell.ask(DangerDialog(f"Delete {name}?", "\n".join(told))):
        return False
    still = dict[str, None]()
    for trace in traces:
        done = await asyncio.to_thread(remove_traces, workspace, TraceFilter(), trace)
        still |= dict.fromkeys(done.staying)
    rest = (
        f" {counted(len(still), 'place still has', 'places still have')} texts of them: {safe_line(next(iter(still)))}"
        if still
        else ""
    )
    shell.say(f"{name} {'is' if len(traces) == 1 else 'are'} deleted.{rest}")
    return True
