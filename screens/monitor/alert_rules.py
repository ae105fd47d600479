"""Alert rules: edit them in the user's editor, and replay them over the last day."""

from __future__ import annotations

import asyncio
import time

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.shell import external_editor
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

_DRY_SECONDS = 86_400


def edit_rules(shell: Shell) -> None:
    """Change the alert rules in $EDITOR."""
    from llmops_tui.monitoring.rules import dump_rules, load_rules, save_rules, unseen

    path = shell.services.workspace.alert_rules
    head = (
        "# Rules. series may contain *; llmops monitor --once --json shows values, the chart's series have the same names.\n"
        "# above or below: the limit. clear: the value at which the alert ends. for_seconds: how long. command: no shell.\n"
    )
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else head + dump_rules(load_rules(path))
        changed = external_editor.edit_outside(shell, text, "alerts.yaml")
        if changed is None or changed == text:
            return
        rules = save_rules(path, changed)
    except (LlmopsError, OSError) as error:
        shell.report(error if isinstance(error, LlmopsError) else LlmopsError("rules_unreadable", str(error)))
        return
    shell.say(f"{counted(len(rules), 'rule')} saved and in use. d shows what they would have raised.")
    for told in unseen(rules, shell.services.recorder.history.series()):
        shell.say(safe_line(told), severity="warning")


async def dry_run(shell: Shell) -> None:
    """Show what the rules would have raised in the last day."""
    from llmops_tui.monitoring.replay import replay
    from llmops_tui.monitoring.rules import load_rules

    now = time.time()
    rules = await asyncio.to_thread(load_rules, shell.services.workspace.alert_rules)
    found = await asyncio.to_thread(replay, shell.services.recorder.history, rules, now - _DRY_SECONDS, now)
    choices = [
        Choice(str(n), time.strftime("%b %d %H:%M:%S", time.localtime(alert.raised_at)), alert.text)
        for n, alert in enumerate(found)
    ]
    title = f"{counted(len(rules), 'rule')} would have raised {counted(len(found), 'alert')} in the last day"
    await shell.ask(ChoiceDialog(title, choices, "None."))
