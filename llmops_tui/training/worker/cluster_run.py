"""A run on a node of a cluster: ships what it needs, follows it, takes its checkpoints, and goes on elsewhere from the last.

The run's record, its checkpoints and its result are here, in the folder of its job: nodes keep nothing that is needed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.jobs.worker import JobContext
from llmops_tui.safe_text import safe_line
from llmops_tui.training import checkpoints, control
from llmops_tui.training.examples import Examples
from llmops_tui.training.history import Recorder
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.recipe_parts import FOLDERS
from llmops_tui.training.worker.blobs import place_within, within
from llmops_tui.training.worker.node import OUTCOME, News
from llmops_tui.training.worker.node_facts import NodeFacts, code_sha256, versions
from llmops_tui.training.worker.node_process import BASE, GENERATED, HELD_OUT, START, TRAIN
from llmops_tui.training.worker.outcome import Outcome, StoppedAfterSaveError
from llmops_tui.training.worker.ray_cluster import NodeLostError
from llmops_tui.training.worker.shipping import PIECE, pieces, ship_files
from llmops_tui.workspace.files import make_folder_within, sha256_file
from llmops_tui.workspace.ids import new_id

TAKEN, _TENSORBOARD = "taken", "tensorboard"
NODES_LOST = "nodes_lost"
_POLL_SECONDS = 1.0
# So many nodes in a row may be lost without one new checkpoint.
_LOSSES = 3
_KINDS = frozenset({"start", "step", "eval", "sample", "answer", "event", "checkpoint"})


class RemoteNode(Protocol):
    """A node that a run was given; see :class:`llmops_tui.training.worker.ray_cluster.RayNode`."""

    def ask(self, method: str, *arguments: object, seconds: float | None = ...) -> Any:
        """Call a method of :class:`llmops_tui.training.worker.node.Node`."""

    def drop(self) -> None:
        """Have nothing of the run left on the node, where it can be reached, and give it back."""


class Cluster(Protocol):
    """Where nodes come from."""

    def node(self, attempt: str, check: Callable[[], None]) -> RemoteNode:
        """Ask for a node."""


@dataclass(frozen=True)
class Cargo:
    """What a run needs on a node.

    Attributes:
        kept: files that stay on the node for the next run, by name with their hash: the base, and what a run goes on from.
        own: the run's rows, by name: nothing of them stays.
        ends: whether what was learned is brought here; of a trial its figures are enough.
    """

    recipe: Recipe
    kept: dict[str, tuple[str, Path]]
    own: dict[str, bytes]
    start: bool
    force: bool
    ends: bool = True

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        kept: dict[str, tuple[str, Path]],
        examples: Examples,
        *,
        start: bool,
        force: bool,
        ends: bool = True,
    ) -> Cargo:
        """All of a run; what is ``kept`` is made by :func:`kept_files`."""
        rows: dict[str, list[Any]] = {
            TRAIN: examples.train,
            HELD_OUT: examples.held_out,
            GENERATED: list(map(asdict, examples.generated)),
        }
        own = {name: b"".join(json.dumps(row).encode() + b"\n" for row in found) for name, found in rows.items()}
        return cls(recipe, kept, own, start, force, ends)


def kept_files(base: Path, start: Path | None) -> dict[str, tuple[str, Path]]:
    """The files of a base, and of what a run goes on from, by their names on a node, each with its hash."""
    places = {BASE: base, **({START: start} if start is not None else {})}
    return {
        f"{place}/{path.relative_to(folder)}": (sha256_file(path), path)
        for place, folder in places.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def train_on(cluster: Cluster, cargo: Cargo, context: JobContext, recorder: Recorder) -> Outcome:
    """Train on nodes of a cluster to the end, as :func:`llmops_tui.training.worker.loop.train` does here.

    Raises:
        LlmopsError: ``nodes_lost``, ``node_differs``, and what the run on the node came to.
        StoppedAfterSaveError: it was asked to stop at a checkpoint, and has.
    """
    control.clear(context.folder)
    losses = 0
    while True:
        before = _last_step(context.folder)
        try:
            with _attempt(cluster, context) as node:
                return _Attempt(node, cargo, context, recorder).run()
        except NodeLostError as lost:
            at = _last_step(context.folder)
            losses = 0 if at > before else losses + 1
            message = f"the node is lost: {safe_line(lost.why, limit=300)}"
            if losses >= _LOSSES:
                raise LlmopsError(
                    NODES_LOST,
                    f"{counted(losses, 'node')} in a row were lost without a new checkpoint; {message}",
                    "Look at the cluster, then llmops train resume goes on from the last checkpoint.",
                ) from lost
            hint = f"It goes on from step {at}, on a node that is free."
            recorder.write("event", at, level="warn", message=message, hint=hint)


@contextlib.contextmanager
def _attempt(cluster: Cluster, context: JobContext) -> Iterator[RemoteNode]:
    node = cluster.node(new_id("attempt"), context.check)
    try:
        yield node
    finally:
        node.drop()


def _last_step(folder: Path) -> int:
    found = checkpoints.complete(folder / "checkpoints")
    return found[0].step if found else 0


class _Attempt:
    """One attempt on one node."""

    def __init__(self, node: RemoteNode, cargo: Cargo, context: JobContext, recorder: Recorder) -> None:
        self._node, self._cargo, self._context, self._recorder = node, cargo, context, recorder
        self._folder = context.folder
        self._name = ""
        self._asked = ""
        self._pulled: set[int] = set()

    def run(self) -> Outcome:
        """From shipping to the result."""
        self._context.report(0, control.waits_for(f"a free node of {self._cargo.recipe.target}"))
        facts: NodeFacts = self._node.ask("facts", seconds=None)
        self._name = safe_line(facts["host"], limit=80)
        at = _last_step(self._folder)
        for told in differences([facts]):
            self._recorder.write(
                "event", at, level="warn", message=told, hint="Losses may differ from those of this machine."
            )
        self._ship()
        self._recorder.write(
            "event", at, level="info", message=f"trains on {self._name} of {self._cargo.recipe.target}", hint=""
        )
        self._node.ask(
            "begin",
            {
                "recipe": self._cargo.recipe.model_dump() | {"target": ""},
                "start": self._cargo.start,
                "force": self._cargo.force,
            },
        )
        return self._ended(self._follow())

    # ── shipping ──

    def _ship(self) -> None:
        def told(share: float) -> None:
            self._context.report(0, f"ships the base to {self._name}: {share:.0%}")

        ship_files(self._node, self._cargo.kept, told)
        for name, body in self._cargo.own.items():
            for offset in range(0, max(1, len(body)), PIECE):
                self._node.ask("write", name, offset, body[offset : offset + PIECE])
        for folder in self._begun():
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    for offset, data in pieces(path):
                        self._node.ask("write", str(path.relative_to(self._folder)), offset, data)

    def _begun(self) -> list[Path]:
        """What an earlier attempt made that the next one needs: the newest checkpoint, the best, and the adapter's beginning."""
        place = self._folder / "checkpoints"
        newest, notes = checkpoints.newest(place) if place.is_dir() else (None, [])
        for note in notes:
            self._recorder.write("event", newest.step if newest else 0, level="warn", message=note, hint="")
        found = [one for one in (newest, checkpoints.best(place)) if one is not None]
        self._pulled = {one.step for one in checkpoints.complete(place)}
        taken = [self._folder / TAKEN] if (self._folder / TAKEN).is_dir() else []
        return [*dict.fromkeys(one.path for one in found), *taken]

    # ── following ──

    def _follow(self) -> News:
        """Record what the run tells and take its checkpoints until it ends; returns the last news."""
        offset = 0
        while True:
            news: News = self._node.ask("news", offset)
            offset += len(news["lines"])
            self._record(news["lines"])
            for step in sorted(set(news["checkpoints"]) - self._pulled):
                self._pull(step)
            if news["code"] is not None:
                return news
            if news["progress"] is not None:
                share, told = news["progress"]
                self._context.report(min(1.0, max(0.0, share)), f"{safe_line(told, limit=200)} · {self._name}")
            self._context.check()
            self._pass_on()
            if not news["lines"]:
                time.sleep(_POLL_SECONDS)

    def _record(self, lines: bytes) -> None:
        for line in lines.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = parse_json(line)
                kind, step = record.pop("kind"), int(record.pop("step"))
                if kind in _KINDS:
                    record.pop("at", None)
                    self._recorder.write(kind, step, **record)

    def _pass_on(self) -> None:
        """Tell the node what was asked of the run here."""
        asked = control.asked(self._folder)
        if asked and asked != self._asked:
            self._node.ask("ask", asked)
            self._asked = asked
        if control.take_save_now(self._folder):
            self._node.ask("ask", control.SAVE)

    def _pull(self, step: int) -> None:
        """Take a checkpoint; one that the node has pruned meanwhile is not taken."""
        self._pulled.add(step)
        name = f"checkpoint-{step}"
        place = checkpoints.staging(self._folder / "checkpoints")
        if not self._copy(f"checkpoints/{name}", place / name):
            return
        marker = parse_json((place / name / checkpoints.MARKER).read_bytes())
        (place / name / checkpoints.MARKER).unlink()
        hashes: Mapping[str, str] = marker["sha256"]
        wrong = [part for part, digest in hashes.items() if sha256_file(within(place / name, part)) != digest]
        if wrong:
            raise NodeLostError(f"{wrong[0]} of {name} did not arrive as it was written")
        loss = marker.get("eval_loss")
        checkpoints.commit(self._folder / "checkpoints", step, None if loss is None else float(loss))
        checkpoints.prune(self._folder / "checkpoints", self._cargo.recipe.checkpoints.keep)
        for beside in (TAKEN, _TENSORBOARD):
            self._replace(beside)

    def _copy(self, name: str, target: Path) -> bool:
        """Copy a folder of the node; false where not all of it is there."""
        files: dict[str, int] = self._node.ask("listing", name)
        target.mkdir(mode=0o700, exist_ok=True)
        for part, size in files.items():
            path = place_within(target, part)
            with path.open("wb") as file:
                path.chmod(0o600)
                while file.tell() < size:
                    data: bytes | None = self._node.ask("read", f"{name}/{part}", file.tell(), PIECE)
                    if not data:
                        return False
                    file.write(data)
        return bool(files)

    def _read(self, name: str) -> bytes:
        """A file of the run on the node; empty where it is not there."""
        found = b""
        while data := self._node.ask("read", name, len(found), PIECE):
            found += data
        return found

    def _replace(self, name: str) -> None:
        """Have a folder as the node has it; where the node has none it stays."""
        part = make_folder_within(self._folder / f".{name}.part")
        try:
            if self._copy(name, part):
                shutil.rmtree(self._folder / name, ignore_errors=True)
                part.rename(self._folder / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    # ── the end ──

    def _ended(self, news: News) -> Outcome:
        raw = self._read(OUTCOME) if news["code"] == 0 else b""
        if not raw:
            code = news["code"] or 0
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            said = f": {safe_line(news['log'], limit=300)}" if news["log"] else ""
            raise LlmopsError(
                "node_failed",
                f"the process of the run on {self._name} {how}{said}",
                "llmops train resume continues from the last checkpoint.",
            )
        found: JsonObject = parse_json(raw)
        if "stopped" in found:
            control.clear(self._folder)
            raise StoppedAfterSaveError(str(found["stopped"]))
        if "failed" in found:
            failure, message, hint = (safe_line(str(one), limit=2000) for one in found["failed"])
            raise LlmopsError(failure, f"{message} (on {self._name})", hint)
        for name in (FOLDERS[self._cargo.recipe.tuning], _TENSORBOARD) if self._cargo.ends else ():
            self._replace(name)
        figures = [None if found[name] is None else float(found[name]) for name in ("loss", "eval_loss")]
        recipe = check(found["recipe"] | {"target": self._cargo.recipe.target})
        adapter = within(self._folder, str(found["adapter"]))
        return Outcome(int(found["steps"]), adapter, figures[0], figures[1], recipe, int(found["peak_bytes"]))


def differences(nodes: list[NodeFacts]) -> list[str]:
    """How the versions of nodes differ from those here.

    Raises:
        LlmopsError: ``node_differs``: a node has another llmops, or lacks what trains.
    """
    own, code, found = versions(), code_sha256(), []
    for node in nodes:
        host = safe_line(node["host"], limit=80)
        lacking = [name for name, version in own.items() if version and not node["versions"].get(name)]
        if node["code"] != code or lacking:
            what = f"lacks {', '.join(lacking)}" if lacking else "has another llmops than this machine"
            raise LlmopsError(
                "node_differs",
                f"{host} of the cluster {what}",
                "Install the same version on all nodes, with its extra train.",
            )
        found += [
            f"{host} has {name} {safe_line(there, limit=40)}, this machine {version}"
            for name, version in own.items()
            if (there := node["versions"].get(name, "")) != version
        ]
    return found
