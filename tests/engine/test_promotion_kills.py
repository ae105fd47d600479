"""Thirty kills of a promotion, each at another moment: the label is where it was or where it was to go, and the audit knows it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.deployment.promotions import Promotions
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.maintenance.check import check
from llmops_tui.prompts.label_audit import audited_moves
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.audit import problems
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

KILLS = 30
# Ends itself at the n-th call of a function of its own code, or from it: in between are all that the databases and the disk do.
_CODE = """
import os, sys
from pathlib import Path
from llmops_tui.deployment.promotions import Promotions
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
workspace, limit, count = Workspace(Path(sys.argv[1])), int(sys.argv[2]), 0
def watch(frame, event, _arg):
    global count
    if event in ("call", "c_call") and "/llmops_tui/" in frame.f_code.co_filename:
        count += 1
        if count == limit:
            os.kill(os.getpid(), 9)
moving = Promotions(Catalog(workspace), EventLog(workspace), EvaluationStore(workspace))
sys.setprofile(watch)
moving.promote("support@2", "production", reason="shorter")
sys.setprofile(None)
print(count)
"""


def _run(root: Path, limit: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _CODE, str(root), str(limit)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.mark.slow
def test_a_killed_promotion_is_the_old_or_the_new(tmp_path: Path) -> None:
    made = make_workspace(Workspace(tmp_path / "made"))
    with_label = Promotions(Catalog(made), EventLog(made), EvaluationStore(made))
    for text in "ab":
        with_label.prompts.save("support", template=text)
    with_label.promote("support@1", "production")
    workspace = Workspace(tmp_path / "ws")

    def fresh() -> None:
        shutil.rmtree(workspace.root, ignore_errors=True)
        shutil.copytree(made.root, workspace.root)

    fresh()
    whole = _run(workspace.root, 0)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stdout)
    seen = []
    for number in range(KILLS):
        fresh()
        # Evenly over all of it, the end included.
        killed = _run(workspace.root, max(1, calls * (number + 1) // KILLS))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        catalog, event_log = Catalog(workspace), EventLog(workspace)
        moving = Promotions(catalog, event_log, EvaluationStore(workspace))
        held = moving.held("support", "production")
        assert held in {1, 2}
        seen.append(held)
        # Whoever looks adds what is not in the audit yet, once.
        history = moving.history("support", "production")
        assert [move.after for move, _ in history] == list(range(held, 0, -1))
        assert all(entry is not None for _, entry in history)
        assert len(list(audited_moves(event_log))) == held
        assert problems(event_log.connection(), {}) == []
        assert check(workspace).errors == [], number
        # And the next one goes on from there.
        ids = PromptStore(catalog).version_ids({"support"})
        moved = moving.promote("support@2" if held == 1 else "support@1", "production")
        assert moved.version.id == ids["support", 3 - held]
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}
