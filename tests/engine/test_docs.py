from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from llmops_tui.datasets.checks.registry import CHECKS
from llmops_tui.evaluation.bundled_suites import shipped
from llmops_tui.monitoring.series import UNITS
from llmops_tui.settings import Settings
from llmops_tui.training.presets import MEMORY, TASKS

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


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def _default(value: float | str) -> str:
    """A setting's default as the page of settings has it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return f"`{value}`" if value else "none"
    return f"{int(value):,}" if value == int(value) else str(value)


def test_the_settings_page_has_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", _page("settings"), re.MULTILINE)
    assert sorted(rows) == sorted((name, _default(value)) for name, value in Settings().model_dump().items())


def test_the_datasets_page_has_every_check_and_its_fix() -> None:
    section = _page("datasets").partition("\n## Checks\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    told = {name.strip(): bool(fix.strip()) for names, _, fix in rows for name in names.split(",")}
    assert told == {check.id: bool(check.fix) for check in CHECKS}


def test_what_comes_with_the_app_is_named_where_it_is_explained() -> None:
    assert [name for name in (*TASKS, *MEMORY) if f"*{name}*" not in _page("training")] == []
    assert [name for name in shipped() if f"*{name}*" not in _page("evaluation")] == []
    assert [name for name in UNITS if not re.search(rf"\b{name}\b", _page("monitor"))] == []


def test_every_module_that_the_architecture_names_is_there() -> None:
    there = [
        str(path.relative_to(ROOT))
        for top in ("llmops_tui", "screens", "tools", "tests")
        for path in (ROOT / top).rglob("*.py")
    ]
    named = set(re.findall(r"(?<![*\w])[a-z][\w/]*\.py\b", _page("architecture")))
    assert [name for name in sorted(named) if not any(f"/{path}".endswith(f"/{name}") for path in there)] == []


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


def test_the_quick_tests_are_there() -> None:
    listed = (ROOT / "tests" / "quick.txt").read_text(encoding="utf-8").splitlines()
    assert listed == sorted(set(listed))
    assert [path for path in listed if not (ROOT / path).is_file()] == []
