"""Work on many rows beside DuckDB, polars and ``datasets``: import, export, exact duplicates, profile and filter.

``python tools/bench/bulk.py [--rows N] [--chats BYTES] [--rounds N] [--only WORK] [--to FILE]``. With ``--chats`` there are
import and export of long conversations too, in a file of so many bytes. In each round every program does each work
once, one after another, so that other load on the machine meets all alike; what is told are the medians of processor seconds,
of all threads, and of seconds by the clock, and the ratios to DuckDB's as the medians of the rounds' ratios. DuckDB has two
threads; for conversations there is one of a single thread, too. Programs are loaded before.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmops_tui.datasets.column_statistics import column_statistics  # noqa: E402
from llmops_tui.datasets.export_job import export  # noqa: E402
from llmops_tui.datasets.import_job import import_now  # noqa: E402
from llmops_tui.datasets.operations.base import apply  # noqa: E402
from llmops_tui.datasets.profile import profile  # noqa: E402
from llmops_tui.datasets.store import DatasetStore  # noqa: E402
from llmops_tui.jobs.launcher import ENVIRONMENT  # noqa: E402
from llmops_tui.workspace.catalog import Catalog  # noqa: E402
from llmops_tui.workspace.catalog_file import connect_memory  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402

WORDS = (
    "order",
    "refund",
    "kettle",
    "lamp",
    "please",
    "delivery",
    "money",
    "customer",
    "service",
    "of",
    "to",
    "and",
    "in",
)
WHERE = "n % 3 > 0"
# As a job has it; read when pyarrow is loaded, which is later.
os.environ.update(ENVIRONMENT)
Works = dict[str, dict[str, Callable[[Path], Any]]]


def write_short(path: Path, rows: int) -> None:
    """A number, some words and a label a row; one row in twenty says what an earlier one said."""
    chance = random.Random(3)
    size = len(WORDS)
    with path.open("w") as file:
        for number in range(rows):
            told = number if number % 20 else chance.randrange(number + 1)
            words = (WORDS[told % size], WORDS[told // size % size], WORDS[told // size**2 % size])
            file.write(f'{{"n":{number},"text":"{" ".join(words)} {told}","label":"{"abc"[told % 3]}"}}\n')


def write_chats(path: Path, size: int) -> None:
    """Conversations of two to eight turns of random words, a line break behind every twentieth."""
    chance = random.Random(1)
    written = rows = 0
    with path.open("w") as file:
        while written < size:
            turns = []
            for _ in range(chance.randint(1, 4)):
                for role, least, most in (("user", 1, 6), ("assistant", 2, 13)):
                    lines = [" ".join(chance.choices(WORDS, k=20)) for _ in range(chance.randint(least, most))]
                    turns.append({"role": role, "content": "\n".join(lines)})
            row = {"id": rows, "source": chance.choice(["web", "mail"]), "score": round(chance.random(), 4)}
            written += file.write(json.dumps(row | {"messages": turns}) + "\n")
            rows += 1


def chat_works(source: Path, store: DatasetStore, kept: Path) -> Works:
    """Import and export of conversations, of which ``kept`` is the file as Parquet."""
    import polars as pl

    made = works(source, store, kept)
    for work, programs in works(source, store, kept, threads=1).items():
        made[work]["duckdb, one thread"] = programs["duckdb"]
    version = store.get("chats@1")
    made["import"]["llmops"] = lambda _folder: import_now(store, [source], _name(), "messages")
    made["export to JSONL"] |= {
        "llmops": lambda folder: _proven(export(version, folder / "x.jsonl")),
        "polars": lambda folder: pl.read_parquet(kept).write_ndjson(folder / "x.jsonl"),
    }
    return {f"{work} of chats": made[work] for work in ("import", "export to JSONL")}


def works(source: Path, store: DatasetStore, kept: Path, threads: int = 2) -> Works:
    """Each work of each program; ``kept`` is the file as Parquet, as each program would have it."""
    import datasets
    import polars as pl

    version = store.get("rows@1")
    parquet = "FORMAT parquet, COMPRESSION zstd"

    def sql(text: str) -> Any:
        connection = connect_memory()
        try:
            connection.execute(f"SET threads = {threads}")
            return connection.execute(text).fetchall()
        finally:
            connection.close()

    def theirs(folder: Path) -> Any:
        return datasets.Dataset.from_parquet(str(kept), cache_dir=str(folder / "cache"), keep_in_memory=False)

    frame = pl.scan_parquet(kept)
    return {
        "import": {
            "llmops": lambda _folder: import_now(store, [source], _name(), "tabular"),
            "duckdb": lambda folder: sql(
                f"COPY (SELECT * FROM read_json('{source}')) TO '{folder}/x.parquet' ({parquet})"
            ),
            "polars": lambda folder: pl.scan_ndjson(source).sink_parquet(folder / "x.parquet"),
            "datasets": lambda folder: datasets.Dataset.from_json(str(source), cache_dir=str(folder / "cache")),
        },
        "export to JSONL": {
            "llmops": lambda folder: _proven(export(version, folder / "x.jsonl")),
            "duckdb": lambda folder: sql(f"COPY (SELECT * FROM '{kept}') TO '{folder}/x.jsonl' (FORMAT json)"),
            "polars": lambda folder: frame.sink_ndjson(folder / "x.jsonl"),
            "datasets": lambda folder: theirs(folder).to_json(folder / "x.jsonl"),
        },
        "exact duplicates": {
            "llmops": lambda _folder: apply(store, "dedup", ["rows@1"], {"method": "exact"}, name=_name()),
            "duckdb": lambda folder: sql(
                f"COPY (SELECT DISTINCT ON (text, label) * FROM '{kept}' ORDER BY n) TO '{folder}/x.parquet' ({parquet})"
            ),
            "polars": lambda folder: frame.unique(["text", "label"], keep="first", maintain_order=True).sink_parquet(
                folder / "x.parquet"
            ),
        },
        "profile, figures of SUMMARIZE": {
            "llmops": lambda _folder: column_statistics(version),
            "duckdb": lambda _folder: sql(f"SUMMARIZE SELECT * FROM '{kept}'"),
            "polars": lambda _folder: frame.collect().describe(),
        },
        "profile, whole": {
            "llmops": lambda _folder: profile(version, sample=None),
            "duckdb": lambda _folder: sql(f"SUMMARIZE SELECT * FROM '{kept}'"),
        },
        "filter": {
            "llmops": lambda _folder: apply(store, "filter", ["rows@1"], {"where": WHERE}, name=_name()),
            "duckdb": lambda folder: sql(
                f"COPY (SELECT * FROM '{kept}' WHERE {WHERE}) TO '{folder}/x.parquet' ({parquet})"
            ),
            "polars": lambda folder: frame.filter(pl.col("n") % 3 > 0).sink_parquet(folder / "x.parquet"),
            "datasets": lambda folder: theirs(folder).filter(
                lambda batch: [n % 3 > 0 for n in batch["n"]], batched=True, load_from_cache_file=False
            ),
        },
    }


def _proven(told: Any) -> None:
    if not told["reads_back"]:
        raise RuntimeError(told["differs"])


def _name() -> str:
    return f"made-{time.monotonic_ns()}"


def measured(source: Path, chats: Path | None, folder: Path, rounds: int, only: list[str]) -> dict[str, Any]:
    """Processor seconds of each program for each work, by round."""
    import datasets

    datasets.disable_progress_bars()
    workspace = Workspace(folder / "ws")
    make_workspace(workspace)
    store = DatasetStore(Catalog(workspace))
    import_now(store, [source], "rows", "tabular")
    kept = _as_parquet(source, folder / "kept.parquet")
    told_in = folder / "chats.parquet"
    if chats is not None:
        import_now(store, [chats], "chats", "messages")
        _as_parquet(chats, told_in)
    spent: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        found = works(source, store, kept) | (chat_works(chats, store, told_in) if chats is not None else {})
        for work, programs in found.items():
            if only and work not in only:
                continue
            order = list(programs)
            for program in order if number % 2 == 0 else order[::-1]:
                scratch = Path(tempfile.mkdtemp(dir=folder))
                begun, clock = time.process_time(), time.perf_counter()
                programs[program](scratch)
                spent[work][program].append((time.process_time() - begun, time.perf_counter() - clock))
                shutil.rmtree(scratch)
            print(
                f"round {number + 1}: {work}: { ({p: [round(s, 2) for s in t[-1]] for p, t in spent[work].items()}) }",
                file=sys.stderr,
            )
    return {
        work: {
            program: {
                "cpu_s": statistics.median(cpu for cpu, _ in times),
                "clock_s": statistics.median(clock for _, clock in times),
                "over_duckdb": _ratio([cpu for cpu, _ in times], [cpu for cpu, _ in programs["duckdb"]]),
                "clock_over_duckdb": _ratio([clock for _, clock in times], [clock for _, clock in programs["duckdb"]]),
            }
            for program, times in programs.items()
        }
        for work, programs in spent.items()
    }


def _ratio(times: list[float], others: list[float]) -> float:
    return statistics.median(t / d for t, d in zip(times, others, strict=True))


def _as_parquet(source: Path, kept: Path) -> Path:
    connection = connect_memory()
    connection.execute(f"COPY (SELECT * FROM read_json('{source}')) TO '{kept}' (FORMAT parquet, COMPRESSION zstd)")
    connection.close()
    return kept


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--chats", type=int, default=0, help="bytes of conversations")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="one of the works, by its name")
    parser.add_argument("--to", type=Path, help="a file for the figures, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        source = Path(name) / "rows.jsonl"
        write_short(source, given.rows)
        chats = Path(name) / "chats.jsonl" if given.chats else None
        if chats is not None:
            write_chats(chats, given.chats)
        found = measured(source, chats, Path(name), given.rounds, given.only)
        text = json.dumps({"rows": given.rows, "bytes": source.stat().st_size, "works": found}, indent=2)
    if given.to is not None:
        given.to.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
