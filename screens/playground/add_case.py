"""Save a request and its answer from the playground as a case of a suite."""

from __future__ import annotations

import asyncio
from typing import Any

from llmops_tui.counts import counted
from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

_NEW = "+"


async def add_case(shell: Shell, state: PlaygroundState, answer: str) -> None:
    """Ask into which suite, and what the right answer is; add the case."""
    prompt = state.prompt
    if prompt is None:
        shell.say("Open a prompt first.", severity="warning")
        return
    suites = shell.services.evaluation
    found = await asyncio.to_thread(suites.suites)
    names = list(dict.fromkeys(v.suite.name for v in found if not isinstance(v.suite.cases, str)))
    choices = [
        *(Choice(name, name, "", "suite") for name in names),
        Choice(_NEW, "a new suite", "with its cases in the suite file"),
    ]
    name = await shell.ask(ChoiceDialog("Save as a case of …", choices))
    if name == _NEW:
        name = await shell.ask(LineDialog("Name of the suite", "letters, digits and . _ -", f"{prompt}-cases"))
    if not name:
        return
    hint = "the expected answer"
    expected = await shell.ask(LineDialog("The right answer", hint, answer.strip()))
    if expected is None:
        return
    variables: dict[str, Any] = dict(state.values(state.draft.answer_settings))
    version = await asyncio.to_thread(suites.add_case, name, prompt, variables, expected)
    undoes = " z undoes it." if await asyncio.to_thread(shell.services.undo.note_suite, version) else ""
    shell.say(f"{version.ref} has {counted(len(version.suite.cases), 'case')}.{undoes}")
