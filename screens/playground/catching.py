"""Keep what was asked and answered in the playground as a case of a suite."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from screens.playground.judging import JudgingScreen

_NEW = "+"


def catch(screen: JudgingScreen) -> None:
    """Ask into which suite, and what the right answer is."""
    screen.act("dialog", _choose, screen)


async def _choose(screen: JudgingScreen) -> None:
    from screens.widgets.stream_view import StreamView

    if screen.state.prompt is None:
        screen.app.say("Open a prompt first.", severity="warning")
        return
    answer = screen.query_one("#answer", StreamView).text
    found = await asyncio.to_thread(screen.services.evaluation.suites)
    names = list(dict.fromkeys(v.suite.name for v in found if not isinstance(v.suite.cases, str)))
    choices = [*(Choice(name, name, "") for name in names), Choice(_NEW, "a new suite", "its cases are written here")]

    def ask_expected(name: str) -> None:
        def answered(expected: str | None) -> None:
            if expected is not None:
                screen.act("catch", _keep, screen, name, expected)

        screen.app.push_screen(
            LineDialog("The right answer", "what the answer is held against", answer.strip()), answered
        )

    def chosen(name: str | None) -> None:
        if name == _NEW:
            dialog = LineDialog("Name of the suite", "letters, digits and . _ -", f"{screen.state.prompt}-cases")
            screen.app.push_screen(dialog, lambda given: ask_expected(given) if given else None)
        elif name is not None:
            ask_expected(name)

    screen.app.push_screen(ChoiceDialog("Keep as a case of …", choices), chosen)


async def _keep(screen: JudgingScreen, name: str, expected: str) -> None:
    variables: dict[str, Any] = dict(screen.state.draft.variables)
    prompt = str(screen.state.prompt)
    version = await asyncio.to_thread(screen.services.evaluation.add_case, name, prompt, variables, expected)
    screen.app.say(f"{version.ref} has {len(version.suite.cases):,} cases.")
