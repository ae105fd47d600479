"""What the actions of the datasets screen do: check, mend, edit, restore and compare."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from screens.actions import screen_place
from screens.datasets.table import RowTable
from screens.shell import outside_editor
from screens.shell.job_progress import follow_job
from screens.shell.removal import offer_removal
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetVersion
    from llmops_tui.jobs.store import Job
    from screens.datasets.screen import DatasetsScreen

_JOB = "llmops_tui.datasets.operations.base:run_job"
_CHECKED_UNASKED = 20_000
_AT_ONCE = {"filter", "sample", "sort", "edit", "select", "map"}
_AT_ONCE_ROWS = 100_000


async def follow(screen: DatasetsScreen, job: Job, done: str) -> dict[str, Any]:
    """Wait for a job's end, with its progress at the rows; a failure is raised."""
    result = await follow_job(screen.services, screen.query_one("#rows", Panel), job)
    if done:
        screen.app.say(done)
    return result


async def check(screen: DatasetsScreen) -> None:
    """All checks over all rows."""
    version = screen.version
    if version is None:
        return
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(
            kind="check", title=f"check {version.ref}", entry="llmops_tui.datasets.checks.running:run_check_job",
            arguments={"ref": version.ref, "parameters": {}},
        )
    )  # fmt: skip
    await follow(screen, job, "")
    if screen.version == version:
        await screen.open_version(version)
    screen.app.say(f"{version.ref} is checked.")


async def check_unasked(screen: DatasetsScreen, version: DatasetVersion) -> None:
    """A small dataset is checked when it is first looked at; of a large one that is asked for."""
    if version.rows > _CHECKED_UNASKED:
        return
    screen.query_one("#checks", Panel).set_note("checking …")
    await screen.services.check_dataset(version)
    report = await asyncio.to_thread(screen.services.datasets.report, version.sha256, "checks")
    if screen.version == version:
        screen.report = report or {}
        screen.show_checks()


def start(
    screen: DatasetsScreen,
    operation: str,
    parameters: dict[str, Any],
    *others: str,
    version: DatasetVersion | None = None,
) -> None:
    """Start an operation on the open version."""
    screen.act("operate", _operate, screen, operation, parameters, others, version or screen.version)


async def _operate(
    screen: DatasetsScreen, operation: str, parameters: dict[str, Any], others: tuple[str, ...], version: DatasetVersion
) -> None:
    from llmops_tui.datasets.operations.base import apply

    refs = [version.ref, *others]
    if operation in _AT_ONCE and version.rows <= _AT_ONCE_ROWS:
        made = await asyncio.to_thread(apply, screen.services.datasets, operation, refs, parameters)
    else:
        job = await asyncio.to_thread(
            lambda: screen.services.jobs.start(
                kind="dataset", title=f"{operation} {version.ref}", entry=_JOB,
                arguments={"operation": operation, "refs": refs, "parameters": parameters},
            )
        )  # fmt: skip
        result = await follow(screen, job, "")
        made = await asyncio.to_thread(screen.services.datasets.get, f"{result['dataset']}@{result['version']}")
    if made.sha256 == version.sha256:
        screen.app.say(f"Nothing changed: {made.note}.")
    else:
        screen.app.say(f"{made.ref}: {made.rows:,} rows, {made.note}. z takes it back.")
    screen.made.append(made)
    await screen.refresh_data(made.ref)


async def undo(screen: DatasetsScreen) -> str:
    """Make the version before the last made one the newest again."""
    if not screen.made:
        return ""
    last = screen.made.pop()
    if last.parent is None:
        return ""
    restored = await asyncio.to_thread(screen.services.datasets.restore, f"{last.dataset}@{last.parent}")
    await screen.refresh_data(restored.ref)
    return f"{last.ref} is taken back: {restored.ref} is as @{last.parent}."


async def restore(screen: DatasetsScreen) -> None:
    """Make the open version the newest again."""
    version = screen.version
    if version is None or version.id == screen.logs[version.dataset][0].id:
        screen.app.say("This is the newest version.", severity="warning")
        return
    restored = await asyncio.to_thread(screen.services.datasets.restore, version.ref)
    screen.made.append(restored)
    screen.app.say(f"{restored.ref} has the rows of @{version.number}.")
    await screen.refresh_data(restored.ref)


def fix(screen: DatasetsScreen) -> None:
    """Mend what the check under the cursor found."""
    problem = screen.problem
    if problem is None or not problem["rows"]:
        screen.app.say("Nothing to mend here: F5 runs the checks.", severity="warning")
    elif not problem["fix"]:
        screen.app.say("Only you can decide what to do here; enter shows the rows.", severity="warning")
    else:
        start(screen, "fix", {"check": problem["kind"]})


# ── rows ──


def edit_row(screen: DatasetsScreen) -> None:
    """The row as JSON in $EDITOR; what comes back makes a new version."""
    number, row = screen.record.number, screen.record.row
    if number is None or row is None:
        return
    text = json.dumps(row, ensure_ascii=False, indent=2)
    changed = outside_editor.edit_outside(screen.app, text, f"row-{number}.json")
    if changed is None or changed == text:
        return
    try:
        value = json.loads(changed)
    except ValueError as error:
        screen.app.report(
            LlmopsError("not_json", f"row {number:,} is no JSON any more: {error}", "It stays as it was.")
        )
        return
    if not isinstance(value, dict):
        screen.app.report(LlmopsError("not_json", f"row {number:,} is no object any more", "It stays as it was."))
        return
    start(screen, "edit", {"edits": {str(number): value}})


def remove_rows(screen: DatasetsScreen) -> None:
    """Take the flagged rows out, or the one under the cursor."""
    table = screen.query_one("#row-table", RowTable)
    rows = sorted(table.flagged) or ([table.row] if table.row is not None else [])
    if rows:
        start(screen, "edit", {"edits": {str(n): None for n in rows}})


def delete(screen: DatasetsScreen) -> None:
    """Delete the version that is shown."""
    if screen.version is not None:
        screen.act("removal", offer_removal, screen.app, "dataset", screen.version.ref, screen.refresh_data)


def keep_shown(screen: DatasetsScreen) -> None:
    """Keep the rows that are shown as a version."""
    window, version = screen.window, screen.version
    if window is None or version is None:
        return
    if window.view.filter.startswith("="):
        start(screen, "filter", {"where": window.view.filter[1:].strip()})
        return
    numbers = window.numbers()
    if len(numbers) > 100_000:
        screen.app.say("Write the filter as SQL (=…): so many rows cannot be listed in a recipe.", severity="warning")
        return
    start(screen, "filter", {"where": f"_row IN ({', '.join(map(str, sorted(numbers)))})"})


# ── versions ──


def ask_for_tag(screen: DatasetsScreen) -> None:
    """Ask for a tag and point it at the open version."""
    version = screen.version
    if version is None:
        return

    async def tag(name: str) -> None:
        tagged = await asyncio.to_thread(screen.services.datasets.tag, version.ref, name)
        screen.app.say(f"{name} is {tagged.ref}.")
        await screen.refresh_data()

    def answered(name: str | None) -> None:
        if name:
            screen.act("tag", tag, name)

    screen.app.push_screen(LineDialog(f"Tag {version.ref}", "such as production; a tag moves, versions stay"), answered)


def compare(screen: DatasetsScreen) -> None:
    """Choose what to compare the open version with; its parent comes first."""
    version = screen.version
    if version is None:
        return
    others = [v for v in screen.logs[version.dataset] if v.id != version.id]
    others.sort(key=lambda v: v.number != version.parent)
    others += [log[0] for name, log in screen.logs.items() if name != version.dataset]

    def note(v: DatasetVersion) -> str:
        parent = v.dataset == version.dataset and v.number == version.parent
        return f"{v.rows:,} rows  {v.note}{'  parent' if parent else ''}"

    choices = [Choice(v.ref, v.ref, note(v)) for v in others]

    def chosen(ref: str | None) -> None:
        if ref is not None:
            from screens.datasets.diff_screen import VersionDiffScreen

            other = next(v for v in others if v.ref == ref)
            screen.app.push_screen(VersionDiffScreen(other, version))

    screen.app.push_screen(
        ChoiceDialog(f"Compare {version.ref} with", choices, "There is nothing to compare with."), chosen
    )


async def choose_model(screen: DatasetsScreen) -> None:
    """Choose the model whose tokenizer and template are used."""
    models = await asyncio.to_thread(screen.services.models.all)
    choices = [Choice(m.name, m.name, m.quantization) for m in models if m.kind == "gguf" and m.present]

    def chosen(name: str | None) -> None:
        if name is not None:
            screen.record.use_model(name)

    screen.app.push_screen(
        ChoiceDialog("Count in tokens of", choices, f"No GGUF models. {screen_place('models')} adds one."), chosen
    )


def cli_command(screen: DatasetsScreen) -> str:
    """The command for what is shown."""
    if screen.version is None:
        return "llmops data list"
    view = screen.window.view if screen.window is not None else None
    if view is not None and view.filter.startswith("="):
        return shlex.join(["llmops", "data", "filter", screen.version.ref, "--where", view.filter[1:].strip()])
    return shlex.join(["llmops", "data", "show", screen.version.ref])
