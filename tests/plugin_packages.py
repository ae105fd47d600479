"""Packages with plugins, put where Python finds them as if they were installed."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from llmops_tui import themes
from llmops_tui.chains import calls as steps
from llmops_tui.datasets import file_types
from llmops_tui.datasets.checks import registry as checks
from llmops_tui.datasets.formats import registry as formats
from llmops_tui.evaluation import judges, reports
from llmops_tui.evaluation.metrics import custom

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "plugin"
_KINDS = (custom, formats, checks, judges, file_types, reports, steps, themes)


def put_package(
    folder: Path,
    package: str,
    points: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str],
    version: str = "1.0",
) -> None:
    """Write a package as an installer would: modules by file name, entry points by group."""
    folder.mkdir(exist_ok=True)
    for name, text in modules.items():
        (folder / name).write_text(text)
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = []
    for group, entries in points.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def put_example(folder: Path) -> None:
    """The example package, as its own pyproject describes it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    put_package(folder, project["name"], project["entry-points"], {}, project["version"])
    shutil.copytree(EXAMPLE / "llmops_example_plugin", folder / "llmops_example_plugin")


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let this process, and those it starts, find packages in a folder, and look for plugins anew."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', ROOT)}")
    for room in _KINDS:
        monkeypatch.setattr(room.PLUGINS, "_known", None)
