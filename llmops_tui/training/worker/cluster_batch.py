"""A file of requests answered on the nodes of a cluster, shard by shard; a node that dies costs the shard it was at.

The answers, and which of them there are, are here, in the output and the folder of the job: what a node has answered counts
when it was brought here. A shard is named by its contents, so that the journal says what it was, whatever file it was of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.batch.job import answer_file, open_requests, told_of
from llmops_tui.inference.batch.requests import CheckedFile, Line, RequestFile
from llmops_tui.inference.filed.batches import BatchDone
from llmops_tui.inference.filed.output import OutputLog
from llmops_tui.inference.options import options_from
from llmops_tui.jobs.worker import JobCancelledError, JobContext
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.safe_text import safe_line
from llmops_tui.settings import load_settings
from llmops_tui.training.targets import target_of
from llmops_tui.training.worker.answer_node import AnswerNode, ShardAnswered
from llmops_tui.training.worker.node import Node
from llmops_tui.training.worker.node_facts import NodeFacts, code_sha256
from llmops_tui.training.worker.ray_cluster import NodeLostError, connected
from llmops_tui.training.worker.shipping import AskedNode, ship_files
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import append_bytes
from llmops_tui.workspace.ids import new_id

SHARDS = "shards.jsonl"
"""The journal of a job: each shard that was answered or lost, by its hash, on which node, and in how many seconds."""
SHARD_ROWS = 64
# So many nodes in a row may be lost without one new answer.
_LOSSES = 6
_LOOK_SECONDS = 0.2


class BatchNode(AskedNode, Protocol):
    """A node that answers."""

    def drop(self) -> None:
        """Have nothing of the batch left there, and give it back."""


class BatchCluster(Protocol):
    """Where nodes come from; see :class:`llmops_tui.training.worker.ray_cluster.RayCluster`."""

    def node(self, attempt: str, check: Callable[[], None], kind: type[Node] = ...) -> BatchNode:
        """Ask for a node."""

    def places(self) -> int:
        """How many can be had at once."""

    def look(self) -> list[NodeFacts]:
        """What the nodes are."""


@dataclass(frozen=True)
class Shard:
    """Some lines of a file: their names, and what a node is sent of them, by whose hash it is called."""

    names: tuple[str, ...]
    body: bytes

    @property
    def sha256(self) -> str:
        """What it is called."""
        return hashlib.sha256(self.body).hexdigest()


class _NothingLeftError(Exception):
    """A node is not needed any more: all is answered, or under way elsewhere."""


def run(context: JobContext, requests: str, output: str, model: str, target: str) -> BatchDone:
    """Answer the lines of ``requests`` that ``output`` has no answer to, on the cluster ``target``.

    Raises:
        LlmopsError: ``no_cluster``; ``node_differs``: a node has another llmops; ``nodes_lost``: all there were.
    """
    file = open_requests(context.workspace, Path(requests), model)

    def answer(log: OutputLog, checked: CheckedFile) -> None:
        with connected(target_of(target)) as cluster:
            ClusterBatch(cluster, context, file, checked, log).run()

    return answer_file(context, file, output, answer)


class ClusterBatch:
    """Answers a file on a cluster: a thread for each node that can be had, which asks for shards until there are none."""

    def __init__(
        self,
        cluster: BatchCluster,
        context: JobContext,
        file: RequestFile,
        checked: CheckedFile,
        log: OutputLog,
        rows: int = SHARD_ROWS,
    ) -> None:
        self._cluster, self._context, self._checked, self._log = cluster, context, checked, log
        left = [line for line in checked.lines if line.custom_id not in log.done]
        self._files = _model_files(context, left)
        self._options: JsonObject = json.loads(json.dumps(asdict(options_from(load_settings()[0]))))
        self._left = deque(shards_of(file, left, rows))
        self._under_way = 0
        self._losses = 0
        self._state = threading.Lock()
        self._failure: BaseException | None = None
        self._event_log = EventLog(context.workspace)

    def run(self) -> None:
        """Answer all of it.

        Raises:
            LlmopsError: as :func:`run`.
        """
        check_nodes(self._cluster.look())
        threads = [
            threading.Thread(target=self._work, name=f"node {n}", daemon=True)
            for n in range(max(1, min(self._cluster.places(), len(self._left))))
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                share = len(self._log.done) / len(self._checked.lines)
                self._context.report(min(0.99, share), told_of(self._checked, self._log))
                time.sleep(_LOOK_SECONDS)
        except JobCancelledError as error:
            self._fail(error)
            raise
        finally:
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure
        self._context.report(1, told_of(self._checked, self._log))

    def _work(self) -> None:
        while self._wanted():
            try:
                self._on_a_node()
            except _NothingLeftError:
                return
            except NodeLostError as lost:
                self._note_loss(lost)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the job fails of it and not one thread alone
                self._fail(error)

    def _on_a_node(self) -> None:
        attempt = new_id("attempt")
        node = self._cluster.node(attempt, self._check_wanted, AnswerNode)
        try:
            ship_files(node, self._files, lambda _share: self._check_wanted())
            models = {Path(name).stem: name for name in self._files}
            node.ask("open", models, self._options, self._context.job_id, seconds=None)
            while (shard := self._next()) is not None:
                self._answer(node, shard, attempt)
        finally:
            node.drop()

    def _answer(self, node: BatchNode, shard: Shard, attempt: str) -> None:
        begun = time.monotonic()
        try:
            answered: ShardAnswered = node.ask("answer", shard.body, seconds=None)
        except BaseException:
            with self._state:
                self._under_way -= 1
                # First of all: others may have answered all else.
                self._left.appendleft(shard)
                self._journal(shard, attempt, "lost", begun)
            raise
        with self._state:
            self._under_way -= 1
            self._losses = 0
            self._take(shard, answered)
            self._journal(shard, attempt, "answered", begun)

    def _take(self, shard: Shard, answered: ShardAnswered) -> None:
        """Keep what a node answered: of each line that was asked of it one answer, and no other."""
        asked = set(shard.names)
        for line in answered["lines"]:
            name = line["custom_id"]
            if name in asked and name not in self._log.done:
                self._log.add(line)
        if missing := asked - set(self._log.done):
            raise LlmopsError("shard_unanswered", f"a node gave no answer to {min(missing)[:100]!r}", "Resume the job.")
        self._event_log.append_many([(kind, key, json.loads(body)) for kind, key, body in answered["events"]])

    def _journal(self, shard: Shard, attempt: str, what: str, begun: float) -> None:
        told = {
            "shard": shard.sha256, "rows": len(shard.names), "node": attempt, "what": what,
            "seconds": round(time.monotonic() - begun, 3),
        }  # fmt: skip
        with append_bytes(self._context.folder / SHARDS) as file:
            file.write(json.dumps(told).encode() + b"\n")

    def _next(self) -> Shard | None:
        """The next shard; none where all are answered. It waits while others may yet lose theirs."""
        while True:
            with self._state:
                if self._failure is not None:
                    return None
                if self._left:
                    self._under_way += 1
                    return self._left.popleft()
                if not self._under_way:
                    return None
            time.sleep(_LOOK_SECONDS)

    def _wanted(self) -> bool:
        with self._state:
            return self._failure is None and bool(self._left or self._under_way)

    def _check_wanted(self) -> None:
        """Called while a node is asked, or waited for."""
        if not self._wanted():
            raise _NothingLeftError

    def _note_loss(self, lost: NodeLostError) -> None:
        with self._state:
            self._losses += 1
            losses = self._losses
        if losses >= _LOSSES:
            self._fail(
                LlmopsError(
                    "nodes_lost",
                    f"{counted(losses, 'node')} in a row were lost without a new answer; {safe_line(lost.why, limit=300)}",
                    "Look at the cluster; llmops job resume then asks what is left.",
                )
            )

    def _fail(self, error: BaseException) -> None:
        with self._state:
            if self._failure is None:
                self._failure = error


def shards_of(file: RequestFile, lines: Iterable[Line], rows: int) -> Iterator[Shard]:
    """Lines in shards of one model each, in the order of the file, with the names that nodes know the models by."""
    by_model: dict[str, list[Line]] = {}
    for line in lines:
        by_model.setdefault(line.model.model.name, []).append(line)
    for found in by_model.values():
        for begin in range(0, len(found), rows):
            part = found[begin : begin + rows]
            with contextlib.closing(file.bodies(part)) as bodies:
                told = [
                    {"custom_id": line.custom_id, "method": "POST", "url": line.url, "body": body}
                    for line, body in bodies
                ]
            body = b"".join(json.dumps(one).encode() + b"\n" for one in told)
            yield Shard(tuple(line.custom_id for line in part), body)


def check_nodes(nodes: list[NodeFacts]) -> None:
    """Refuse a cluster with a node whose llmops is another one.

    Raises:
        LlmopsError: ``node_differs``.
    """
    for node in nodes:
        if node["code"] != code_sha256():
            raise LlmopsError(
                "node_differs",
                f"{safe_line(node['host'], limit=80)} of the cluster has another llmops than this machine",
                "Install the same version on all nodes.",
            )


def _model_files(context: JobContext, lines: Iterable[Line]) -> dict[str, tuple[str, Path]]:
    """The files of the models that lines go to, and of the adapters beside them, by their names on a node.

    Raises:
        LlmopsError: ``model_in_parts``: one is of several files.
    """
    known = {model.name: model for model in ModelRegistry(Catalog(context.workspace)).all()}
    names = {name for line in lines for name in line.model.name.split("+")}
    found: dict[str, tuple[str, Path]] = {}
    for name in sorted(names):
        model: Model = known[name]
        files: list[Any] = model.files
        if len(files) != 1:
            told = f"{name!r} is of {len(files)} files, and is not shipped to nodes"
            raise LlmopsError("model_in_parts", told, "Answer this batch without --target.")
        found[f"models/{name}.gguf"] = (model.sha256, files[0])
    return found
