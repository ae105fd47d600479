from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_keys_page_is_that_of_the_registry() -> None:
    done = subprocess.run(
        [sys.executable, "tools/make_keys_page.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_module_says_what_it_is_for_in_its_first_line() -> None:
    for folder in ("llmops_tui", "screens", "tools"):
        for module in (ROOT / folder).rglob("*.py"):
            assert module.read_text(encoding="utf-8").startswith('"""'), module


def test_no_module_has_grown_past_its_purpose() -> None:
    for folder, most in (("llmops_tui", 400), ("screens", 300)):
        for module in (ROOT / folder).rglob("*.py"):
            assert len(module.read_text(encoding="utf-8").splitlines()) <= most, module


def test_what_contributors_are_told_is_there() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:llmops_tui|screens|tests|docs)/[\w./]*)`", told):
        assert (ROOT / path).exists(), path
    actions = (ROOT / "screens" / "actions.py").read_text(encoding="utf-8")
    metrics = (ROOT / "llmops_tui" / "evaluation" / "metrics" / "built_in.py").read_text(encoding="utf-8")
    assert "ACTIONS:" in actions
    assert "METRICS:" in metrics
