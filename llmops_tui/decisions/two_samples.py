"""Whether two samples of vectors are of one distribution: maximum mean discrepancy, with a permutation test by unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]
# A kernel of more rows than these takes too much memory and time: 2,000 × 2,000 in single precision are 16 MB.
MOST_ROWS = 2000


@dataclass(frozen=True)
class Discrepancy:
    """How far two samples are apart.

    ``squared`` is the squared maximum mean discrepancy, 0 where they are of one kind and at most 2; ``p`` that of the permutation
    test, never below 1/(``permutations`` + 1); ``units`` how many were permuted, of each sample.
    """

    squared: float
    p: float
    permutations: int
    units: tuple[int, int]


def discrepancy(
    reference: npt.ArrayLike,
    window: npt.ArrayLike,
    units: tuple[npt.ArrayLike, npt.ArrayLike],
    seed: int,
    *,
    permutations: int = 999,
) -> Discrepancy:
    """Compare two samples of vectors (n × d and m × d); ``units`` says of whom each row is, such as its conversation.

    Rows of one unit are alike, so whole units change places, not rows. Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel
    two-sample test", JMLR 13, 2012, eq. 5 (the estimate with a bias, which is of no importance for the order of permutations).

    Raises:
        ValueError: a sample is empty, or has more than :data:`MOST_ROWS` rows with the other.
    """
    first, second = np.asarray(reference, np.float32), np.asarray(window, np.float32)
    both = np.concatenate([first, second])
    if not len(first) or not len(second) or len(both) > MOST_ROWS:
        raise ValueError(f"{len(first)} and {len(second)} rows: at least one of each, and {MOST_ROWS} at most")
    return tested(kernel_of(both), len(first), units, seed, permutations=permutations)


def kernel_of(vectors: npt.NDArray[np.floating]) -> Singles:
    """How alike all rows (n × d) are, n × n: Gaussian, as wide as the median of the squared distances."""
    squares = np.maximum(_squared_distances(np.asarray(vectors, np.float32)), 0.0)
    width = float(np.median(squares[np.triu_indices(len(vectors), 1)])) or 1.0
    return np.asarray(np.exp(squares / -width), np.float32)


def tested(
    kernel: Singles,
    first: int,
    units: tuple[npt.ArrayLike, npt.ArrayLike],
    seed: int,
    *,
    permutations: int,
) -> Discrepancy:
    """The same from how alike the rows are, of which the ``first`` so many are the reference's."""
    _, unit_of = np.unique(np.concatenate([_named(units[0], "r"), _named(units[1], "w")]), return_inverse=True)
    count = int(unit_of.max()) + 1
    sizes = np.bincount(unit_of, minlength=count)
    # The kernel summed over the rows of each pair of units: all that a permutation of units needs.
    rows = np.zeros((count, len(kernel)), np.float32)
    rows[unit_of, np.arange(len(kernel))] = 1
    sums = np.asarray(rows @ kernel @ rows.T, np.float32)
    mine = np.zeros(count, np.float32)
    mine[np.unique(unit_of[first:])] = 1
    random = np.random.default_rng(seed)
    chosen = np.stack([mine, *(random.permutation(mine) for _ in range(permutations))])
    found = _squared(sums, sizes.astype(np.float32), np.asarray(chosen, np.float32))
    # The arithmetic of single precision decides no tie.
    p = float((1 + np.sum(found[1:] >= found[0] - 1e-7)) / (permutations + 1))
    inside = int(mine.sum())
    return Discrepancy(max(float(found[0]), 0.0), p, permutations, (count - inside, inside))


def _named(units: npt.ArrayLike, sample: str) -> npt.NDArray[np.str_]:
    """A unit of both samples is one of each: it cannot be in two places."""
    return np.char.add(sample, np.asarray(units).astype(np.str_))


def _squared(sums: Singles, sizes: Singles, chosen: Singles) -> Singles:
    """The squared discrepancy of each choice of units (choices × units), from the kernel's sums over pairs of them."""
    inside, outside = chosen / (chosen @ sizes)[:, None], (1 - chosen) / ((1 - chosen) @ sizes)[:, None]
    weights = inside - outside
    return np.asarray(np.einsum("cu,cu->c", weights @ sums, weights))


def _squared_distances(vectors: Singles) -> Singles:
    norms = np.einsum("nd,nd->n", vectors, vectors)
    return np.asarray(norms[:, None] + norms[None, :] - 2 * (vectors @ vectors.T))
