from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.terminal import Terminal


@pytest.mark.slow
def test_a_file_is_imported_looked_at_mended_and_taken_back(sample: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    rows = [{"question": f"How is thing {n % 20} opened?", "answer": f"With key {n % 20}."} for n in range(25)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + "{broken\n")
    app = Terminal("--workspace", str(sample.root))
    app.wait("support-base")
    app.press("f9", "2")
    app.wait("triage@1")
    app.press("i")
    app.wait("Path of a file or folder")
    app.child.send(str(path).encode())
    app.press("enter")
    app.wait("m maps columns")
    app.press("m")
    app.wait("user=question assistant=answer")
    app.press("enter")
    app.wait("mapping user = question")
    app.press("enter")
    app.wait("faq@1 · 25 rows · 1 rejected · messages")
    # It is small, so it is checked unasked.
    app.wait(lambda text: re.search(r"Duplicate rows +5 ", text) is not None)
    app.press("f")
    app.wait("It concerns 5 rows of 25")
    app.press("y")
    app.wait("faq@2 · 20 rows")
    app.press("z")
    app.wait("faq@3 · 25 rows")
    app.press("ctrl+q")
    assert app.finish() == 0
    assert app.unchanged()
    log = DatasetStore(Catalog(sample)).log("faq")
    assert [v.recipe.operation for v in log] == ["restore", "fix", "import"]
