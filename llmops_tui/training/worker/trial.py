"""The process of one sweep trial: ``WORKSPACE FOLDER PARENT``; trains the recipe in the folder and keeps its record alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from llmops_tui.datasets.tokens import ModelText
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.training.bases import tokenized_by
from llmops_tui.training.examples import build
from llmops_tui.training.history import Recorder
from llmops_tui.training.recipe import changed, check
from llmops_tui.training.runs import RunStore
from llmops_tui.training.starts import start_of
from llmops_tui.training.worker import surroundings
from llmops_tui.workspace.layout import Workspace


class _Context:
    """What a run needs of a job, for a process that is none."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        self.folder = folder

    def check(self) -> None:
        """A trial is ended from outside."""

    def report(self, share: float, message: str = "") -> None:
        """Nobody asks a trial how far it is: its record tells."""


def main() -> int:
    """Train; returns the exit code. A trial ends with the search that started it, whose folder the next one writes into."""
    die_with_parent(int(sys.argv[3]))
    folder = Path(sys.argv[2])
    recipe = check(json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
    surroundings.prepare(recipe.devices)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    from llmops_tui.training.worker.loop import train
    from llmops_tui.training.worker.unpack import weights_of

    workspace = Workspace(Path(sys.argv[1]))
    # A trial that was cut short begins again: it is short.
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    recipe = changed(recipe, {"checkpoints.every": 1_000_000})
    store = RunStore(workspace)
    base = store.base_of(recipe)
    start = start_of(recipe, store, base)
    weights = weights_of(workspace, base, recipe, lambda _share, _told: None)
    with ModelText(tokenized_by(recipe, base, weights), recipe.template(base.header.get("chat_template"))) as text:
        examples = build(recipe, store.datasets, text)
    context: Any = _Context(workspace, folder)
    recorder = Recorder(folder)
    outcome = train(recipe, weights, examples, context, recorder, None if start is None else start.folder)
    recorder.write("end", outcome.steps, state="done")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
