"""What the app costs on a terminal: first paint, key to frame, bytes while streaming, processor while idle."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmops_tui.models.registry import ModelRegistry  # noqa: E402
from llmops_tui.sample import fill  # noqa: E402
from llmops_tui.workspace.catalog import Catalog  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402
from tests.e2e.terminal import Terminal, registered_state  # noqa: E402
from tests.fakes import FakeModelServer  # noqa: E402

TOKENS_PER_SECOND = 100
# Those that end no sequence to the terminal, so that they are seen to be drawn.
_LETTERS = "DEFGILNOPQRSTUVWYZ"
SSH = {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}

# The same tree of widgets with Textual's own classes, one style sheet, no theme, no engine.
BARE_APP = """
from textual.app import App
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.scroll_view import ScrollView
from textual.widgets import Footer, Input, OptionList, Static, TextArea

class Bare(App):
    CSS = '''
    Container { height: 1fr; } .column { width: 1fr; } .panel { border: round gray; padding: 0 1; } #left { width: 30; }
    #status { height: 1; } #status Static { width: auto; } ScrollView { height: 1fr; } VerticalScroll { height: auto; }
    #v { height: auto; } OptionList, TextArea { border: none; height: 1fr; } Input { border: none; height: 1; }
    '''
    BINDINGS = [Binding(f"f{n}", "x", f"Action {n}") for n in range(2, 9)]

    def panel(self, *children, title="", id=None):
        made = Vertical(*children, classes="panel", id=id)
        made.border_title = title
        return made

    def compose(self):
        with Container():
            with Horizontal():
                with Vertical(classes="column", id="left"):
                    yield self.panel(Input(), OptionList("a"), title="Prompts")
                    yield self.panel(OptionList("b"), title="Versions")
                with Vertical(classes="column"):
                    yield self.panel(TextArea(), title="System")
                    yield self.panel(TextArea(), title="User")
                    yield self.panel(VerticalScroll(Static("none")), title="Variables", id="v")
                with Vertical(classes="column"):
                    yield self.panel(ScrollView(), Static("c"), title="Answer")
                    yield self.panel(OptionList("d"), title="Runs")
        yield Static("")
        with Horizontal(id="status"):
            for n in range(6):
                yield Static(f"part {n}")
        yield Footer()

Bare().run()
"""


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_paint(command: list[str]) -> float:
    """Seconds from the start of a process until its first frame shows the word ``Versions``."""
    started = time.perf_counter()
    child = pexpect.spawn(command[0], command[1:], dimensions=(40, 120), timeout=30)
    child.expect(b"Versions")
    seconds = time.perf_counter() - started
    child.close(force=True)
    return seconds


@contextmanager
def gated_server(workspace: Workspace) -> Iterator[FakeModelServer]:
    """A model that says words of five letters, one for each piece that is released, and breaks a line now and then."""
    with tempfile.TemporaryDirectory(prefix="paced") as folder:
        server = FakeModelServer(Path(folder) / "s", ["word " if n % 40 else "\n" for n in range(100_000)])
        server.gated = True
        handle = server.handle
        sha256 = ModelRegistry(Catalog(workspace)).get("support-base").sha256
        state = registered_state(workspace.root, "support-base")
        state.parent.mkdir(parents=True, exist_ok=True)
        options = {"model": "support-base", "sha256": sha256, "socket": handle.socket, "key": "key"}
        state.write_text(json.dumps({"pid": handle.process.pid, "started": handle.process.started, "options": options}))
        yield server
        state.unlink()
        server.close()


@contextmanager
def paced_server(workspace: Workspace) -> Iterator[FakeModelServer]:
    """The same, speaking at a steady rate."""
    with gated_server(workspace) as server:
        stop = threading.Event()

        def pace() -> None:
            while not stop.wait(1 / TOKENS_PER_SECOND):
                server.release(1)

        threading.Thread(target=pace, daemon=True).start()
        yield server
        stop.set()


def key_to_frame(app: Terminal, presses: int) -> list[float]:
    """Milliseconds from a key in the editor to the frame that shows it."""
    times = []
    for number in range(presses):
        letter = _LETTERS[number % len(_LETTERS)].encode()
        app.pump(0.03)
        before = len(app.raw)
        started = time.perf_counter()
        app.child.send(letter)
        while letter not in bytes(app.raw[before:]):
            app.pump(0.001)
        times.append((time.perf_counter() - started) * 1000)
        app.pump(0.05)
    return times


def opened(workspace: Workspace, env: dict[str, str] | None = None) -> Terminal:
    app = Terminal("--workspace", str(workspace.root), env=env)
    app.wait("{{ question }}")
    app.wait("support-base Q8_0")
    return app


def bytes_while_streaming(workspace: Workspace, env: dict[str, str] | None, seconds: float) -> tuple[float, float]:
    """Bytes a second to the terminal, and the share of a core the app uses, while an answer streams."""
    with paced_server(workspace):
        app = opened(workspace, env)
        app.press("f5")
        app.wait("word")
        # Let the answer fill its pane, so that scrolling is measured too.
        end = time.monotonic() + 8
        while time.monotonic() < end:
            app.pump(0.05)
        before, cpu = len(app.raw), processor_seconds(app.child.pid)
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            app.pump(0.05)
        span = time.monotonic() - started
        rate = (len(app.raw) - before) / span
        share = (processor_seconds(app.child.pid) - cpu) / span
        app.close()
    return rate, share


def idle(workspace: Workspace, seconds: float) -> tuple[float, float]:
    """Share of a core, and bytes a second, while nothing happens."""
    app = opened(workspace)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        app.pump(0.1)
    before, cpu = len(app.raw), processor_seconds(app.child.pid)
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        app.pump(0.5)
    span = time.monotonic() - started
    result = (processor_seconds(app.child.pid) - cpu) / span, (len(app.raw) - before) / span
    app.close()
    return result


def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        for name in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "NO_COLOR"):
            os.environ.pop(name, None)
        os.environ["LC_ALL"] = "C.UTF-8"
        os.environ["TERM"] = "xterm-256color"
        workspace = make_workspace(Workspace(Path(folder) / "ws"))
        fill(workspace)
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE_APP)
        paints = []
        for _ in range(9):
            plain = first_paint([sys.executable, str(bare)])
            ours = first_paint([sys.executable, "-m", "llmops_tui", "--workspace", str(workspace.root)])
            paints.append((plain, ours))
        app = opened(workspace)
        quiet = key_to_frame(app, 40)
        app.close()
        with paced_server(workspace):
            app = opened(workspace)
            app.press("f5")
            app.wait("word")
            busy = key_to_frame(app, 40)
            app.close()
        ssh_bytes, ssh_cpu = bytes_while_streaming(workspace, SSH, 15)
        local_bytes, local_cpu = bytes_while_streaming(workspace, None, 15)
        idle_cpu, idle_bytes = idle(workspace, 30)
    return {
        "first_paint_ratio": statistics.median(o / p for p, o in paints),
        "first_paint_s": statistics.median(o for _, o in paints),
        "bare_paint_s": statistics.median(p for p, _ in paints),
        "key_ms_idle_p50": statistics.median(quiet),
        "key_ms_idle_p95": statistics.quantiles(quiet, n=20)[18],
        "key_ms_streaming_p50": statistics.median(busy),
        "key_ms_streaming_p95": statistics.quantiles(busy, n=20)[18],
        "ssh_bytes_per_s": ssh_bytes,
        "ssh_cpu": ssh_cpu,
        "local_bytes_per_s": local_bytes,
        "local_cpu": local_cpu,
        "idle_cpu": idle_cpu,
        "idle_bytes_per_s": idle_bytes,
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
