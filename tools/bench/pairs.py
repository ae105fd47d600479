"""Two trees of this project beside each other: what one costs over the other, in pairs that take turns.

``python tools/bench/pairs.py BEFORE [NOW] [--pairs N] [--only WORDS] [--to FILE]``. The machine need not be idle: of each
measure the processor time is told beside the time by the clock, as the median and the range of the ratios of pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawing import processor_seconds  # noqa: E402
from paired_work import PIECES, Measured  # noqa: E402

from tests.e2e.terminal import Terminal  # noqa: E402

WORK = Path(__file__).resolve().with_name("paired_work.py")
COMMANDS = {
    "llmops --help": ("--help",),
    "llmops prompt list": ("prompt", "list", "--json"),
    "llmops traces list": ("traces", "list", "--json"),
}
# What the app does half a minute after its start is no idling.
KEYS, IDLE_SECONDS, SETTLE_SECONDS = 20, 25.0, 40.0


class Tree:
    """One tree, with a home and a workspace of its own."""

    def __init__(self, name: str, root: Path, folder: Path, work: Path) -> None:
        self.name = name
        self.work = work
        self.folder = folder
        folder.mkdir()
        self.env = {
            **os.environ,
            "PYTHONPATH": str(root),
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        self.workspace = folder / "ws"
        # By its own command, which has outlived the names of what does it.
        self.run(["-m", "llmops_tui", "--workspace", str(self.workspace), "init", "--sample"])

    def run(self, arguments: list[str]) -> tuple[bytes, dict[str, float]]:
        """What a process of this tree prints, and what it cost with all that it waited for."""
        begun = time.perf_counter()
        child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, env=self.env, cwd=self.folder)
        assert child.stdout is not None
        out = child.stdout.read()
        _pid, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise RuntimeError(f"{self.name}: {arguments} ended with {child.returncode}")
        seconds = time.perf_counter() - begun
        return out, {"units": 1, "s": seconds, "cpu_s": usage.ru_utime + usage.ru_stime}

    def open(self) -> Terminal:
        """The app on a terminal."""
        # Without the folder that this was started in, which -m would import before the tree.
        return Terminal("--workspace", str(self.workspace), env={**self.env, "PYTHONSAFEPATH": "1"})


def commands(tree: Tree) -> Measured:
    """Whole commands, from the start of the process to its end."""
    where = ["-m", "llmops_tui", "--workspace", str(tree.workspace)]
    return {name: tree.run([*where, *arguments])[1] for name, arguments in COMMANDS.items()}


def first_paint(tree: Tree) -> Measured:
    """From the start of the app until its first frame, and until the workspace was read."""
    begun = time.perf_counter()
    app = tree.open()
    found = {}
    for name, sign in (("first paint", b"Versions"), ("the workspace on the screen", b"support-base")):
        while sign not in app.raw:
            if not app.pump(0.005):
                raise RuntimeError(f"{tree.name}: the app ended:\n{app.text}")
        found[name] = {"units": 1, "s": time.perf_counter() - begun, "cpu_s": processor_seconds(app.child.pid)}
    app.close()
    return found


def at_work(tree: Tree) -> Measured:
    """Keys in the editor, and nothing at all."""
    app = tree.open()
    app.wait("{{ question }}")
    app.wait("support-base Q8_0")
    _pump(app, SETTLE_SECONDS)
    keys = _watched(app, KEYS, lambda: _type(app))
    idle = _watched(app, IDLE_SECONDS, lambda: _pump(app, IDLE_SECONDS))
    app.close()
    return {"key to frame": keys, "idle app": idle}


def _watched(app: Terminal, units: float, work: Callable[[], Any]) -> dict[str, float]:
    before, spent, begun = len(app.raw), processor_seconds(app.child.pid), time.perf_counter()
    seconds = work()
    return {
        "units": units,
        "s": seconds if isinstance(seconds, float) else time.perf_counter() - begun,
        "cpu_s": processor_seconds(app.child.pid) - spent,
        "bytes": float(len(app.raw) - before),
    }


def _type(app: Terminal) -> float:
    """Letters, each waited for; returns the seconds they took to be drawn, together."""
    waited = 0.0
    for number in range(KEYS):
        letter = chr(ord("A") + number % 26).encode()
        before, begun = len(app.raw), time.perf_counter()
        app.child.send(letter)
        while letter not in bytes(app.raw[before:]):
            app.pump(0.001)
        waited += time.perf_counter() - begun
        _pump(app, 0.1)
    return waited


def _pump(app: Terminal, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        app.pump(0.05)


def piece(name: str) -> Callable[[Tree], Measured]:
    """A piece of work in a process of the tree."""
    return lambda tree: dict(json.loads(tree.run([str(tree.work), name, str(tree.folder)])[0].splitlines()[-1]))


MEASURES: dict[str, Callable[[Tree], Measured]] = {
    "commands": commands, "paint": first_paint, "work": at_work, **{name: piece(name) for name in PIECES},
}  # fmt: skip


def compared(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, Any]:
    """What one unit costs in both trees, and the ratios of pairs, second over first: median, smallest, largest."""
    told: dict[str, Any] = {}
    for key in pairs[0][0]:
        if key == "units":
            continue
        before, now = ([values[key] / values["units"] for values in side] for side in zip(*pairs, strict=True))
        ratios = [b / a for a, b in zip(before, now, strict=True) if a > 0]
        told[key] = {"before": statistics.median(before), "now": statistics.median(now)}
        if ratios:
            told[key] |= {"ratio": statistics.median(ratios), "from": min(ratios), "to": max(ratios)}
    return told


def run_pairs(
    before: Path, now: Path, count: int, measures: list[str], work_before: Path = WORK
) -> Iterator[dict[str, Any]]:
    """These measures, ``count`` pairs of each; who begins a pair changes. Gives what is known after each pair."""
    pairs: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="pairs-") as name:
        trees = Tree("before", before, Path(name) / "a", work_before), Tree("now", now, Path(name) / "b", WORK)
        for number in range(count):
            for what in measures:
                order = trees if number % 2 == 0 else trees[::-1]
                found = {tree.name: MEASURES[what](tree) for tree in order}
                for each in found["before"]:
                    pairs[each].append((found["before"][each], found["now"][each]))
            yield {name: compared(values) for name, values in pairs.items()} | {"pairs": number + 1}


def main() -> None:
    """The command; what is known so far is written after each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("now", type=Path, nargs="?", default=ROOT)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--only", default=",".join(MEASURES), help=f"some of {', '.join(MEASURES)}, with commas")
    parser.add_argument("--to", type=Path, help="a file for the figures, too")
    parser.add_argument(
        "--work-before",
        type=Path,
        default=WORK,
        help="paired_work.py of a time when modules had the names they have in BEFORE",
    )
    given = parser.parse_args()
    before, now, to = given.before.resolve(), given.now.resolve(), given.to.resolve() if given.to else None
    for name in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "NO_COLOR", "LLMOPS_WORKSPACE"):
        os.environ.pop(name, None)
    os.environ |= {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
    # ``python -m`` looks into the folder at hand first, and both trees are started from ours.
    os.chdir(tempfile.gettempdir())
    text = ""
    for found in run_pairs(before, now, given.pairs, given.only.split(","), given.work_before.resolve()):
        text = json.dumps(found, indent=2) + "\n"
        print(f"pair {found['pairs']} of {given.pairs}", file=sys.stderr, flush=True)
        if to is not None:
            to.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
