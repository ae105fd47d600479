"""The job of a run: once, or for each row of a dataset; killed, it goes on with the steps that its journal has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice

import orjson

from llmops_tui.chains.asking import AskedModels
from llmops_tui.chains.executor import FATAL, ChainRun
from llmops_tui.chains.reading import parse_chain
from llmops_tui.chains.records import RanRecord, RunAsked, SpanRecord
from llmops_tui.chains.resolution import Resolved, resolve
from llmops_tui.chains.runs import RESULTS, get_run, model_files, pinned_spans, row_inputs
from llmops_tui.chains.spans import FileJournal, read_spans
from llmops_tui.chains.store import PREFIX
from llmops_tui.chains.tools import ChainTools
from llmops_tui.counts import counted
from llmops_tui.datasets.records import Row
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.store import JobStore
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.answering_files import refuse_others
from llmops_tui.retrieval.held_versions import hold_versions
from llmops_tui.settings import load_settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.line_log import LineLog, whole_lines

_FLUSH_SECONDS = 0.5
_NO_SPACE = "What was done is kept; llmops job resume continues once there is space."


def run(context: JobContext, asked: RunAsked) -> RanRecord:
    """Do what a run is asked for; returns what it came to."""
    catalog = Catalog(context.workspace)
    with ChainTools(catalog) as tools:
        context.report(0.0, "reading the chain")
        resolved = resolve(parse_chain(asked["text"]), tools, model=asked["model"], pins=asked["pins"])
        now, anew = model_files(resolved, tools), "Start the run anew."
        refuse_others(asked.get("models", now), now, (work := f"the run of {asked['chain']}"), anew)
        hold_versions(tools.retrieval, catalog, context.folder, work, anew)
        pinned: list[SpanRecord] = []
        if asked["again"] is not None:
            before = get_run(JobStore(EventLog(context.workspace)), asked["again"]["run"])
            pinned = pinned_spans(before, resolved, asked["again"]["step"])
        return asyncio.run(_Job(context, asked, resolved, tools, pinned).all())


class _Job:
    """One run."""

    def __init__(
        self, context: JobContext, asked: RunAsked, resolved: Resolved, tools: ChainTools, pinned: list[SpanRecord]
    ) -> None:
        self._context, self._asked, self._resolved, self._tools = context, asked, resolved, tools
        self._journal = FileJournal(context.folder, pinned)
        self._cache = AnswerCache(context.workspace, asked["begun_at"] if asked["fresh"] else None)
        self._options = options_from(load_settings()[0])
        self._flushed = 0.0
        self._rows_done = 0
        self._rows = 1

    async def all(self) -> RanRecord:
        """The whole run."""
        supervisor = ServerSupervisor(self._context.workspace)
        asker = Asker(
            self._tools.registry,
            self._cache,
            lambda model: open_endpoint(supervisor, model, self._options),
            options=self._options,
            renderer=self._tools.renderer,
            within=self._context.folder.name,
        )
        version = self._asked["version"]
        ref = f"{PREFIX}{self._asked['chain']}" + ("" if version is None else f"@{version}")
        models = AskedModels(asker, self._options.parallel, ref, self._context.folder.name)
        chain_run = ChainRun(self._resolved, self._tools, models, self._journal, looked=self._look)
        self._run = chain_run
        try:
            if self._asked["dataset"]:
                output, rows, failed = None, *await self._all_rows(chain_run)
            else:
                output, rows, failed = await chain_run.run(self._asked["inputs"]), 1, chain_run.counts.failed
            self._look()
        finally:
            await asker.close()
            try:
                self._cache.close()
            finally:
                self._journal.close()
        counts = chain_run.counts
        return {
            "chain": self._asked["chain"],
            "sha256": self._resolved.chain.sha256,
            "rows": rows,
            "failed": failed,
            "all_failed": self._all_failed(rows, failed) if failed else "",
            "requests": counts.requests,
            "cached": counts.cached,
            "tokens": counts.prompt_tokens + counts.completion_tokens,
            "output": output,
        }

    def _all_failed(self, rows: int, failed: int) -> str:
        if self._asked["dataset"]:
            return self._asked["dataset"] if failed == rows else ""
        return next(
            (
                one["path"]
                for one in read_spans(self._context.folder)
                if "[" not in one["path"] and one["failed"] and one["failed"] == one["rows"]
            ),
            "",
        )

    async def _all_rows(self, chain_run: ChainRun) -> tuple[int, int]:
        """How many rows there were, and how many of them have no result."""
        version = self._tools.datasets.get(self._asked["dataset"])
        limit = self._asked["limit"] or version.rows
        self._rows = max(1, min(limit, version.rows))
        path = self._context.folder / RESULTS
        known = {one["row"]: one for line in whole_lines(path) if line and not (one := orjson.loads(line))["error"]}
        self._rows_done = len(known)
        log = LineLog(path)
        waiting = iter(_rows(version.read(), limit))
        failed = 0

        async def work() -> None:
            nonlocal failed
            for number, row in waiting:
                if number in known:
                    continue
                output, error = None, ""
                try:
                    inputs = await asyncio.to_thread(row_inputs, self._asked, row, self._tools.process)
                    output = await chain_run.run(inputs, f"row[{number}]/")
                except LlmopsError as reason:
                    if reason.code in FATAL:
                        raise
                    failed += 1
                    error = f"{reason.code}: {reason.message}"
                self._rows_done += 1
                log.add(orjson.dumps({"row": number, "output": output, "error": error}) + b"\n", _NO_SPACE)
                self._look()

        tasks = [asyncio.create_task(work()) for _ in range(min(self._rows, max(1, self._options.parallel * 2)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            log.close()
        return self._rows, failed

    def _look(self) -> None:
        """Tell how far it is, and notice a cancel; keep what waits in the cache now and then."""
        now = time.monotonic()
        if now - self._flushed >= _FLUSH_SECONDS:
            self._flushed = now
            self._cache.flush()
        counts = self._run.counts
        parts = [f"row {self._rows_done:,} of {self._rows:,}"] if self._asked["dataset"] else []
        parts += [counted(counts.done, "step"), counted(counts.requests, "request")]
        parts += [f"{counted(counts.failed, 'row')} failed"] if counts.failed else []
        steps = len(self._resolved.chain.body.steps)
        share = (
            self._rows_done / self._rows
            if self._asked["dataset"]
            else min(0.95, counts.done / max(steps, counts.done + 1))
        )
        self._context.report(min(0.99, share), " · ".join(parts))


def _rows(batches: Iterator[list[tuple[int, Row]]], limit: int) -> Iterator[tuple[int, Row]]:
    return islice((pair for batch in batches for pair in batch), limit)
