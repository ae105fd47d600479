"""Make an index, or build it again: asked step by step, then followed as a job."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.names import RULE, as_name, is_name
from screens.shell.job_progress import follow_job
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.retrieval.records import BuildRecord
    from screens.services import Services
    from screens.shell.shell import Shell
    from screens.widgets.panel import Panel

_FOLDER = "\0folder"


async def new_index(shell: Shell, progress: Panel) -> str | None:
    """Ask where the documents are and what embeds them, and build; the name of the index, or none where that was left."""
    services = shell.services
    source = await _ask_source(shell)
    if not source:
        return None
    embedder = await _ask_embedder(shell)
    if embedder is None:
        return None
    usual = as_name(source.rstrip("/").rpartition("/")[2].partition("@")[0])
    name = await shell.ask(LineDialog("Name of the index", RULE, usual if is_name(usual) else "", check=_name_problem))
    if not name:
        return None
    asked = await asyncio.to_thread(_request, services, as_name(name), source, embedder)
    await _build(shell, progress, as_name(name), asked)
    return as_name(name)


async def build_again(shell: Shell, progress: Panel, name: str) -> None:
    """Build the next version of an index, from the same source and with the same settings."""
    asked = await asyncio.to_thread(_request, shell.services, name, "", "")
    await _build(shell, progress, name, asked)


async def _build(shell: Shell, progress: Panel, name: str, asked: BuildRecord) -> None:
    from llmops_tui.retrieval.build import ENTRY, KIND

    start = partial(
        shell.services.jobs.start,
        kind=KIND,
        title=f"index {name}",
        entry=ENTRY,
        arguments={"name": name, "asked": asked},
    )
    job = await asyncio.to_thread(start)
    built = await follow_job(shell.services, progress, job)
    record = built["index"]
    ref = f"{record['name']}@{record['number']}"
    if built["unchanged"]:
        shell.say(f"{ref} is as it would be made now.")
        return
    refused = f"; {counted(len(record['refused']), 'document')} not taken" if record["refused"] else ""
    shell.say(f"{ref}: {counted(record['documents'], 'document')}, {counted(record['chunks'], 'chunk')}{refused}.")


async def _ask_source(shell: Shell) -> str | None:
    names = await asyncio.to_thread(lambda: list(shell.services.datasets.logs()))
    choices = [Choice(_FOLDER, "A folder", "of Markdown, text, HTML and PDF files")]
    choices += [Choice(name, name, "a dataset: each row is a document", "dataset") for name in names]
    chosen = await shell.ask(ChoiceDialog("Documents from", choices))
    if chosen != _FOLDER:
        return chosen
    folder = await shell.ask(LineDialog("Folder", "folders below it are read, too", path=True))
    # As a path, whatever a dataset is called.
    return folder if not folder or folder.startswith(("/", "~", ".")) else f"./{folder}"


async def _ask_embedder(shell: Shell) -> str | None:
    from llmops_tui.retrieval.request import NONE

    found = await asyncio.to_thread(_embedders, shell.services)
    choices = [Choice(name, name, "found by words and by meaning", "model") for name in found]
    choices.append(Choice(NONE, "Words alone", "no model; M in the datasets screen gets one that embeds"))
    return await shell.ask(ChoiceDialog("Embed by", choices))


def _embedders(services: Services) -> list[str]:
    from llmops_tui.embeddings.embedder import embedding_models

    return [model.name for model in embedding_models(services.models)]


def _request(services: Services, name: str, source: str, embedder: str) -> BuildRecord:
    from llmops_tui.retrieval.request import build_request
    from llmops_tui.retrieval.store import IndexStore

    return build_request(IndexStore(services.catalog), name, source=source, embedder=embedder)


def _name_problem(text: str) -> str:
    return "" if is_name(as_name(text)) else f"{text!r} is not a name"
