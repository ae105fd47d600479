"""What the actions of the traces screen do: say what one thinks, make datasets, open a trace in the playground."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.safe_text import safe_line
from screens import outside_editor
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.traces.store import Trace
    from screens.traces.screen import TracesScreen

# Lines of what else has a trace's texts that are shown before it is deleted.
_SHOWN = 8


def ask_filter(screen: TracesScreen) -> None:
    """Ask which traces to show."""

    def given(said: str | None) -> None:
        if said is not None:
            screen.filter_by(said)

    screen.app.push_screen(
        LineDialog(
            "Show traces with …",
            "Words, ~regex, model:M prompt:P@3 is:down is:failed slow:2000 since:24h.",
            screen.said,
        ),
        given,
    )


def give(screen: TracesScreen, **what: str) -> None:
    """Say something of the trace under the cursor."""
    if screen.line is not None:
        screen.act("give", _give, screen, screen.line.id, what)


async def _give(screen: TracesScreen, trace: str, what: dict[str, str]) -> None:
    from llmops_tui.traces.feedback import give as say

    await asyncio.to_thread(lambda: say(screen.services.traces, trace, **what))
    await screen.refresh_all(trace)


def correct(screen: TracesScreen) -> None:
    """Write the right answer in $EDITOR, beginning with the one that was given."""
    trace = screen.trace
    if trace is None:
        return
    before = trace.line.correction or trace.output
    changed = outside_editor.edit_outside(screen.app, before, "answer.txt")
    if changed is not None and changed.strip() and changed != before:
        give(screen, correction=changed)


def comment(screen: TracesScreen) -> None:
    """Ask what one thinks."""
    line = screen.line
    if line is None:
        return

    def given(text: str | None) -> None:
        if text:
            give(screen, comment=text)

    screen.app.push_screen(LineDialog("What do you think of it?", "One line; what was said before is kept."), given)


def delete(screen: TracesScreen) -> None:
    """Show what else has the trace's texts, ask, then delete it and what was said of it from every file of the workspace."""
    if screen.line is not None:
        screen.act("removal", _offer_delete, screen, screen.line.id)


async def _offer_delete(screen: TracesScreen, trace: str) -> None:
    from llmops_tui.keeping.removal_of_traces import plan_trace_removal
    from llmops_tui.traces.store import TraceFilter

    planned = await asyncio.to_thread(plan_trace_removal, screen.services.workspace, TraceFilter(), trace)

    def answered(yes: bool | None) -> None:
        if yes:
            screen.act("removal", _delete, screen, trace)

    told = ["With what was said of it, from every file of the workspace."]
    told += [f"Goes, too: {safe_line(name)}" for name in planned.files]
    told += [f"Still has it: {safe_line(one)}" for one in planned.staying]
    shown = told[:_SHOWN] + ([f"and {len(told) - _SHOWN} more: llmops traces remove {trace}"] if told[_SHOWN:] else [])
    screen.app.push_screen(ConfirmDialog(f"Delete {safe_line(trace)}?", "\n".join(shown)), answered)


async def _delete(screen: TracesScreen, trace: str) -> None:
    from llmops_tui.keeping.removal_of_traces import remove_traces
    from llmops_tui.traces.store import TraceFilter

    done = await asyncio.to_thread(remove_traces, screen.services.workspace, TraceFilter(), trace)
    still = f" {len(done.staying)} places still have its texts: {safe_line(done.staying[0])}" if done.staying else ""
    screen.app.say(f"{safe_line(trace)} is deleted.{still}")
    await screen.refresh_all()


def to_dataset(screen: TracesScreen) -> None:
    """Ask for the shape and the name, then make a version of the traces that are shown."""
    choices = [
        Choice("messages", "Conversations", "a correction in place of the answer, and answers with a thumb up"),
        Choice(
            "preference",
            "Pairs of a better and a worse answer",
            "for DPO: corrections, and thumbs to the same question",
        ),
    ]

    def chosen(shape: str | None) -> None:
        if shape is not None:
            hint = "A new version is made. Personal data is taken out; llmops traces to-dataset --keep-personal leaves it in."
            screen.app.push_screen(LineDialog("Name of the dataset", hint, "feedback"), lambda name: named(shape, name))

    def named(shape: str, name: str | None) -> None:
        if name:
            screen.act("dataset", _make, screen, shape, name)

    screen.app.push_screen(ChoiceDialog("Make a dataset of what is shown, as …", choices), chosen)


async def _make(screen: TracesScreen, shape: str, name: str) -> None:
    import time

    from llmops_tui.traces.store import TraceFilter
    from llmops_tui.traces.to_dataset import gather, make_version

    def work() -> str:
        gathered = gather(screen.services.traces, TraceFilter.parse(screen.said, time.time()), shape, "redact")
        version = make_version(screen.services.datasets, name, gathered, shape, "redact")
        left = sum(gathered.left_out.values())
        return f"{version.ref}: {version.note}" + (f"; {left} left out" if left else "")

    screen.app.say(await asyncio.to_thread(work), seconds=10.0)


async def use(screen: TracesScreen) -> None:
    """Open what was asked in the playground, with the model that answered."""
    trace = screen.trace
    if trace is None:
        return
    name = await asyncio.to_thread(_prepare, screen, trace)
    known = {m.name for m in await asyncio.to_thread(lambda: screen.services.models.runnable())}
    await screen.app.going.prompt(name, trace.line.model if trace.line.model in known else "")


def _prepare(screen: TracesScreen, trace: Trace) -> str:
    """Make the draft that the playground opens; what was being written there is kept as a version first."""
    from llmops_tui.errors import NotFoundError
    from llmops_tui.prompts.drafts import Draft

    store, drafts = screen.services.prompts, screen.services.drafts
    line = trace.line
    variables = {str(name): str(value) for name, value in trace.variables.items()}
    if line.prompt and line.version is not None:
        try:
            version = store.get(f"{line.prompt}@{line.version}")
        except NotFoundError:
            pass
        else:
            before = drafts.load(line.prompt)
            if before is not None and before.template.strip():
                store.save(
                    line.prompt, template=before.template, system=before.system, parent=before.base,
                    note="being written when a trace was opened",
                )  # fmt: skip
            drafts.save(line.prompt, Draft(version.system, version.template, variables, version.number))
            return line.prompt
    system = next((str(m.get("content") or "") for m in trace.messages if m.get("role") == "system"), "")
    asked = [str(m.get("content") or "") for m in trace.messages if m.get("role") != "system"]
    name = f"trace-{line.id.partition('_')[2] or line.id}"
    made, _ = store.save(
        name, template=_plain(asked[-1] if asked else " "), system=_plain(system), note=f"from {line.id}"
    )
    drafts.save(name, Draft(made.system, made.template, {}, made.number))
    return name


def _plain(text: str) -> str:
    """A text as a template that renders to itself."""
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    return "{% raw %}" + text.replace("{% endraw %}", "") + "{% endraw %}"
