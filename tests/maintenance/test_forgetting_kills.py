"""Thirty kills of forgetting, each at another moment: either nothing was begun, or whoever resumes completes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.forgetting.erase import forget, resume
from llmops_tui.maintenance.forgetting.plan import find_person
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.trust import trust
from tests.killed_acts import KilledActs
from tests.maintenance.person_everywhere import NAMED, PERSON, ROWS, bytes_left, spread

KILLS = 30


def forgetting(root: str, how: str) -> Callable[[], object]:
    workspace = Workspace(Path(root))
    return lambda: forget(workspace, PERSON, how)


# Each kill is waited for as long as a busy machine needs; this bounds only what stands still.
@pytest.mark.slow
@pytest.mark.timeout(7200)
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

    begun = 0
    act = "tests.maintenance.test_forgetting_kills:forgetting"
    with KilledActs(act, ("/maintenance/", "/workspace/")) as acts:
        fresh()
        calls = acts.calls(str(workspace.root), how)
        for number in range(KILLS // 2):
            fresh()
            # Evenly over all of it, the end included.
            acts.kill(max(1, calls * (2 * number + 1) // KILLS), str(workspace.root), how)
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
