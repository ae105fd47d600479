"""Make the pictures of the docs from the running app: the demo workspace, a real model, keys pressed as a user would."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
os.environ["TEXTUAL_ANIMATIONS"] = "none"
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)

# A run, and the next one after it; and the monitor's processes narrowed to ours.
ASKED = ("f5", "…15")
OURS = ("slash", *"python", "enter", "plus", "plus", "…200")

# Name -> (columns, rows, theme, keys). "…N" waits N tenths of a second.
SHOTS: dict[str, tuple[int, int, str, tuple[str, ...]]] = {
    "playground": (120, 34, "llmops-dark", ("f5", "…15", "end", " ", "P", "l", "e", "a", "s", "e", ".", "f5", "…15")),
    "playground-light": (120, 34, "llmops-light", ("f5", "…15")),
    "playground-80x24": (80, 24, "llmops-dark", ("f5", "…15")),
    "playground-200x50": (200, 50, "llmops-dark", ("f5", "…15")),
    "diff": (120, 34, "llmops-dark", ("f9", "p", "down", "enter", "…8", "f9", "v", "…3", "f3", "…3", "enter", "…5")),
    "jump": (120, 34, "llmops-dark", ("f9", "…3")),
    "help": (120, 34, "llmops-dark", ("f1", "…3")),
    "parameters": (120, 34, "llmops-dark", ("f6", "…3")),
    "datasets": (120, 40, "llmops-dark", ("f9", "2", "…40", "enter", "…15", "w", "…20")),
    "datasets-light": (80, 24, "llmops-light", ("f9", "2", "…40", "enter", "…15", "w", "…20")),
    "datasets-200x50": (200, 50, "llmops-dark", ("f9", "2", "…40", "enter", "…15")),
    "profile": (120, 40, "llmops-dark", ("f9", "2", "…40", "p", "…40")),
    "preflight": (120, 44, "llmops-dark", ("f9", "3", "…20", "p", "…450")),
    "training": (120, 40, "llmops-dark", ("f9", "3", "…30", "f9", "r", "…10", "w", "…10")),
    "training-light": (80, 24, "llmops-light", ("f9", "3", "…30")),
    "training-200x50": (200, 50, "llmops-dark", ("f9", "3", "…30", "f9", "r", "…10", "w", "w", "…10")),
    "evaluation": (120, 40, "llmops-dark", ("f9", "4", "…20", "down", " ", "…15", "up", "…30")),
    "evaluation-light": (80, 24, "llmops-light", ("f9", "4", "…20", "down", " ", "…15", "up", "…30")),
    "evaluation-200x50": (200, 50, "llmops-dark", ("f9", "4", "…20", "w", "w", "w", "w", "…20")),
    "models": (120, 34, "llmops-dark", ("f5", "…15", "f9", "5", "…10")),
    "jobs": (120, 34, "llmops-dark", ("f9", "5", "…8", "f5", "…10", "f9", "8", "…15")),
    "home": (120, 34, "llmops-dark", ("f9", "0", "…30")),
    "monitor": (120, 40, "llmops-dark", (*ASKED, *ASKED, "f9", "6", "…40", *OURS, "…60")),
    "monitor-light": (80, 24, "llmops-light", (*ASKED, "f9", "6", "…40", *OURS, "…40")),
    "monitor-200x50": (200, 50, "llmops-dark", (*ASKED, *ASKED, "f9", "6", "…40", *OURS, "…60")),
    "traces": (120, 34, "llmops-dark", (*ASKED, *ASKED, "f9", "7", "…20", "u", "…10", "down", "d", "…10")),
    "settings": (120, 34, "llmops-dark", ("f9", "9", "…8")),
}


# Pictures that show runs: one real training run is made for all of them, and the sample's suite before and after it.
TRAINED = {name for name in SHOTS if name.startswith(("training", "evaluation"))}


def train(workspace: object) -> None:
    """Run the sample's recipe to its end, as F5 does."""
    import time

    from llmops_tui.training.runs import RunStore
    from llmops_tui.workspace.layout import Workspace

    assert isinstance(workspace, Workspace)
    store = RunStore(workspace)
    run = store.start(store.recipe("triage-qlora"))
    while store.state(store.get(run.name)).state in {"starting", "queued", "running"}:
        time.sleep(1)


def evaluate(workspace: object) -> None:
    """Run the sample's suite on the base and on what was trained."""
    import time

    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.workspace.layout import Workspace

    assert isinstance(workspace, Workspace)
    store = EvaluationStore(workspace)
    version = store.suite("triage")
    runs = store.start(version, store.columns(version.suite, ["support-base", "support-base+triage-qlora-1"]))
    while any(store.get(run.name).summary is None for run in runs):
        time.sleep(1)


async def shoot(workspace: object, name: str) -> str:
    """One picture, as SVG."""
    from llmops_tui.settings import Settings
    from llmops_tui.workspace.layout import Workspace
    from screens.app import LlmopsApp
    from screens.services import Services
    from screens.terminal import TerminalProfile

    assert isinstance(workspace, Workspace)
    columns, rows, theme, keys = SHOTS[name]
    profile = TerminalProfile(
        remote=False, multiplexed=False, utf8=True, stream_interval=0.03, cells_per_second=100_000
    )
    services = Services(workspace, Settings(theme=theme))
    app = LlmopsApp(workspace, theme=theme, profile=profile, services=services)
    async with app.run_test(size=(columns, rows)) as pilot:
        await pilot.pause(1.5)
        for key in keys:
            if key.startswith("…"):
                await pilot.pause(int(key[1:]) / 10)
            else:
                await pilot.press("space" if key == " " else key)
        await pilot.pause(0.5)
        picture = app.export_screenshot(title="llmops")
    services.close()
    # The font that Rich links to lives on a server; every machine has a monospace font of its own.
    return _FONT_FACE.sub("", picture).replace("Fira Code", "DejaVu Sans Mono")


def main() -> None:
    """Write every picture, or those named."""
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.sample import fill
    from llmops_tui.workspace.layout import Workspace

    PICTURES.mkdir(parents=True, exist_ok=True)
    trained = Path(tempfile.mkdtemp(prefix="llmops-trained-")) / ".llmops"
    for name in sys.argv[1:] or SHOTS:
        with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
            os.environ["XDG_CONFIG_HOME"] = folder
            workspace = Workspace(Path(folder) / "support-desk" / ".llmops")
            if name in TRAINED:
                if not trained.exists():
                    fill(Workspace(trained))
                    train(Workspace(trained))
                    evaluate(Workspace(trained))
                shutil.copytree(trained, workspace.root)
            fill(workspace)
            (PICTURES / f"{name}.svg").write_text(asyncio.run(shoot(workspace, name)), encoding="utf-8")
            supervisor = ServerSupervisor(workspace)
            for handle in supervisor.running():
                supervisor.stop(handle.model)
        print(name)
    shutil.rmtree(trained.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
