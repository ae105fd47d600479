"""Files that are shipped to a node of a cluster, each once: a node that has a file by its hash is not sent it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from llmops_tui.training.worker.ray_cluster import NodeLostError

PIECE = 8_000_000


class AskedNode(Protocol):
    """A node that can be asked; see :class:`llmops_tui.training.worker.ray_cluster.RayNode`."""

    def ask(self, method: str, *arguments: object, seconds: float | None = ...) -> Any:
        """Call one of its methods."""


def ship_files(node: AskedNode, files: Mapping[str, tuple[str, Path]], told: Callable[[float], None]) -> None:
    """Have files lie in the attempt's folder on a node, by name with their hashes; ``told`` hears the share that is there.

    Raises:
        NodeLostError: the node is gone, or a file did not arrive as it was sent.
    """
    paths = dict(files.values())
    sizes = {digest: path.stat().st_size for digest, path in paths.items()}
    missing: list[str] = node.ask("missing", sizes, seconds=None)
    whole, done = sum(sizes[digest] for digest in missing), 0
    for digest in missing:
        for offset, data in pieces(paths[digest]):
            told(done / max(1, whole))
            node.ask("take", digest, offset, data)
            done += len(data)
        if not node.ask("keep", digest, seconds=None):
            raise NodeLostError(f"{paths[digest].name} did not arrive as it was sent")
    node.ask("lay", {name: digest for name, (digest, _) in files.items()}, seconds=None)


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """A file in pieces, each with its offset; an empty one is one piece."""
    with path.open("rb") as file:
        offset = 0
        while True:
            data = file.read(PIECE)
            if data or not offset:
                yield offset, data
            offset += len(data)
            if len(data) < PIECE:
                return
