"""Start a run of a chain: its inputs, its model, and what it will ask for are settled first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llmops_tui.chains.costs import cost_of, cost_text
from llmops_tui.chains.runs import ENTRY, KIND, RunOptions, edited, prepare_run, read_input
from llmops_tui.chains.tools import ChainTools
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.chains.definition import Chain
    from llmops_tui.chains.resolution import Resolved
    from llmops_tui.chains.runs import ChainRunRecord
    from llmops_tui.chains.store import ChainVersion
    from screens.shell.shell import Shell


async def start_run(shell: Shell, tools: ChainTools, version: ChainVersion, *, rows: bool = False) -> str | None:
    """Run a version, once or for each row of a dataset; the id of the run, none where it was left."""
    chain = version.chain
    model = await _model(shell, tools, chain)
    if model is None:
        return None
    inputs: dict[str, Any] | None = {}
    dataset, limit = "", None
    if rows:
        dataset, limit = await _dataset(shell) or ("", None)
        if not dataset:
            return None
    else:
        inputs = await _inputs(shell, chain)
    if inputs is None:
        return None
    options = RunOptions(model, dataset, {}, limit)
    return await _start(shell, tools, version.ref, inputs, options)


async def run_from(shell: Shell, tools: ChainTools, before: ChainRunRecord, step: str, text: str) -> str | None:
    """Run a chain again from a step of a run on; with the text of the editor where that is another, or with a field set.

    Returns:
        The id of the run; none where it was left.
    """
    asked = before.asked
    hint = "such as parameters.temperature=0.7; empty: with the text as it is in the editor"
    change = await shell.ask(LineDialog(f"Run again from {step}: another value of its fields", hint))
    if change is None:
        return None
    if change.strip():
        text = edited(text, [f"{step}.{change.strip()}"])
    options = RunOptions(asked["model"], asked["dataset"], asked["columns"], asked["limit"])
    return await _start(shell, tools, asked["chain"], asked["inputs"], options, text=text, before=before, step=step)


async def _start(
    shell: Shell,
    tools: ChainTools,
    ref: str,
    inputs: dict[str, Any],
    options: RunOptions,
    *,
    text: str | None = None,
    before: ChainRunRecord | None = None,
    step: str = "",
) -> str | None:
    def prepare() -> Any:
        asked, resolved = prepare_run(tools, ref, inputs, options, text=text, before=before, step=step)
        return asked, cost_of(asked, resolved, tools, shell.services.jobs.store)

    asked, cost = await asyncio.to_thread(prepare)
    if before is not None and asked["text"] == before.asked["text"]:
        asked["version"] = before.asked["version"]
    of = f" over {cost['rows']:,} rows" if options.dataset else ""
    told = cost_text(cost)
    if not await shell.ask(ConfirmDialog(f"Run {ref}{of}?", f"{told[:1].upper()}{told[1:]}.")):
        return None
    title = f"chain {asked['chain']}"
    launched = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind=KIND, title=title, entry=ENTRY, arguments={"asked": asked})
    )
    shell.say(f"{ref} runs, in the background.")
    return launched.id


async def _model(shell: Shell, tools: ChainTools, chain: Chain) -> str | None:
    """The model for steps that name none: empty where all do, none where it was left."""
    from llmops_tui.chains.resolution import resolve

    resolved: Resolved = await asyncio.to_thread(resolve, chain, tools)
    if all(one.model for one in resolved.steps.values() if one.prompt is not None):
        return ""
    models = await asyncio.to_thread(lambda: shell.services.models.runnable())
    choices = [Choice(one.name, one.name) for one in models]
    return await shell.ask(ChoiceDialog("The model of steps that name none", choices, "No model is registered."))


async def _inputs(shell: Shell, chain: Chain) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for one in chain.inputs.values():
        known = "" if one.required or one.default is None else str(one.default)
        hint = one.type if one.type == "text" else f"{one.type}, as JSON or YAML"
        given = await shell.ask(LineDialog(f"Input {one.name}", hint, known))
        if given is None:
            return None
        # An emptied text is an empty one; what stands there untouched is the default.
        if one.required or (given != known and (given or one.type == "text")):
            found[one.name] = read_input(chain, one.name, given)
    return found


async def _dataset(shell: Shell) -> tuple[str, int | None] | None:
    versions = await asyncio.to_thread(lambda: shell.services.datasets.all())
    choices = [Choice(one.ref, one.ref, f"{one.rows:,} rows") for one in versions]
    chosen = await shell.ask(ChoiceDialog("Rows of which dataset?", choices, "There is no dataset yet."))
    if chosen is None:
        return None

    def wrong(text: str) -> str:
        return "" if not text or (text.isascii() and text.isdecimal() and int(text)) else "a number above 0, or nothing"

    limit = await shell.ask(LineDialog("How many rows?", "the first ones; empty: all", "", check=wrong))
    return None if limit is None else (chosen, int(limit) if limit else None)
