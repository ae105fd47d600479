"""Look through queries that a model wrote about passages: one key confirms or rejects each; or have more written."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from screens.retrieval.build_index import writers
from screens.shell.job_progress import follow_job
from screens.widgets.dialogs import Choice, ChoiceDialog, VerdictDialog

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.retrieval.records import WrittenQueryRecord
    from screens.services import Services
    from screens.shell.shell import Shell
    from screens.widgets.panel import Panel

_REVIEW = "\0review"
_COUNT = 50
_SHOWN = 1500


async def review_queries(shell: Shell, progress: Panel, name: str) -> None:
    """Ask whether to look through what is there or to have more written; then go through those that nobody judged."""
    queries = await asyncio.to_thread(_open, shell.services, name)
    found = await asyncio.to_thread(writers, shell.services)
    choices = [Choice(_REVIEW, f"Look through {counted(len(queries), 'query', 'queries')}", "y confirms, n rejects")]
    choices = choices if queries else []
    choices += [Choice(one, one, f"writes {_COUNT} more questions about passages", "model") for one in found]
    chosen = await shell.ask(ChoiceDialog(f"Queries about {name}", choices))
    if chosen is None:
        return
    if chosen != _REVIEW:
        job = await asyncio.to_thread(_start, shell.services, name, chosen)
        made = await follow_job(shell.services, progress, job)
        fell = f"{made['alike'] + made['empty'] + made['gone']:,} fell"
        shell.say(f"{counted(made['written'], 'query', 'queries')} written about {name}; {fell}.")
        queries = await asyncio.to_thread(_open, shell.services, name)
    for number, query in enumerate(queries):
        passage = await asyncio.to_thread(_passage, shell.services, name, query)
        place = f"{safe_line(query['document'])} [{query['start']}:{query['end']}]"
        words = ("answered by it", "not", f"later, {len(queries) - number:,} left")
        good = await shell.ask(VerdictDialog(query["query"], f"{place}\n\n{passage[:_SHOWN]}", words))
        if good is None:
            return
        await asyncio.to_thread(_judge, shell.services, name, query["id"], good=good)


def _open(services: Services, name: str) -> list[WrittenQueryRecord]:
    from llmops_tui.retrieval.store import IndexStore
    from llmops_tui.retrieval.written_queries import OPEN, WrittenQueries

    return [one for one in WrittenQueries(IndexStore(services.catalog), name).all() if one["state"] == OPEN]


def _judge(services: Services, name: str, query: str, *, good: bool) -> None:
    from llmops_tui.retrieval.store import IndexStore
    from llmops_tui.retrieval.written_queries import CONFIRMED, REJECTED, WrittenQueries

    WrittenQueries(IndexStore(services.catalog), name).judge(CONFIRMED if good else REJECTED, [query])


def _passage(services: Services, name: str, query: WrittenQueryRecord) -> str:
    from llmops_tui.retrieval.chunk_file import ChunkFile
    from llmops_tui.retrieval.store import IndexStore

    with ChunkFile.opened(IndexStore(services.catalog).get(name).folder) as file:
        return (file.text(query["document"]) or "")[query["start"] : query["end"]]


def _start(services: Services, name: str, model: str) -> Job:
    from llmops_tui.retrieval.local_writer import writer_record
    from llmops_tui.retrieval.query_writing import ENTRY, KIND

    record = writer_record(services.models, model, "no_writer")
    start = partial(services.jobs.start, kind=KIND, title=f"queries about {name}", entry=ENTRY)
    return start(arguments={"name": name, "record": record, "count": _COUNT})
