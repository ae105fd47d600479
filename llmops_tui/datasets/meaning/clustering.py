"""Clusters of vectors, and where each lies on a plane; the same vectors always give the same."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt

from llmops_tui.embeddings.embedder import Vectors, unit
from llmops_tui.embeddings.vector_file import BLOCK

# Clusters are fitted to so many rows, and all rows are assigned.
_FITTED_ROWS = 100_000
_SEED = 0
# A point lies between the centres of its nearest clusters, the nearer the more.
_BETWEEN = 4
_SHARPNESS = 25.0

Numbers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]
Points = npt.NDArray[np.float32]


def one_thread() -> AbstractContextManager[object]:
    """Within it small problems are solved by one thread: on a busy machine several wait for each other most of the time."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def usual_count(rows: int) -> int:
    """How many clusters a number of rows invites: as its root, from 2 to 64."""
    return int(np.clip(round(np.sqrt(rows) / 1.5), min(2, max(1, rows)), 64))


def fit_clusters(vectors: npt.NDArray[np.floating], rows: Numbers, count: int) -> Vectors:
    """The centres of clusters of some rows, clusters × dimensions, each of length 1: k-means on vectors of length 1."""
    from sklearn.cluster import MiniBatchKMeans

    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), _FITTED_ROWS)).astype(np.int64)]
    data = np.asarray(vectors[chosen], np.float32)
    count = min(count, len(np.unique(data, axis=0))) if len(data) <= BLOCK else count
    wanted = MiniBatchKMeans(
        n_clusters=max(1, count), random_state=_SEED, batch_size=4096, n_init=3, max_iter=100, reassignment_ratio=0.01
    )
    with one_thread() if len(data) <= BLOCK else nullcontext():
        fitted = wanted.fit(data)
    return unit(fitted.cluster_centers_)


def nearest_clusters(vectors: npt.NDArray[np.floating], rows: Numbers, centres: Vectors) -> Labels:
    """Of each of some rows the number of the nearest centre."""
    found = np.empty(len(rows), np.int32)
    for begin in range(0, len(rows), BLOCK):
        part = np.asarray(vectors[rows[begin : begin + BLOCK]], np.float32)
        found[begin : begin + BLOCK] = np.argmax(part @ centres.T, axis=1)
    return found


def place_centres(centres: Vectors) -> Points:
    """Centres on a plane, clusters × 2, so that those that are near stay near: t-SNE, begun from principal components.

    Source: van der Maaten and Hinton, "Visualizing data using t-SNE", 2008. Up to three centres lie on a line.
    """
    count = len(centres)
    if count <= 3:
        return np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.float32)
    from sklearn.manifold import TSNE

    placing = TSNE(
        n_components=2, perplexity=min(10.0, (count - 1) / 3), init="pca", random_state=_SEED, method="exact"
    )
    with one_thread():
        placed = placing.fit_transform(np.asarray(centres, np.float64))
    return np.asarray(placed, np.float32)


def place_rows(vectors: npt.NDArray[np.floating], rows: Numbers, centres: Vectors, placed: Points) -> Points:
    """Some rows on the plane of their centres, rows × 2, each between the four nearest by their cosines."""
    found = np.empty((len(rows), 2), np.float32)
    between = min(_BETWEEN, len(centres))
    for begin in range(0, len(rows), BLOCK):
        part = np.asarray(vectors[rows[begin : begin + BLOCK]], np.float32)
        cosines = part @ centres.T
        nearest = np.argpartition(cosines, -between, axis=1)[:, -between:]
        near = np.take_along_axis(cosines, nearest, axis=1)
        weights = np.exp(_SHARPNESS * (near - near.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        found[begin : begin + BLOCK] = np.einsum("rk,rkd->rd", weights, placed[nearest])
    return found
