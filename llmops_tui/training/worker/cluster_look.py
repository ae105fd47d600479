"""What a run is told of its cluster before it trains there: the nodes with their memory, and what differs from this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmops_tui.hardware.memory import HOST
from llmops_tui.safe_text import safe_line
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.preflight_memory import Place
from llmops_tui.training.targets import target_of

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.worker.node_facts import NodeFacts
    from llmops_tui.training.worker.ray_cluster import RayCluster


@contextlib.contextmanager
def cluster_of(recipe: Recipe) -> Iterator[RayCluster | None]:
    """The cluster of a recipe, connected; none where it trains on this machine."""
    if not recipe.target:
        yield None
        return
    from llmops_tui.training.worker.ray_cluster import connected

    with connected(target_of(recipe.target)) as cluster:
        yield cluster


def places_of(recipe: Recipe) -> tuple[list[Place] | None, list[Finding]]:
    """The devices that a run may get on a cluster, and what is to be said of it; nothing where it trains on this machine.

    Raises:
        LlmopsError: the cluster cannot be reached, no node can be had, or one lacks what trains.
    """
    with cluster_of(recipe) as cluster:
        return (None, []) if cluster is None else _look(cluster)


def _look(cluster: RayCluster) -> tuple[list[Place], list[Finding]]:
    from llmops_tui.training.worker.cluster_run import differences
    from llmops_tui.training.worker.ray_cluster import authenticated

    nodes = cluster.look()
    found = [
        Finding("warn", "node_versions", told, "Losses may differ from those of this machine.")
        for told in differences(nodes)
    ]
    if not authenticated(os.environ):
        found.append(
            Finding(
                "warn",
                "cluster_open",
                f"{cluster.target.told} is reached without a token: whoever reaches its ports runs code on its nodes",
                "Start its nodes with RAY_AUTH_MODE=token and the same token, which llmops shows from ~/.ray/auth_token, too.",
            )
        )
    return [place_of(node, number) for number, node in enumerate(nodes, 1)], found


def place_of(node: NodeFacts, number: int) -> Place:
    """A node as a place for a run; two nodes of one host are told apart by their number."""
    gpu = node["device"] != HOST
    card = f" ({safe_line(node['card'], limit=60)})" if gpu else ""
    return Place(
        f"node {number}, {safe_line(node['host'], limit=80)}{card}", node["total"], node["free"], gpu, node["disk"]
    )
