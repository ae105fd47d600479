"""Search among random vectors and the opening of a map, as many as asked: ``meaning.py [ROWS] [DIMENSIONS]``.

Times are told by the clock and by the processor's, since others on the machine change the first. JSON comes out. Random
vectors are the hardest case: nothing is near to anything. ``recall`` is the share of the ten nearest that are found.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from llmops_tui.embeddings.embedder import unit
from llmops_tui.embeddings.nearest import Nearest
from llmops_tui.embeddings.vector_file import VectorFile
from screens.widgets.scatter import cells_of

_AT_ONCE = 20_000
_QUERIES = 60
_CHECKED = 10


def main(rows: int = 1_000_000, dimensions: int = 384) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        file = VectorFile(Path(name) / "vectors", dimensions)
        for begin in range(0, rows, _AT_ONCE):
            count = min(_AT_ONCE, rows - begin)
            file.append(
                [(begin + n + 1).to_bytes(16, "little") for n in range(count)],
                unit(rng.standard_normal((count, dimensions))),
            )
        file.finish()
        before = _own_memory()
        nearest, queries = Nearest(file), unit(rng.standard_normal((_QUERIES, dimensions)))
        nearest.find(queries[0], 10)
        clock, processor = _timed(lambda n: nearest.find(queries[n], 10), _QUERIES)
        shared = []
        for query in queries[:_CHECKED]:
            cosines = np.concatenate([block @ query for _, block in file.blocks()])
            best = set(np.argpartition(-cosines, 10)[:10].tolist())
            shared.append(len(best & set(nearest.find(query, 10).rows.tolist())) / 10)
        np.save(Path(name) / "points.npy", rng.random((rows, 2)).astype(np.float32))
        np.save(Path(name) / "clusters.npy", rng.integers(0, 64, rows).astype(np.int32))

        def opened(_: int) -> None:
            points, clusters = (np.load(Path(name) / f"{n}.npy", mmap_mode="r") for n in ("points", "clusters"))
            cells_of(points, 100, 40)
            cells_of(points[clusters == 3], 100, 40)

        map_clock, map_processor = _timed(opened, 10)
        size, own = file.size, round(_own_memory() - before, 1)
    return {
        "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
        "rows": rows,
        "dimensions": dimensions,
        "bytes_on_disk": size,
        "search_ms": _figures(clock),
        "search_processor_ms": _figures(processor),
        "recall_at_10": float(np.mean(shared)),
        "map_opens_ms": _figures(map_clock),
        "map_processor_ms": _figures(map_processor),
        "own_memory_mb": own,
    }


def _own_memory() -> float:
    """Megabytes that are the process's own; pages of files, which the system takes back where it needs room, are none."""
    told = Path("/proc/self/status").read_text(encoding="ascii")
    return int(told.split("RssAnon:")[1].split()[0]) / 1024


def _timed(work: Callable[[int], object], times: int) -> tuple[list[float], list[float]]:
    clock, processor = [], []
    for n in range(times):
        begun, before = time.perf_counter(), time.process_time()
        work(n)
        clock.append((time.perf_counter() - begun) * 1000)
        processor.append((time.process_time() - before) * 1000)
    return clock, processor


def _figures(values: list[float]) -> dict[str, float]:
    return {"p50": round(float(np.median(values)), 1), "p95": round(float(np.quantile(values, 0.95)), 1)}


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:3])), indent=2))
