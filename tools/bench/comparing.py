"""What six columns cost on a terminal while each streams 100 tokens a second: bytes, processor, and keys meanwhile.

``python tools/bench/comparing.py [WIDTHxHEIGHT[:ssh]]…``. Bytes and processor time are of the pace that was kept, however busy
the machine is; what a key waits by the clock says something on a calm machine only.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmops_tui.inference.sampling import SamplingParameters  # noqa: E402
from llmops_tui.prompts.compare.boards import Board, Boards  # noqa: E402
from llmops_tui.prompts.compare.columns import Column  # noqa: E402
from llmops_tui.prompts.store import PromptStore  # noqa: E402
from llmops_tui.sample import fill  # noqa: E402
from llmops_tui.workspace.catalog import Catalog  # noqa: E402
from llmops_tui.workspace.event_log import EventLog  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402
from tests.e2e.terminal import Terminal  # noqa: E402
from tests.fakes import FakeModelServer  # noqa: E402
from tools.bench.drawing import SSH, TOKENS_PER_SECOND, gated_server, key_to_frame, processor_seconds  # noqa: E402

COLUMNS = 6
# Colours are reset behind each frame, and nowhere else (``screens/terminal_pen.py``). Frames are marked as such only for
# terminals that say that they know the marks, which this one does not.
_FRAME = b"\x1b[0m"
SIZES = ("80x24", "120x40", "200x50", "120x40:ssh")


def prepare(workspace: Workspace) -> None:
    """Six columns on the board that is worked on: one version with six seeds."""
    version = PromptStore(Catalog(workspace)).get("support")
    columns = tuple(
        Column("support", version.number, version.system, version.template, "support-base",
               SamplingParameters(seed=n + 1, temperature=1.0, max_tokens=100_000))
        for n in range(COLUMNS)
    )  # fmt: skip
    Boards(EventLog(workspace)).save(Board(columns=columns, variables={"question": "How do I return a lamp?"}))


class Pace:
    """Releases pieces for all columns by the clock, and knows how many were sent: a busy machine sends fewer in a second."""

    def __init__(self, server: FakeModelServer) -> None:
        self._server = server
        self._stop = threading.Event()
        self._released = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._stop.wait(1 / TOKENS_PER_SECOND):
            if self._server.unsent < COLUMNS * 20:
                self._server.release(COLUMNS)
                self._released += COLUMNS

    @property
    def seconds(self) -> float:
        """How long the pieces that were sent take at the wanted pace."""
        return (self._released - self._server.unsent) / (TOKENS_PER_SECOND * COLUMNS)

    def end(self) -> None:
        self._stop.set()


def opened(workspace: Workspace, size: tuple[int, int], env: dict[str, str] | None) -> Terminal:
    app = Terminal("--workspace", str(workspace.root), size=size, env=env)
    app.wait("{{ question }}")
    app.child.send(b"\x1bv")
    app.wait("6 columns")
    return app


def streaming(
    workspace: Workspace, size: tuple[int, int], env: dict[str, str] | None, seconds: float
) -> dict[str, float]:
    """Bytes a second, the share of a core, and what a key costs while all columns stream."""
    with gated_server(workspace) as server:
        app = opened(workspace, size, env)
        app.press("f5")
        pace = Pace(server)
        app.wait("word")
        while pace.seconds < 8:
            app.pump(0.05)
        before, cpu, started = len(app.raw), processor_seconds(app.child.pid), pace.seconds
        while pace.seconds - started < seconds:
            app.pump(0.05)
        span = pace.seconds - started
        written = bytes(app.raw[before:])
        share = (processor_seconds(app.child.pid) - cpu) / span
        app.child.send(b"e")
        app.wait("what all columns are asked")
        keys = key_to_frame(app, 40)
        # What a key costs by itself, while nothing streams.
        pace.end()
        while app.pump(0.5) and server.unsent:
            pass
        cpu = processor_seconds(app.child.pid)
        key_to_frame(app, 40)
        spent = processor_seconds(app.child.pid) - cpu
        app.close()
    return {
        "bytes_per_s": len(written) / span,
        "cpu": share,
        "frames_per_s": written.count(_FRAME) / span,
        "key_cpu_ms": spent / 40 * 1000,
        "key_ms_p50": statistics.median(keys),
        "key_ms_p95": statistics.quantiles(keys, n=20)[18],
    }


def main(*sizes: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="llmops-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        for name in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "NO_COLOR"):
            os.environ.pop(name, None)
        os.environ["LC_ALL"], os.environ["TERM"] = "C.UTF-8", "xterm-256color"
        found: dict[str, Any] = {}
        for place, name in enumerate(sizes or SIZES):
            # One each: the app opens where it was left.
            workspace = make_workspace(Workspace(Path(folder) / f"ws-{place}"))
            fill(workspace)
            prepare(workspace)
            size, _, ssh = name.partition(":")
            width, height = (int(part) for part in size.split("x"))
            found[name] = streaming(workspace, (width, height), SSH if ssh else None, 10)
            print(json.dumps({name: found[name]}), file=sys.stderr, flush=True)
        return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), indent=2))
