"""What datasets cost: a first look, any page, import, filters, near-duplicates, and scrolling ten million rows."""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from drawing import processor_seconds  # noqa: E402

from llmops_tui.datasets.near_duplicates import Sketches  # noqa: E402
from llmops_tui.datasets.raw import RawFile  # noqa: E402
from llmops_tui.datasets.sql_console import view_sql  # noqa: E402
from llmops_tui.datasets.store import DatasetStore  # noqa: E402
from llmops_tui.datasets.window import RowWindow, View  # noqa: E402
from llmops_tui.jobs.launcher import ENVIRONMENT  # noqa: E402
from llmops_tui.sample import fill  # noqa: E402
from llmops_tui.workspace.catalog import Catalog  # noqa: E402
from llmops_tui.workspace.catalog_file import connect_memory  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402
from llmops_tui.workspace.sandbox import open_sandbox  # noqa: E402
from tests.e2e.terminal import Terminal  # noqa: E402

CHATS_BYTES = 600_000_000
SHORT_ROWS = 10_000_000
TURNS = 9
HELD_PRESSES, HELD_RATE = 600, 30.0
WORDS = (
    "order refund kettle lamp please delivery money customer service return exchange the a of to and in is it you that was"
    " for on are with as his they at be this have from or one had by word but not what all were we when your can said there"
)


def write_chats(path: Path, size: int) -> int:
    """Conversations of random words, two to eight turns each; returns how many."""
    random.seed(1)
    words = WORDS.split()
    rows = written = 0
    with path.open("w") as file:
        while written < size:
            turns = []
            for _ in range(random.randint(1, 4)):
                turns.append({"role": "user", "content": " ".join(random.choices(words, k=random.randint(20, 120)))})
                turns.append(
                    {"role": "assistant", "content": " ".join(random.choices(words, k=random.randint(30, 260)))}
                )
            row = {"id": rows, "source": random.choice(["web", "mail", "chat"]), "score": round(random.random(), 4)}
            line = json.dumps(row | {"messages": turns}) + "\n"
            written += file.write(line)
            rows += 1
    return rows


def write_short(path: Path) -> None:
    """Ten million rows of a number, a word and a label, by DuckDB."""
    connection = connect_memory()
    connection.execute(
        f"COPY (SELECT range AS n, format('r{{:08d}}e', range) AS text, 'abc'[(range % 3)::INTEGER + 1] AS label"
        f" FROM range({SHORT_ROWS})) TO '{path}' (FORMAT json)"
    )
    connection.close()


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(turns: int, *works: Callable[[], Any]) -> list[float]:
    """The median time of each, taken one after another in every turn."""
    times = [[seconds(work) for work in works] for _ in range(turns)]
    return [statistics.median(t[i] for t in times) for i in range(len(works))]


def first_page(path: Path, small: Path) -> dict[str, float]:
    def floor() -> None:
        with path.open("rb") as file:
            for _ in range(50):
                json.loads(file.readline())

    def ours(which: Path) -> None:
        with RawFile(which) as file:
            assert len(file.lines(0, 50)) == 50

    read, large, little = in_turn(TURNS, floor, lambda: ours(path), lambda: ours(small))
    return {
        "read_and_parse_ms": read * 1e3,
        "first_page_ms": large * 1e3,
        "first_page_of_a_tenth_ms": little * 1e3,
        "over_reading": large / read,
        "over_a_tenth": large / little,
    }


def any_page(path: Path, rows: int) -> dict[str, float]:
    connection = connect_memory()
    wanted = rows * 9 // 10
    columns = "{id: 'BIGINT', source: 'VARCHAR', score: 'DOUBLE', messages: 'JSON'}"
    with RawFile(path) as file:
        index = seconds(file.index)
        offset, ours = in_turn(
            TURNS,
            lambda: connection.execute(
                f"SELECT * FROM read_json('{path}', columns = {columns}, format = 'newline_delimited') LIMIT 50 OFFSET {wanted}"
            ).fetchall(),
            lambda: file.lines(wanted, 50),
        )
    return {"offset_ms": offset * 1e3, "by_index_ms": ours * 1e3, "over_offset": ours / offset, "index_s": index}


def run(code: str, *arguments: str) -> tuple[float, float]:
    """Seconds and peak memory in MB of Python code in a process of its own."""
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    # As a job has it.
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=ROOT, env={**os.environ, **ENVIRONMENT})
    return time.perf_counter() - started, max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1e3


CONVERT = """
import sys
from llmops_tui.workspace.catalog_file import connect_memory
c = connect_memory()
c.execute(f"COPY (SELECT * FROM read_json('{sys.argv[1]}')) TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)")
"""
IMPORT = """
import sys
from pathlib import Path
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
import_now(DatasetStore(Catalog(Workspace(Path(sys.argv[2])))), [Path(sys.argv[1])], sys.argv[3], sys.argv[4])
"""


def imports(path: Path, workspace: Workspace, name: str, form: str, folder: Path, turns: int) -> dict[str, float]:
    """Import beside DuckDB's own conversion of the same file, in turn, each in a process of its own."""
    theirs, ours = [], []
    for turn in range(turns):
        theirs.append(run(CONVERT, str(path), str(folder / f"{name}.parquet"))[0])
        ours.append(run(IMPORT, str(path), str(workspace.root), name if turn == 0 else f"{name}-{turn}", form)[0])
    duck, us = statistics.median(theirs), statistics.median(ours)
    return {"duckdb_s": duck, "import_s": us, "speed_over_duckdb": duck / us}


def queries(path: Path, parquet: Path, store: DatasetStore, name: str) -> dict[str, dict[str, float]]:
    plain = connect_memory()
    version = store.get(name)
    cached = connect_memory()
    cached.execute("SET parquet_metadata_cache = true")
    window = RowWindow(version)
    ours = open_sandbox(version.files, memory="256MB")
    ours.execute(f"CREATE VIEW rows AS {view_sql(version)}")
    out = {}
    for what, text in (
        ("filter", "SELECT count(*) FROM {} WHERE source = 'web'"),
        ("group_by", "SELECT source, avg(score) FROM {} GROUP BY source"),
    ):
        raw, alone, same, us = in_turn(
            TURNS,
            lambda text=text: plain.execute(text.format(f"read_json('{path}')")).fetchall(),  # type: ignore[misc]
            lambda text=text: plain.execute(text.format(f"read_parquet('{parquet}')")).fetchall(),  # type: ignore[misc]
            lambda text=text: cached.execute(text.format(version.source)).fetchall(),  # type: ignore[misc]
            lambda text=text: ours.execute(text.format("rows")).fetchall(),  # type: ignore[misc]
        )
        out[what] = {
            "raw_ms": raw * 1e3,
            "duckdb_own_file_ms": alone * 1e3,
            "duckdb_same_files_ms": same * 1e3,
            "ours_ms": us * 1e3,
            "over_raw": us / raw,
            "over_duckdb_own_file": us / alone,
            "over_duckdb_same_files": us / same,
        }
    select = seconds(lambda: window.select(View("= source = 'web' AND score > 0.5")))
    page = seconds(lambda: window.lines(0, 50))
    window.close()
    return out | {"filtered_view": {"select_ms": select * 1e3, "first_page_ms": page * 1e3}}


def near_duplicates() -> dict[str, float]:
    from datasketch import MinHash, MinHashLSH

    random.seed(3)
    vocabulary = [f"w{n}" for n in range(5000)]
    texts = [" ".join(random.choices(vocabulary, k=random.randint(40, 200))) for _ in range(4000)]

    def theirs() -> None:
        index = MinHashLSH(num_perm=120, params=(20, 6))
        for number, text in enumerate(texts):
            words = text.split()
            sketch = MinHash(120)
            sketch.update_batch([" ".join(words[k : k + 5]).encode() for k in range(len(words) - 4)])
            index.query(sketch)
            index.insert(number, sketch)

    def ours() -> None:
        sketches = Sketches()
        sketches.add(texts)
        assert not list(sketches.pairs())

    slow, fast = in_turn(3, theirs, ours)
    return {"datasketch_per_s": len(texts) / slow, "ours_per_s": len(texts) / fast, "over_datasketch": slow / fast}


def held_key(workspace: Workspace) -> dict[str, float]:
    """Milliseconds from each press of a held cursor key to the frame that shows its row, over ten million rows."""
    app = Terminal("--workspace", str(workspace.root))
    app.wait("support-base")
    app.press("f9")
    app.pump(0.5)
    app.child.send(b"2")
    app.wait("10.0M")
    app.child.send(b"\r")
    app.wait("r00000003e")
    end = time.monotonic() + 3
    while time.monotonic() < end:
        app.pump(0.1)
    cpu, begun = processor_seconds(app.child.pid), time.monotonic()
    times = []
    for number in range(1, HELD_PRESSES + 1):
        wanted = f"r{number:08d}e".encode()
        before = len(app.raw)
        started = time.perf_counter()
        app.child.send(b"\x1b[B")
        while wanted not in bytes(app.raw[before:]):
            app.pump(0.001)
            if time.perf_counter() - started > 5:
                raise RuntimeError(f"row {number} was never drawn")
        times.append((time.perf_counter() - started) * 1e3)
        while time.perf_counter() - started < 1 / HELD_RATE:
            app.pump(0.002)
    share = (processor_seconds(app.child.pid) - cpu) / (time.monotonic() - begun)
    started = time.perf_counter()
    app.child.send(b"G")
    wanted = f"r{SHORT_ROWS - 1:08d}e".encode()
    before = len(app.raw)
    while wanted not in bytes(app.raw[before:]):
        app.pump(0.001)
    last = (time.perf_counter() - started) * 1e3
    status = Path(f"/proc/{app.child.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    app.close()
    return {
        "p50_ms": statistics.median(times),
        "p95_ms": statistics.quantiles(times, n=20)[18],
        "max_ms": max(times),
        "to_the_last_row_ms": last,
        "app_peak_mb": peak,
        "core_share": share,
    }


def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="llmops-data-") as name:
        folder = Path(name)
        os.environ["XDG_CONFIG_HOME"] = str(folder)
        for variable in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "NO_COLOR"):
            os.environ.pop(variable, None)
        os.environ |= {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        workspace = make_workspace(Workspace(folder / "ws"))
        fill(workspace)
        chats, tenth, short = folder / "chats.jsonl", folder / "tenth.jsonl", folder / "short.jsonl"
        rows = write_chats(chats, CHATS_BYTES)
        write_chats(tenth, CHATS_BYTES // 10)
        write_short(short)
        store = DatasetStore(Catalog(workspace))
        result: dict[str, Any] = {
            "chats_rows": rows,
            "chats_bytes": chats.stat().st_size,
            "short_bytes": short.stat().st_size,
        }
        result["first_page"] = first_page(chats, tenth)
        result["any_page"] = any_page(chats, rows)
        result["import_chats"] = imports(chats, workspace, "zchats", "messages", folder, 3)
        result["import_short"] = imports(short, workspace, "aaa", "tabular", folder, 1)
        result["import_peak_mb"] = run(IMPORT, str(chats), str(workspace.root), "peak", "messages")[1]
        result["queries"] = queries(chats, folder / "zchats.parquet", store, "zchats")
        result["near_duplicates"] = near_duplicates()
        result["held_key"] = held_key(workspace)
    return result


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
