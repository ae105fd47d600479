"""No circle of imports, imports for types alone counted: among files, and among what lies beside each other in the engine."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]


def circles_of(graph: grimp.ImportGraph) -> list[set[str]]:
    """Sets of modules of which each imports, over others, each of its set."""
    above = {module: graph.find_upstream_modules(module) for module in graph.modules}
    circles = {frozenset({m, *(n for n in above[m] if m in above[n])}) for m in graph.modules}
    return sorted((set(circle) for circle in circles if len(circle) > 1), key=sorted)


def test_no_file_is_in_a_circle() -> None:
    assert circles_of(grimp.build_graph("llmops_tui", "screens", cache_dir=None)) == []


def test_a_circle_is_found_whole() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in ("ab", "bc", "ca", "cd", "de", "xy", "yx"):
        graph.add_import(importer=importer, imported=imported)
    assert circles_of(graph) == [{"a", "b", "c"}, {"x", "y"}]


def lint(folder: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The linter's word on an engine of these files, by the project's own contract on circles."""
    for name, text in files.items():
        path = folder / "llmops_tui" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for package in (path.parent, folder / "llmops_tui"):
            (package / "__init__.py").touch()
        path.write_text(text)
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in told if each["type"] == "acyclic_siblings"]
    settings = ["[tool.importlinter]", 'root_packages = ["llmops_tui"]', "[[tool.importlinter.contracts]]"]
    settings += [f"{key} = {json.dumps(value)}" for key, value in contract.items()]
    (folder / "pyproject.toml").write_text("\n".join(settings))
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


STRAIGHT = {
    "a.py": "from llmops_tui.room.low import x",
    "room/low.py": "x = 1",
    "room/high.py": "import llmops_tui.room.low",
}


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("room/low.py", "from llmops_tui import a\nx = 1"),
        ("room/low.py", "def later():\n    import llmops_tui.room.high\nx = 1"),
        (
            "room/low.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from llmops_tui.room.high import y\nx = 1",
        ),
        # No two files of this one know each other, but their folders do.
        ("room/high.py", "import llmops_tui.other.one"),
    ],
)
def test_a_new_circle_breaks_the_contract(where: str, text: str, tmp_path: Path) -> None:
    files = {**STRAIGHT, "other/one.py": "x = 1", "other/two.py": "import llmops_tui.room.low"}
    good = lint(tmp_path, files)
    assert (good.returncode, "No circles in the engine KEPT" in good.stdout) == (0, True), good.stdout + good.stderr
    bad = lint(tmp_path, files | {where: text})
    assert (bad.returncode, "No circles in the engine BROKEN" in bad.stdout) == (1, True), bad.stdout + bad.stderr
