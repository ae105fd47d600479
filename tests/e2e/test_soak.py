"""An hour of two apps and three command lines on one workspace; LLMOPS_SOAK_MINUTES makes it shorter or longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.soaking.apps import SCREENS, Said

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "soak.py"
MINUTES = float(os.environ.get("LLMOPS_SOAK_MINUTES", "60"))
# Beside the soak itself: what is under way ends, and all is looked at once more, however busy the machine is.
MORE_SECONDS = 1800


def test_the_apps_of_the_soak_wait_for_what_the_screens_say() -> None:
    """Else each of its steps waits in vain, and the hour shows nothing."""
    face = "".join(path.read_text(encoding="utf-8") for path in (SCRIPT.parents[1] / "screens").rglob("*.py"))
    engine = (SCRIPT.parents[1] / "llmops_tui" / "workspace" / "catalog_file.py").read_text(encoding="utf-8")
    assert [word for word in Said if word not in face + engine] == []
    assert [title for title in SCREENS.values() if f'title="{title}"' not in face] == []


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + MORE_SECONDS)
def test_an_hour_of_two_apps_and_three_command_lines_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--minutes", str(MINUTES), "--folder", str(tmp_path / "soak")],
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads((tmp_path / "soak" / "report.json").read_text())
    assert told["findings"] == [], done.stderr[-3000:]
    assert done.returncode == 0
    # It was at work: each of the five did something that was then looked for.
    for what in ("versions of prompts", "versions of datasets", "runs", "removals"):
        assert told["counts"][f"held: {what}"] > 0, told["counts"]
