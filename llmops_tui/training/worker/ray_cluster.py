"""A Ray cluster that the user has: found, looked at, and asked for a node. The only module that imports Ray.

Ray sends code and pickled values between its nodes, so whoever controls one of them can run code as the user here, too.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.training.targets import Target
from llmops_tui.training.worker.node import Node, node_folder
from llmops_tui.training.worker.node_facts import NodeFacts, node_facts

_SILENT_SECONDS = 90.0
_GONE_SECONDS = 60.0
_LOOK_SECONDS = 180.0
_END_SECONDS = 10.0
_WAIT_SECONDS = 1.0
_CONNECT = "llmops train plan shows the cluster; ray status, on one of its nodes, tells whether it runs."


class NodeLostError(Exception):
    """A node, or the process of the run on it, is gone; ``why`` is what Ray says of it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class RayNode:
    """A node that a run was given, asked through Ray."""

    def __init__(self, ray: Any, actor: Any, check: Callable[[], None]) -> None:
        self._ray, self._actor, self._check = ray, actor, check

    def ask(self, method: str, *arguments: object, seconds: float | None = _SILENT_SECONDS) -> Any:
        """Call a method of :class:`llmops_tui.training.worker.node.Node`; once more where the answer was lost on its way.

        Without ``seconds`` it waits for as long as it takes.

        Raises:
            NodeLostError: the node is gone, or silent for so long.
            LlmopsError: the method refused.
        """
        errors = self._ray.exceptions
        gone = time.monotonic() + _GONE_SECONDS
        while True:
            try:
                return self._answer(getattr(self._actor, method).remote(*arguments), seconds)
            except errors.ActorUnavailableError as error:
                if time.monotonic() > gone:
                    raise NodeLostError(_first_line(error)) from error
                time.sleep(_WAIT_SECONDS)
                self._check()
            except errors.RayTaskError as error:
                cause = error.cause
                raise cause if isinstance(cause, LlmopsError) else NodeLostError(_first_line(cause or error)) from error
            except errors.RayError as error:
                raise NodeLostError(_first_line(error)) from error

    def _answer(self, asked: Any, seconds: float | None) -> Any:
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            self._check()
            ready, _ = self._ray.wait([asked], timeout=_WAIT_SECONDS)
            if ready:
                return self._ray.get(asked)
            if until is not None and time.monotonic() > until:
                raise NodeLostError(f"it has not answered for {_SILENT_SECONDS:.0f} s")

    def drop(self) -> None:
        """Have nothing of the run left on the node, where it can be reached, and give it back."""
        # A node that is gone has nothing to say, and a job that was asked to stop does not wait for one.
        with contextlib.suppress(Exception):
            self._ray.get(self._actor.end.remote(), timeout=_END_SECONDS)
        with contextlib.suppress(Exception):
            self._ray.kill(self._actor)


class RayCluster:
    """A cluster that this process is connected to."""

    def __init__(self, ray: Any, target: Target, shares: int = 1) -> None:
        self._ray = ray
        self.target = target
        self._shares = shares

    def node(self, attempt: str, check: Callable[[], None], kind: type[Node] = Node) -> RayNode:
        """Ask for a node; Ray chooses it, once one is free. ``check`` is called while it is waited for.

        ``kind`` is what is done there.
        """
        wanted = self._wanted(self._usable())
        actor = self._ray.remote(kind).options(**wanted, max_restarts=0, max_task_retries=0).remote(attempt)
        return RayNode(self._ray, actor, check)

    def places(self) -> int:
        """How many runs it can train at once as it is now: one a GPU, or one a node where there are none."""
        usable = self._usable()
        cards = [int(min(node["Resources"].get(name, 0) for name in ("GPU", "CPU"))) for node in usable]
        return sum(cards) if any(node["Resources"].get("GPU") for node in usable) else len(usable)

    def shared(self, count: int) -> RayCluster:
        """The cluster as ``count`` runs at once use it: more than it has nodes share the processors of each.

        Raises:
            LlmopsError: ``no_place``: it has not so many GPUs or processors.
        """
        usable, places = self._usable(), self.places()
        shares = -(-count // max(1, places))
        gpu = any(node["Resources"].get("GPU") for node in usable)
        most = places if gpu else len(usable) * int(min(node["Resources"]["CPU"] for node in usable))
        if count > most:
            what = "GPU" if gpu else "processor"
            raise LlmopsError(
                "no_place",
                f"{count} at once, and {self.target.told} has place for {most}: each needs a {what} of its own, "
                f"{'with a processor' if gpu else 'and of each node as many are taken'}",
                "Leave --at-once out, or ask for fewer.",
            )
        return RayCluster(self._ray, self.target, shares)

    def look(self) -> list[NodeFacts]:
        """The facts of each node that a run could get.

        Raises:
            LlmopsError: ``no_node``: there is none; ``node_silent``: one does not answer.
        """
        usable = self._usable()
        asked = self._ray.remote(_look)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        answers = [
            asked.options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(bool(node["Resources"].get("GPU")))
            for node in usable
        ]
        try:
            return cast("list[NodeFacts]", self._ray.get(answers, timeout=_LOOK_SECONDS))
        except self._ray.exceptions.RayError as error:
            raise LlmopsError(
                "node_silent",
                f"a node of {self.target.told} cannot be asked what it is: {_first_line(error)}",
                "Each node needs the same Python, Ray and llmops, with the extra train, as this machine.",
            ) from error

    def _usable(self) -> list[Any]:
        """The nodes with GPUs, or where there are none those with processors that are lent to runs."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        cards = [node for node in alive if node["Resources"].get("GPU", 0) >= 1]
        found = cards or [node for node in alive if node["Resources"].get("CPU", 0) >= 1]
        if not found:
            raise LlmopsError(
                "no_node",
                f"{self.target.told} has no node with a GPU or a processor to lend",
                "ray status, on one of its nodes, shows what it has.",
            )
        return found

    def _wanted(self, usable: Sequence[Any]) -> dict[str, float]:
        """What a run takes of a node: a GPU with a processor, or of a host its share of as many processors as each node has."""
        if any(node["Resources"].get("GPU") for node in usable):
            return {"num_gpus": 1, "num_cpus": 1}
        return {"num_cpus": int(min(node["Resources"]["CPU"] for node in usable)) // self._shares}


def _look(gpu: bool) -> NodeFacts:
    """The facts of the node that this runs on; without a card of its own, Ray hides them all."""
    if gpu:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    return node_facts(node_folder())


@contextlib.contextmanager
def connected(target: Target) -> Iterator[RayCluster]:
    """A cluster, as long as it is needed.

    Raises:
        LlmopsError: ``no_ray``: the extra is not installed; ``no_cluster``: it cannot be reached.
    """
    prepare_environment(os.environ)
    try:
        import ray
    except ImportError as error:
        raise LlmopsError(
            "no_ray", f"{target.told} needs Ray, which is not installed", "Install llmops-tui with its extra ray."
        ) from error
    stops = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(address=target.address, namespace="llmops", log_to_driver=False, configure_logging=False)
    except Exception as error:
        raise LlmopsError(
            "no_cluster", f"{target.told} cannot be reached: {_first_line(error)}", _hint(target)
        ) from error
    finally:
        # Ray would end this process where a job is asked to stop in good order.
        for number, handler in stops.items():
            signal.signal(number, handler)
    try:
        yield RayCluster(ray, target)
    finally:
        ray.shutdown()


def prepare_environment(environment: Any) -> None:
    """Set what Ray reads when it is imported: it tells nobody of its use, and shows its token where the user has one."""
    environment["RAY_USAGE_STATS_ENABLED"] = "0"
    kept = Path(environment.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if environment.get("RAY_AUTH_TOKEN") or kept.is_file():
        environment.setdefault("RAY_AUTH_MODE", "token")


def authenticated(environment: Any) -> bool:
    """Whether a token is shown to the cluster."""
    return str(environment.get("RAY_AUTH_MODE", "")).lower() == "token"


def _hint(target: Target) -> str:
    if target.address == "auto":
        return f"{_CONNECT} This machine has to be one of its nodes."
    join = f"ray start --address={target.address} --num-cpus=0"
    return f"{_CONNECT} This machine has to be one of its nodes: {join} joins it, and lends nothing of it."


def ray_version() -> str:
    """The version of Ray here; empty where it is not installed."""
    try:
        return importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
