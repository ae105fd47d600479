"""An hour of two apps and three command lines on one workspace; LLMOPS_SOAK_MINUTES makes it shorter or longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "soak.py"
MINUTES = float(os.environ.get("LLMOPS_SOAK_MINUTES", "60"))
# Beside the soak itself: what is under way ends, and all is looked at once more, however busy the machine is.
MORE_SECONDS = 1800


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
