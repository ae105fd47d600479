"""The process that trains a run on a node of a cluster: ``FOLDER PARENT``; writes its record and what it came to there."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.jobs.store import JobStore
from llmops_tui.jobs.worker import JobContext
from llmops_tui.training.worker.node import OUTCOME, PROGRESS, SPEC
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace

TRAIN, HELD_OUT, GENERATED = "rows/train.jsonl", "rows/held-out.jsonl", "rows/generated.jsonl"
BASE, START = "base", "start"


class NodeContext(JobContext):
    """What a run tells and is asked on a node: its progress goes into a file, and there is no workspace."""

    def __init__(self, folder: Path) -> None:
        nowhere = Workspace(folder / "no-workspace")
        super().__init__(nowhere, "", JobStore(EventLog(nowhere)), folder)

    def report(self, share: float, message: str = "") -> None:
        """Keep the progress for whoever asks."""
        self.check()
        write_atomic(self.folder / PROGRESS, json.dumps([share, message]))


def _rows(path: Path) -> list[Any]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main() -> int:
    """Train; returns the exit code, 0 also where the run was stopped as asked, or failed for a reason that it tells."""
    folder = Path(sys.argv[1])
    die_with_parent(int(sys.argv[2]))
    from llmops_tui.training.worker import surroundings

    surroundings.prepare()
    from llmops_tui.training.examples import Examples, Generated, Report
    from llmops_tui.training.history import Recorder
    from llmops_tui.training.recipe import check
    from llmops_tui.training.worker.loop import train
    from llmops_tui.training.worker.outcome import StoppedAfterSaveError

    spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    context = NodeContext(folder)
    signal.signal(signal.SIGTERM, context.note_cancel)
    generated = [Generated(**row) for row in _rows(folder / GENERATED)]
    examples = Examples(_rows(folder / TRAIN), _rows(folder / HELD_OUT), generated, Report())
    recorder = Recorder(folder)
    begin = folder / START if spec["start"] else None
    try:
        outcome = train(
            check(spec["recipe"]), folder / BASE, examples, context, recorder, begin, force=bool(spec["force"])
        )
        found = {
            "steps": outcome.steps, "adapter": outcome.adapter.name, "loss": outcome.loss, "eval_loss": outcome.eval_loss,
            "recipe": outcome.recipe.model_dump(), "peak_bytes": outcome.peak_bytes,
        }  # fmt: skip
    except StoppedAfterSaveError as stopped:
        found = {"stopped": stopped.state}
    except LlmopsError as error:
        found = {"failed": [error.code, error.message, error.hint]}
    except Exception as error:  # noqa: BLE001  the border of the process: every failure is told to who waits for it
        traceback.print_exc()
        found = {"failed": ["training_failed", f"{type(error).__name__}: {error}"[:500], ""]}
    finally:
        recorder.close()
    write_atomic(folder / OUTCOME, json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
