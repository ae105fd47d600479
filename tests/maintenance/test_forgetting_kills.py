"""Thirty kills of forgetting, each at another moment: either nothing was begun, or whoever resumes completes it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.forgetting.erase import resume
from llmops_tui.maintenance.forgetting.plan import find_person
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.trust import trust
from tests.maintenance.person_everywhere import NAMED, PERSON, ROWS, bytes_left, spread

KILLS = 30
# Ends itself at the n-th call of a function of its own code: in between are all that the databases and the disk do.
_CODE = """
import os, sys
from pathlib import Path
from llmops_tui.maintenance.forgetting.erase import forget
from llmops_tui.workspace.layout import Workspace
from tests.maintenance.person_everywhere import PERSON
limit, count = int(sys.argv[2]), 0
def watch(frame, event, _arg):
    global count
    if event in ("call", "c_call") and ("/maintenance/" in frame.f_code.co_filename or "/workspace/" in frame.f_code.co_filename):
        count += 1
        if count == limit:
            os.kill(os.getpid(), 9)
sys.setprofile(watch)
forget(Workspace(Path(sys.argv[1])), PERSON, sys.argv[3])
sys.setprofile(None)
print(count)
"""


def _run(root: Path, limit: int, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _CODE, str(root), str(limit), how],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", ["remove", "redact"])
def test_a_killed_erasure_has_not_begun_or_is_completed(tmp_path: Path, how: str) -> None:
    made = make_workspace(Workspace(tmp_path / "made"))
    spread(made, tmp_path)
    before = find_person(made, PERSON).counts
    workspace = Workspace(tmp_path / "ws")

    def fresh() -> None:
        shutil.rmtree(workspace.root, ignore_errors=True)
        shutil.copytree(made.root, workspace.root)
        for path in Ledger(made)._copy.parent.glob("*.json"):
            path.unlink()
        trust(workspace)

    fresh()
    whole = _run(workspace.root, 0, how)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stdout)
    begun = 0
    for number in range(KILLS // 2):
        fresh()
        # Evenly over all of it, the end included.
        killed = _run(workspace.root, max(1, calls * (2 * number + 1) // KILLS), how)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        if not Ledger(workspace).begun():
            done = [one for one in Ledger(workspace).all() if one["receipt"] is not None]
            assert done or find_person(workspace, PERSON).counts == before
            continue
        begun += 1
        assert any("was begun and interrupted" in error.text for error in check(workspace).errors)
        [erasure] = resume(workspace)
        assert erasure["receipt"] is not None
        assert erasure["receipt"]["searched"]["left"] == []
        assert bytes_left(workspace.root) == []
        version = DatasetStore(Catalog(workspace)).get("chats@1")
        assert version.rows == (ROWS - len(NAMED) if how == "remove" else ROWS)
        assert check(workspace).errors == [], number
    # Most of the work is done after it was begun.
    assert begun >= KILLS // 8
