"""A node of a cluster that answers requests: it loads models that were shipped to it, and answers shards of a file.

As :class:`llmops_tui.training.worker.node.Node`, it knows nothing of Ray. Its workspace is a folder of the attempt: nothing of
the requests or answers stays when it ends; model files do, by their hash, for the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.batch.job import answer_here, refusal
from llmops_tui.inference.batch.requests import RequestFile
from llmops_tui.inference.filed.output import OutputLine, failed
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.engine_settings import from_json
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.training.worker.node import Node
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

_WORKSPACE, _SHARD = "workspace", "shard.jsonl"


class ShardAnswered(TypedDict):
    """What came of a shard: a line of the output for each request, and the requests as the event log has them."""

    lines: list[OutputLine]
    events: list[tuple[str, str, str]]


class _Kept:
    """Answers in memory; see :class:`llmops_tui.inference.batch.job.AnswerLog`."""

    def __init__(self) -> None:
        self.done: dict[str, bool] = {}
        self.lines: list[OutputLine] = []

    def add(self, line: OutputLine) -> None:
        self.lines.append(line)
        self.done[line["custom_id"]] = failed(line)


class AnswerNode(Node):
    """One attempt of a batch on one node."""

    def __init__(self, attempt: str) -> None:
        super().__init__(attempt)
        self._workspace = Workspace(self.folder / _WORKSPACE)
        self._options = LoadOptions()
        self._job = ""
        self._told = 0

    def open(self, models: Mapping[str, str], options: JsonObject, job: str) -> None:
        """Make the models of shipped files known, by their names; ``options`` are how they are loaded.

        Raises:
            LlmopsError: a file is no model, or damaged.
        """
        make_workspace(self._workspace, own=False)
        registry = ModelRegistry(Catalog(self._workspace))
        known = {model.name for model in registry.all()}
        for name, place in models.items():
            if name not in known:
                registry.add(self.folder / place, name)
        # A node that is gone leaves no model behind.
        self._options, self._job = replace(LoadOptions(**from_json(options)), needed_by=os.getpid()), job

    def answer(self, shard: bytes) -> ShardAnswered:
        """Answer the lines of a shard, whose models have the names that :meth:`open` gave them.

        Raises:
            LlmopsError: a line cannot be asked here, or a model not be loaded.
        """
        path = self.folder / _SHARD
        write_atomic(path, shard.decode("utf-8", "surrogatepass"))
        registry = ModelRegistry(Catalog(self._workspace))
        file = RequestFile(path, registry.all(), {})
        checked = file.check()
        if checked.problems:
            raise refusal(checked, path)
        self._load({line.model.model.name: line.model.model for line in checked.lines})
        kept = _Kept()
        asyncio.run(answer_here(self._workspace, self._options, file, checked, kept, job=self._job))
        return {"lines": kept.lines, "events": self._events()}

    def _load(self, wanted: Mapping[str, Model]) -> None:
        """Have just these models loaded, so that they stay from one shard to the next."""
        supervisor = ServerSupervisor(self._workspace)
        for handle in supervisor.running():
            if handle.model not in wanted:
                supervisor.stop(handle.model)
        for model in wanted.values():
            supervisor.ensure(model, self._options)

    def _events(self) -> list[tuple[str, str, str]]:
        """What the servers noted of requests since it was asked the last time."""
        rows: Sequence[tuple[int, str, str, str]] = (
            EventLog(self._workspace)
            .connection()
            .execute(
                "SELECT seq, kind, key, body FROM events WHERE seq > ? AND kind = 'request' ORDER BY seq", (self._told,)
            )
            .fetchall()
        )
        if rows:
            self._told = rows[-1][0]
        return [(kind, key, body) for _, kind, key, body in rows]

    def end(self) -> None:
        """Unload the models, and remove the folder."""
        with contextlib.suppress(LlmopsError, OSError):
            supervisor = ServerSupervisor(self._workspace)
            for handle in supervisor.running():
                supervisor.stop(handle.model)
        super().end()
