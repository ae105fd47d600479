"""Make an index, or build it again: asked step by step, then followed as a job."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.names import RULE, as_name, is_name
from screens.shell.job_progress import follow_job
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

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
    if await _allow_contexts(shell, progress, name, asked):
        await _build(shell, progress, name, asked)


async def build_with_contexts(shell: Shell, progress: Panel, name: str) -> bool:
    """Ask what writes a context for each chunk, say what that takes, and build the next version with them; whether it was."""
    from llmops_tui.retrieval.request import NONE

    found = await asyncio.to_thread(writers, shell.services)
    choices = [Choice(one, one, "writes a sentence for each chunk to be found by", "model") for one in found]
    choices.append(Choice(NONE, "No contexts", "chunks are found by their own text alone"))
    if (chosen := await shell.ask(ChoiceDialog(f"Contexts of the chunks of {name} by", choices))) is None:
        return False
    asked = await asyncio.to_thread(_request, shell.services, name, "", "", chosen)
    if not await _allow_contexts(shell, progress, name, asked):
        return False
    await _build(shell, progress, name, asked)
    return True


async def _allow_contexts(shell: Shell, progress: Panel, name: str, asked: BuildRecord) -> bool:
    """Whether contexts may be written; nothing is asked where none has to be."""
    if asked.get("context") is None:
        return True
    from llmops_tui.retrieval.context_cost import COST_ENTRY, cost_text

    start = partial(
        shell.services.jobs.start,
        kind="budget",
        title=f"contexts of {name}",
        entry=COST_ENTRY,
        arguments={"name": name, "asked": asked},
    )
    cost = await follow_job(shell.services, progress, await asyncio.to_thread(start))
    if cost["known"] == cost["chunks"]:
        return True
    samples = "".join(f"\n\n{sample}" for sample in cost["samples"])
    return bool(await shell.ask(ConfirmDialog(f"Write contexts for {name}?", f"{cost_text(cost)}{samples}")))  # type: ignore[arg-type]


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


def writers(services: Services) -> list[str]:
    """The models that may write about documents: those of this machine that answer conversations."""
    return [model.name for model in services.models.all() if model.kind == "gguf" and model.header.get("chat_template")]


def _request(services: Services, name: str, source: str, embedder: str, contexts: str = "") -> BuildRecord:
    from llmops_tui.retrieval.request import build_request, with_context, with_reranker
    from llmops_tui.retrieval.store import IndexStore

    store = IndexStore(services.catalog)
    # What reranks the index and writes its contexts stays what it is, as on the command line.
    asked = with_reranker(store, name, build_request(store, name, source=source, embedder=embedder))
    return with_context(store, name, asked, contexts)


def _name_problem(text: str) -> str:
    return "" if is_name(as_name(text)) else f"{text!r} is not a name"
