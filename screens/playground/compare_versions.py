"""Compare a version, or the draft, with another: likely choices first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from screens.playground.change_words import notes_of
from screens.playground.diff_screen import DiffScreen
from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.inference.answer_settings import AnswerSettings
    from llmops_tui.prompts.store import PromptVersion

_DRAFT = "draft"
_TWO = 2


async def compare_versions(
    shell: Shell, state: PlaygroundState, current: PromptVersion | None, marked: Sequence[PromptVersion]
) -> None:
    """Show how two marked versions differ; without two of them ask what to compare ``current`` with.

    Without ``current`` it is the draft, or else the newest version.
    """
    if not state.versions:
        shell.say("There is no version yet; F5 makes the first.", severity="warning")
        return
    texts = {v.ref: (v.ref, v.system, v.template, _told(v.settings)) for v in state.versions}
    if state.dirty:
        texts[_DRAFT] = (_DRAFT, state.draft.system, state.draft.template, _told(state.settings))
    newest = _DRAFT if state.dirty else state.versions[0].ref
    subject = current.ref if current is not None else newest
    if len(marked) == _TWO:
        other, subject = (version.ref for version in sorted(marked, key=lambda version: version.number))
    else:
        choices = _choices(state, subject, [version.ref for version in marked], list(texts))
        chosen = await shell.ask(ChoiceDialog(f"Compare {subject} with …", choices))
        if chosen is None:
            return
        other = chosen
    name = state.model_name
    endpoint = await asyncio.to_thread(shell.services.find_endpoint, name) if name else None
    shell.push_screen(DiffScreen(texts[other], texts[subject], endpoint))


def _told(settings: AnswerSettings | None) -> str:
    return settings.as_yaml() if settings is not None else ""


def _choices(state: PlaygroundState, subject: str, marked: Sequence[str], refs: list[str]) -> list[Choice]:
    versions = {v.ref: v for v in state.versions}
    base = versions[subject].parent if subject in versions else state.draft.base
    likely = [(ref, "marked") for ref in marked]
    if base is not None:
        likely.append((f"{state.prompt}@{base}", "parent"))
    # Its labels are in its notes.
    likely += [(version.ref, "") for version in state.versions if "production" in version.labels]
    notes = notes_of(state.versions)
    # One that is likely for several reasons says them all.
    reasons = {ref: [why for one, why in likely if one == ref] for ref, _ in likely}
    order = [*(ref for ref in reasons if ref in refs), *(ref for ref in refs if ref not in reasons)]
    return [
        Choice(ref, ref, " · ".join(filter(None, [*reasons.get(ref, ()), notes.get(ref, "")])))
        for ref in order
        if ref != subject
    ]
