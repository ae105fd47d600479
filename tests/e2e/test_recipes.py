"""The recipes of CONTRIBUTING.md, followed in a copy of the tree: each works with the files that it names, and no others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.workspace.layout import Workspace
from tests.recipes import RECIPES, Recipe

ROOT = Path(__file__).resolve().parents[2]
_PROOF = """
import subprocess, sys
from pathlib import Path
from llmops_tui.workspace.layout import Workspace
workspace = Workspace(Path(sys.argv[1]))
def command(*arguments):
    line = [sys.executable, "-m", "llmops_tui", "--workspace", str(workspace.root), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
"""
titles = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)


def section(title: str) -> str:
    """What CONTRIBUTING.md says under the heading of a recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"CONTRIBUTING.md has no recipe {title!r}"
    return found.group(1)


@titles
def test_a_recipe_names_the_files_that_have_to_be_touched(recipe: Recipe) -> None:
    named = set(re.findall(r"`((?:llmops_tui|screens)/[\w./]+\.py)`", section(recipe.title)))
    changed = {path for path, _, _ in recipe.lines}
    assert changed <= named
    assert not {path for path in named if not (ROOT / path).exists()}
    # New files lie in the folders that it names.
    folders = set(re.findall(r"`((?:llmops_tui|screens)/(?:[\w/]*/)?)`", section(recipe.title)))
    assert all(any(path.startswith(folder) for folder in folders) for path in recipe.new)
    # What its lines are put behind stands there: once, and so it does not have to wait for the slow tests.
    for path, behind, _ in recipe.lines:
        assert (ROOT / path).read_text(encoding="utf-8").count(behind) == 1, f"{path}: {behind!r}"


def test_every_recipe_is_walked() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipes = text.partition("## To add …\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^### (.*)$", recipes, re.MULTILINE)) == {recipe.title for recipe in RECIPES}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which all recipes were followed."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("llmops_tui", "screens", "sample_data"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", root / "pyproject.toml")
    for recipe in RECIPES:
        recipe.apply(root)
    return root


def run(tree: Path, *command: str) -> None:
    done = subprocess.run(
        command,
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "TEXTUAL_ANIMATIONS": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
@titles
def test_what_a_recipe_adds_works(recipe: Recipe, tree: Path, workspace: Workspace) -> None:
    run(tree, sys.executable, "-c", _PROOF + recipe.proof, str(workspace.root))


@pytest.mark.slow
def test_what_recipes_add_passes_the_linters(tree: Path) -> None:
    run(tree, sys.executable, "-m", "ruff", "check", "llmops_tui", "screens")
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run(tree, sys.executable, "-c", lint, "--no-cache")
