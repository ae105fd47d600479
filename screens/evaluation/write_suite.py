"""Write or change a suite in the user's editor, and keep it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from screens.shell import external_editor
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.suite import Suite

_TEMPLATE = """# A suite: inputs, models and metrics. llmops eval metrics lists all metrics.
description:
cases: {dataset}          # a dataset version, or a list such as [{{question: "…", expected: "…"}}]
variables:
  message: "messages[1].content"
expected: "messages[2].content"
prompt: {prompt}
parameters: {{temperature: 0, max_tokens: 128}}
metrics:
  - {{type: exact}}
rules:
  - exact not worse than baseline by > 1 point
"""


async def write_suite(shell: Shell) -> bool:
    """Write a new suite, beginning with one over the data and the prompt that are here; whether it was kept."""
    away = await asyncio.to_thread(shell.services.archive.by_kind)
    datasets = [v.dataset for v in await asyncio.to_thread(shell.services.datasets.all)]
    prompts = [p.name for p in await asyncio.to_thread(shell.services.prompts.summaries)]
    text = _TEMPLATE.format(
        dataset=next((name for name in datasets if name not in away.get("dataset", ())), "DATASET"),
        prompt=next((name for name in prompts if name not in away.get("prompt", ())), "PROMPT"),
    )
    return await _edit(shell, text, "suite.yaml", "")


async def change_suite(shell: Shell, suite: Suite) -> bool:
    """Change a suite; whether it was kept."""
    return await _edit(shell, suite.to_yaml(), f"{suite.name}.yaml", suite.name)


async def _edit(shell: Shell, text: str, file: str, name: str) -> bool:
    from llmops_tui.evaluation.suite import parse_suite

    changed = external_editor.edit_outside(shell, text, file)
    if changed is None or changed == text:
        return False
    called: str | None = name
    if not called:
        named = "\nname:" in f"\n{changed}"
        called = "suite" if named else await shell.ask(LineDialog("Name of the suite", "letters, digits and . _ -"))
    if not called:
        return False
    version = await asyncio.to_thread(shell.services.evaluation.save_suite, parse_suite(changed, called))
    undoes = " z undoes it." if await asyncio.to_thread(shell.services.undo.note_suite, version) else ""
    shell.say(f"{version.ref} is saved.{undoes}")
    return True
