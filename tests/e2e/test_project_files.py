"""What surrounds the code: hooks that are the linters, forms that can be read, one version, a site, a package of plugins."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from llmops_tui import __version__
from tests.plugin_packages import EXAMPLE

ROOT = Path(__file__).resolve().parents[2]


def test_the_hooks_before_a_commit_are_those_of_make_lint() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    parts = makefile.partition("\nlint: ")[2].partition("\n")[0].split()
    recipes = [makefile.partition(f"\n{part}:")[2].partition("\n\n")[0] for part in parts]
    made = [line.strip().removeprefix("@$(BIN)/") for recipe in recipes for line in recipe.splitlines()[1:]]
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repo,) = config["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in repo["hooks"]] == made
    assert all(not hook["pass_filenames"] for hook in repo["hooks"])


def test_the_forms_for_issues_ask_for_something() -> None:
    for form in ("bug.yml", "wish.yml"):
        body = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / form).read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(body)
        assert len({part["id"] for part in body["body"]}) == len(body["body"])
        assert any(part.get("validations", {}).get("required") for part in body["body"])


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


def build_site(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "-f", str(config), "-d", str(target)],
        capture_output=True,
        text=True,
        check=False,
        cwd=config.parent,
    )


@pytest.mark.slow
def test_the_site_has_every_page_and_picture_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = build_site(ROOT / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {p.stem for p in (ROOT / "docs").glob("*.md")} <= {p.stem for p in (tmp_path / "site").glob("*.html")}
    assert "pictures/playground.svg" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    fetched = re.compile(r"""(?:src=["']?|url\(["']?|@import\s+["']?|<link[^>]*href=["']?)(?:https?:)?//[^"')\s]+""")
    for path in (tmp_path / "site").rglob("*"):
        if path.suffix in {".html", ".css", ".svg"}:
            assert not fetched.search(path.read_text(encoding="utf-8")), path


@pytest.mark.slow
@pytest.mark.parametrize("line", ["[gone](nowhere.md)", "[gone](cli.md#no-such-heading)", "![gone](pictures/none.svg)"])
def test_a_link_that_leads_nowhere_ends_the_building_of_the_site(tmp_path: Path, line: str) -> None:
    pytest.importorskip("mkdocs")
    for name in ("docs", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md"):
        shutil.copy2(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "jobs.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{line}\n")
    assert build_site(tmp_path / "mkdocs.yml", tmp_path / "site").returncode != 0


@pytest.mark.slow
def test_the_example_package_is_installed_by_pip_and_found(tmp_path: Path) -> None:
    source = shutil.copytree(EXAMPLE, tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(source)], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "llmops_tui", "--json", "plugin", "list"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"},
    )
    found = json.loads(done.stdout)["plugins"]
    assert {p["package"] for p in found} == {"llmops-example-plugin"}
    assert [(p["kind"], p["problem"]) for p in found] == [
        (kind, "") for kind in ("metrics", "metrics", "formats", "checks", "judges", "exporters", "reports", "themes")
    ]
