"""Send a signal to a process, after a choice and a confirmation."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog

if TYPE_CHECKING:
    from llmops_tui.hardware.processes import ProcessLoad

_SIGNALS = (
    ("TERM", "requests a clean exit"),
    ("INT", "as ctrl+c does"),
    ("KILL", "kills it at once; nothing is saved"),
)
_CONSEQUENCES = {
    "server": "Running requests fail; the next request loads the model again.",
    "run": "R on its screen resumes it, from its last checkpoint or answer where it has one.",
    "job": "It can be resumed on the jobs screen.",
    "app": "This is llmops itself.",
}


async def signal_process(shell: Shell, process: ProcessLoad) -> None:
    """Ask which signal, then whether really, then send it to that very process."""
    choices = [Choice(name, name, note) for name, note in _SIGNALS]
    name = await shell.ask(ChoiceDialog(f"Send {safe_line(process.name)} (pid {process.pid}) …", choices))
    if name is None:
        return
    question = f"Send {name} to {safe_line(process.name)}, pid {process.pid}?"
    dialog = DangerDialog if name == "KILL" else ConfirmDialog
    if await shell.ask(dialog(question, _CONSEQUENCES.get(process.role, "It is not a process of llmops."))):
        await _send(shell, process, name)


async def _send(shell: Shell, process: ProcessLoad, name: str) -> None:
    import psutil

    try:
        # A pid that was given to another process meanwhile is refused: the start time decides.
        now = psutil.Process(process.pid)
        if abs(now.create_time() - process.started) > 1.0:
            raise psutil.NoSuchProcess(process.pid)
        now.send_signal(getattr(signal, f"SIG{name}"))
    except psutil.NoSuchProcess:
        shell.say(f"pid {process.pid} has ended already.", severity="warning")
    except psutil.AccessDenied as error:
        raise LlmopsError("not_allowed", f"pid {process.pid} belongs to another user", "Ask its owner.") from error
    else:
        shell.say(f"{name} sent to {safe_line(process.name)}, pid {process.pid}.")
