"""What the playground's actions do, beside running: save, compare, restore, label, find, choose."""

from __future__ import annotations

import asyncio
import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.widgets import Input, Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.actions import screen_place
from screens.playground.editors import TemplateEditor
from screens.playground.runs import RunList, figures
from screens.playground.sidebar import PromptList, VersionList
from screens.shell import outside_editor
from screens.shell.removal import offer_removal
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog
from screens.widgets.panel import Panel
from screens.widgets.stream_view import StreamView

if TYPE_CHECKING:
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.prompts.store import PromptVersion
    from screens.playground.screen import PlaygroundScreen

HELP = {
    "prompts": "All prompts, the last changed first. Enter opens one; ● marks one with a production version, "
    "✎ one with a draft that is in no version yet.",
    "versions": "Every version of the prompt as a tree, newest first. Enter brings a version's text back into the "
    "editors; text that is in no version is saved as one first. Space marks a version, d compares.",
    "system": "The system template: who the model is and what rules hold. It may stay empty.",
    "user": "The user template, in Jinja: {{ name }} becomes a variable with a field below. It is kept as you type.",
    "variables": "The values of the variables for the next run. They belong to the draft, not to the version.",
    "answer": "The answer, as it streams. Below it: tokens, time to the first token, tokens a second, and why it ended.",
    "runs": "Past runs of the version under the cursor, newest first. Enter shows one's output.",
}


def save(screen: PlaygroundScreen) -> None:
    """Ask for a note and save the draft as a version."""

    def answered(note: str | None) -> None:
        if note is not None:
            screen.act("load", _save, screen, note)

    name = screen.state.prompt or "untitled"
    screen.app.push_screen(LineDialog(f"Save {name}", "A note for this version; it may stay empty."), answered)


async def _save(screen: PlaygroundScreen, note: str) -> None:
    state, store = screen.state, screen.services.prompts
    draft = state.draft
    version, created = await asyncio.to_thread(
        lambda: store.save(
            state.prompt or "untitled", template=draft.template, system=draft.system, note=note, parent=draft.base
        )
    )
    if not created and note and version.note != note:
        version = await asyncio.to_thread(store.set_note, version.ref, note)
    screen.edit(base=version.number)
    screen.app.say(f"{version.ref} {'saved' if created else 'was saved before; its note is kept'}")
    await screen.refresh_versions()


async def restore(screen: PlaygroundScreen, version: PromptVersion) -> None:
    """Bring a version's text into the editors; text that is in no version is saved as one first."""
    state = screen.state
    if screen.running:
        screen.app.say("An answer is being generated; esc stops it.", severity="warning")
        return
    if state.dirty:
        draft = state.draft
        kept, _ = await asyncio.to_thread(
            lambda: screen.services.prompts.save(
                version.prompt,
                template=draft.template,
                system=draft.system,
                note=f"kept before going back to @{version.number}",
                parent=draft.base,
            )
        )
        screen.app.say(f"Your unsaved text is kept as {kept.ref}.")
    if state.prompt != version.prompt:
        return
    screen.show_draft(replace(state.draft, system=version.system, template=version.template, base=version.number))
    screen.keep_draft()
    await screen.refresh_versions()
    await show_runs(screen, version)


async def show_runs(screen: PlaygroundScreen, version: PromptVersion | None) -> None:
    """Show the runs of the version under the cursor, and its last output where nothing is running."""
    if screen.state.prompt is None:
        return
    prompt = screen.state.prompt
    runs = await asyncio.to_thread(screen.services.history.of, prompt, version.number if version else None)
    screen.query_one(RunList).show(runs)
    title = f"@{version.number}" if version is not None else ""
    from screens.widgets.panel import Panel

    screen.query_one("#runs", Panel).set_title("Runs", f"{title} · {len(runs)}" if title else str(len(runs)))
    browsing = screen.focused is screen.query_one(VersionList)
    if browsing and runs and not screen.running:
        screen.query_one("#answer", StreamView).show(runs[0].output)
        screen.query_one("#figures", Static).update(figures(runs[0]))


def diff(screen: PlaygroundScreen) -> None:
    """Choose what to compare the version under the cursor with, likely choices first."""
    state = screen.state
    if not state.versions:
        screen.app.say("There is no version yet; F5 makes the first.", severity="warning")
        return
    current = screen.query_one(VersionList).current
    texts = {v.ref: (v.ref, v.system, v.template) for v in state.versions}
    if state.dirty:
        texts["draft"] = ("draft", state.draft.system, state.draft.template)
    newest = "draft" if state.dirty else state.versions[0].ref
    subject = current.ref if current is not None else newest
    choices = _diff_choices(screen, subject, texts)

    def chosen(other: str | None) -> None:
        if other is not None:
            screen.act("dialog", _show_diff, screen, texts[other], texts[subject])

    screen.app.push_screen(ChoiceDialog(f"Compare {subject} with …", choices), chosen)


def _diff_choices(screen: PlaygroundScreen, subject: str, texts: dict[str, tuple[str, str, str]]) -> list[Choice]:
    state = screen.state
    versions = {v.ref: v for v in state.versions}
    base = versions[subject].parent if subject in versions else state.draft.base
    reasons: dict[str, str] = {}
    if state.marked:
        reasons[state.marked] = "marked"
    if base is not None:
        reasons.setdefault(f"{state.prompt}@{base}", "parent")
    for version in state.versions:
        if "production" in version.labels:
            reasons.setdefault(version.ref, "production")
    first = [Choice(ref, ref, why) for ref, why in reasons.items() if ref in texts and ref != subject]
    taken = {choice.value for choice in first} | {subject}
    rest = [Choice(ref, ref, versions[ref].note if ref in versions else "") for ref in texts if ref not in taken]
    return first + rest


async def _show_diff(screen: PlaygroundScreen, before: tuple[str, str, str], after: tuple[str, str, str]) -> None:
    from screens.playground.diff_screen import DiffScreen

    name = screen.state.model_name
    endpoint = await asyncio.to_thread(screen.services.find_endpoint, name) if name else None
    screen.app.push_screen(DiffScreen(before, after, endpoint))


async def choose_model(screen: PlaygroundScreen) -> None:
    """Choose the model from a list with sizes, and whether each is loaded."""
    models = await asyncio.to_thread(screen.services.models.runnable)
    running = await asyncio.to_thread(screen.services.servers.running)
    loaded = {handle.model for handle in running}
    choices = []
    for model in models:
        if model.kind == "remote":
            choices.append(Choice(model.name, model.name, f"remote  {safe_line(str(model.header.get('url')))}"))
            continue
        state = "loaded" if model.base.name in loaded else model.trouble
        size = f"{model.size_bytes / 1e9:.1f} GB" if model.size_bytes > 1e8 else f"{model.size_bytes / 1e6:.1f} MB"
        choices.append(Choice(model.name, model.name, f"{model.quantization}  {size}  {state}".rstrip()))

    def chosen(name: str | None) -> None:
        if name is not None:
            screen.use_model(name)

    empty = f"No models yet. {screen_place('models')} adds a GGUF file."
    screen.app.push_screen(ChoiceDialog("Model", choices, empty), chosen)


def edit_parameters(screen: PlaygroundScreen) -> None:
    """Edit the sampling parameters in a form."""
    from screens.playground.parameters_dialog import ParametersDialog

    def taken(value: SamplingParameters | None) -> None:
        if value is not None:
            screen.state.parameters = value
            screen.show_heads()
            screen.act("session", screen.keep_session)

    screen.app.push_screen(ParametersDialog(screen.state.parameters), taken)


def new_prompt(screen: PlaygroundScreen) -> None:
    """Ask for a name and open an empty prompt."""
    from llmops_tui.prompts.store import check_name

    def answered(name: str | None) -> None:
        if not name:
            return
        try:
            check_name(name.replace(" ", "-"))
        except LlmopsError as error:
            screen.app.report(error)
            return
        screen.open_prompt(name.replace(" ", "-"))
        screen.call_after_refresh(screen.query_one("#user").focus)

    screen.app.push_screen(LineDialog("New prompt", "Its name: letters, digits and . _ -"), answered)


def mark(screen: PlaygroundScreen) -> None:
    """Mark the version under the cursor to compare with, or unmark it."""
    version = screen.query_one(VersionList).current
    if version is not None:
        screen.state.marked = None if screen.state.marked == version.ref else version.ref
        screen.show_heads()


def open_filter(screen: PlaygroundScreen) -> None:
    """Open the filter of prompts and versions."""
    screen.reveal(screen.query_one("#prompts", Panel))
    screen.add_class("-finding")
    screen.query_one("#find", Input).focus()


def delete(screen: PlaygroundScreen) -> None:
    """Delete the prompt that is open, with all its versions."""
    version = screen.query_one(VersionList).current or screen.state.matching
    if version is None:
        screen.app.say("Choose a prompt; what was only typed is no version yet.", severity="warning")
        return

    async def look_again() -> None:
        # What was written stays in the editor, as a draft.
        await screen.refresh_versions()

    screen.act("removal", offer_removal, screen.app, "prompt", version.prompt, look_again)


def label(screen: PlaygroundScreen) -> None:
    """Ask for a label and point it at the version under the cursor."""
    version = screen.query_one(VersionList).current or screen.state.matching
    if version is None:
        screen.app.say("A label points at a version; run or save the draft first.", severity="warning")
        return

    def answered(name: str | None) -> None:
        if name:
            screen.act("load", _move_label, screen, version, name)

    dialog = LineDialog(
        f"Label for {version.ref}", "The label moves here from wherever it was; z undoes.", "production"
    )
    screen.app.push_screen(dialog, answered)


async def _move_label(screen: PlaygroundScreen, version: PromptVersion, name: str) -> None:
    await asyncio.to_thread(screen.services.prompts.move_label, version.ref, name)
    screen.app.say(f"{name} now is {version.ref}; z undoes.")
    await screen.refresh_versions()


async def undo_label(screen: PlaygroundScreen) -> str:
    """Take back the last move of a label of the open prompt."""
    if screen.state.prompt is None:
        return ""
    done = await asyncio.to_thread(screen.services.prompts.undo_label_move, screen.state.prompt)
    if done is None:
        return ""
    await screen.refresh_versions()
    name, number = done
    return f"{name} is back at @{number}" if number is not None else f"{name} is taken away again"


async def find(screen: PlaygroundScreen, text: str) -> None:
    """Show only prompts and versions that contain a text."""
    state = screen.state
    if not text:
        await screen.refresh_lists()
        return
    hits = await asyncio.to_thread(screen.services.prompts.search, text)
    names = {v.prompt for v in hits}
    numbers = {v.number for v in hits if v.prompt == state.prompt}
    screen.query_one(PromptList).show([p for p in state.prompts if p.name in names], None, set())
    shown = [v for v in state.versions if v.number in numbers]
    screen.query_one(VersionList).show(shown, draft=None, matching=None, marked=state.marked)


def edit_outside(screen: PlaygroundScreen) -> None:
    """Open the focused template, or the user template, in $EDITOR."""
    focused = screen.focused
    editor = focused if isinstance(focused, TemplateEditor) else screen.query_one("#user", TemplateEditor)
    text = outside_editor.edit_outside(
        screen.app, editor.text, f"{screen.state.prompt or 'untitled'}-{editor.id}.jinja"
    )
    if text is not None and text != editor.text:
        editor.replace(text, (0, 0), editor.document.end)


def _run_json(screen: PlaygroundScreen) -> str:
    """The run under the cursor as JSON, or nothing."""
    run = screen.query_one(RunList).current
    return json.dumps(run.as_dict(), ensure_ascii=False, indent=2) if run is not None else ""


def copy_choices(screen: PlaygroundScreen) -> list[tuple[str, str]]:
    """What can be copied, the answer first."""
    draft = screen.state.draft
    texts = [("answer", screen.query_one("#answer", StreamView).text)]
    texts += [("user template", draft.template), ("system template", draft.system)]
    texts += [("command", cli_command(screen)), ("run as JSON", _run_json(screen))]
    return [(name, text) for name, text in texts if text]


def cli_command(screen: PlaygroundScreen) -> str:
    """``llmops prompt run`` with the variables and parameters of the screen."""
    state = screen.state
    matching = state.matching
    ref = matching.ref if matching is not None else (state.prompt or "untitled")
    parts = ["llmops", "prompt", "run", ref, "--model", state.model_name or "MODEL"]
    for name, value in state.draft.variables.items():
        parts += ["--var", f"{name}={value}"]
    for name, value in state.parameters.model_dump(exclude_defaults=True, exclude={"stop"}).items():
        parts += [f"--{name.replace('_', '-')}", str(value)]
    for text in state.parameters.stop:
        parts += ["--stop", text]
    return shlex.join(parts)
