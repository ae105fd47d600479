"""Use one workspace for an hour with two apps and three command lines at once, and hold it to everything it acknowledged.

``python tools/soak.py [--minutes M] [--folder F] [--pause S]``; exits with 1 where anything was found that must not be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from llmops_tui.inference.supervisor import ServerSupervisor  # noqa: E402
from llmops_tui.sample import fill  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402
from tests.maintenance.forked_cli import ForkedCommands  # noqa: E402
from tools.soaking.apps import App  # noqa: E402
from tools.soaking.commands import Keeper, Llmops, Loop, Runner, Writer  # noqa: E402
from tools.soaking.ledger import Ledger  # noqa: E402
from tools.soaking.watch import Auditor, Gauge  # noqa: E402

_AUDIT_SECONDS = 300.0
# What a process takes when it first does each thing is no growth.
_WARM_UP_SHARE = 0.15
_NOT_OURS = (
    "LLMOPS_WORKSPACE",
    "NO_COLOR",
    "SSH_CONNECTION",
    "SSH_TTY",
    "TMUX",
    "STY",
    "VISUAL",
    "EDITOR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
)


def own_environment(folder: Path) -> None:
    """Nothing of the user's is seen or changed, by us or by what we start."""
    for name in _NOT_OURS:
        os.environ.pop(name, None)
    home = folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    os.environ |= {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def soak(folder: Path, minutes: float, pause: float) -> dict[str, Any]:
    """Run for so many minutes; returns what was acknowledged, found and measured."""
    own_environment(folder)
    workspace = make_workspace(Workspace(folder / "ws"))
    fill(workspace)
    ledger = Ledger(folder)
    root = workspace.root
    for name in ("app-one", "app-two"):
        Llmops(root, ledger, "maker").ask("prompt", "save", name, "--text", "begin")
    apps = [App(root, ledger, name, seed, pause) for seed, name in enumerate(("app-one", "app-two"))]
    kinds = (Writer, Runner, Keeper)
    # Each in forks of a process of its own: what they do at the same time is what counts, and not their start.
    forks = [ForkedCommands() for _ in (*kinds, Auditor)]
    loops: list[Loop] = [
        kind(Llmops(root, ledger, kind.__name__.lower(), own), pause, seed)
        for seed, (kind, own) in enumerate(zip(kinds, forks, strict=False))
    ]
    gauge = Gauge(root, ledger, {app.name: app.pid for app in apps})
    auditor = Auditor(Llmops(root, ledger, "auditor", forks[-1]))
    began = time.time()
    for thread in (*apps, *loops, gauge):
        thread.start()
    try:
        while (left := began + 60 * minutes - time.time()) > 0:
            gauge.ended.wait(min(left, _AUDIT_SECONDS))
            auditor.audit()
            if not all(thread.is_alive() for thread in (*apps, *loops)):
                ledger.find("one of the five ended before its time")
            tell(folder, report(ledger, apps, gauge, began))
    finally:
        ended = time.time()
        gauge.ended.set()
        for loop in loops:
            loop.ended.set()
        for app in apps:
            app.ended.set()
        for thread in (*loops, *apps, gauge):
            thread.join(600)
    gauge.judge(began + _WARM_UP_SHARE * (ended - began))
    # Told before the last audit, too: whoever does not wait for that has what was measured.
    tell(folder, report(ledger, apps, gauge, began, ended))
    auditor.audit()
    restored(Llmops(folder / "elsewhere", ledger, "restorer", forks[-1]))
    for own in forks:
        own.close()
    inspect_logs(workspace, ledger)
    supervisor = ServerSupervisor(workspace)
    for handle in supervisor.running():
        supervisor.stop(handle.model)
    return report(ledger, apps, gauge, began, ended)


def restored(elsewhere: Llmops) -> None:
    """The newest backup of the series, put elsewhere, is whole."""
    ledger = elsewhere.ledger
    made = list(ledger.facts("backup"))
    if not made:
        ledger.find("no backup was made")
        return
    elsewhere.ask("restore", str(made[-1]["file"]), "--yes")
    found = elsewhere.ask("check").data
    if not found.get("clean"):
        ledger.find(f"check of the restored backup: {str(found)[:2000]}")


# anyio sets a future twice where its reader fires again after a cancel; asyncio says so, and nothing comes of it.
_HARMLESS = re.compile(
    r"Exception in callback Future\.set_result\(None\)\n.*\nTraceback \(most recent call last\):\n"
    r"(?:  .*asyncio/events\.py.*\n    .*\n)asyncio\.exceptions\.InvalidStateError: invalid state\n"
)


def inspect_logs(workspace: Workspace, ledger: Ledger) -> None:
    """No log of the workspace or of a job has a traceback."""
    for path in (*workspace.logs.rglob("*"), *(workspace.root / "runs").rglob("*.log")):
        text = _HARMLESS.sub("", path.read_text(errors="replace")) if path.is_file() else ""
        if "Traceback (most recent call last)" in text:
            at = text.index("Traceback")
            ledger.find(f"{path.relative_to(workspace.root)} has a traceback: {text[at : at + 3000]}")


def report(ledger: Ledger, apps: list[App], gauge: Gauge, began: float, ended: float | None = None) -> dict[str, Any]:
    """Everything there is to tell."""
    until = ended or time.time()
    warm = began + _WARM_UP_SHARE * (until - began)
    quarter = (until - warm) / 4
    return {
        "minutes": round((until - began) / 60, 1),
        "counts": dict(sorted(ledger.counts.items())),
        "first and last quarter, most": {k: [round(x, 2) for x in v] for k, v in gauge.growth(warm).items()},
        "key to frame ms": {
            app.name: [app.latency_ms(warm, warm + quarter), app.latency_ms(until - quarter, until)] for app in apps
        },
        "bytes to the terminal": {app.name: app.terminal.written for app in apps},
        "notices": {app.name: dict(sorted(app.terminal.notices.items(), key=lambda kv: -kv[1])[:60]) for app in apps},
        "findings": ledger.findings,
    }


def tell(folder: Path, told: dict[str, Any]) -> None:
    """Keep the report so far."""
    (folder / "report.json").write_text(json.dumps(told, indent=2) + "\n")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two things one of the five does")
    parser.add_argument("--folder", type=Path, help="where the workspace and the ledger stay; else they are deleted")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="llmops-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    told = soak(folder, given.minutes, given.pause)
    tell(folder, told)
    print(json.dumps(told, indent=2))
    if given.folder is None:
        shutil.rmtree(folder)
    return 1 if told["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
