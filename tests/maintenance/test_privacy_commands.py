"""``llmops privacy`` and ``llmops retention``: previews change nothing, and the exit code tells what is left."""

from __future__ import annotations

from pathlib import Path

from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops

NAME = "Zwiebelinde Turmuhr"


def test_find_forget_receipts_and_report(workspace: Workspace, catalog: Catalog, tmp_path: Path) -> None:
    llmops = Llmops(workspace)
    PromptStore(catalog).save("about", template=f"know {NAME}")
    whom = tmp_path / "whom"
    whom.write_text(f"{NAME}\nid:4711471\n")
    found = llmops.run("privacy", "find", "--from", str(whom))
    assert [(one["place"], one["things"], one["becomes"]) for one in found["found"]] == [("prompts", 1, "redacted")]
    shown = llmops.run("privacy", "forget", "--from", str(whom))
    assert (shown["done"], shown["erasure"]) == (False, None)
    assert PromptStore(Catalog(workspace)).get("about").template == f"know {NAME}"

    done = llmops.run("privacy", "forget", NAME, "--yes")["erasure"]
    assert done["receipt"]["searched"]["left"] == []
    assert done["receipt"]["counts"] == {"prompts": 1}
    assert [one["id"] for one in llmops.run("privacy", "receipts", NAME)["erasures"]] == [done["id"]]
    assert llmops.run("privacy", "receipts", "Somebody Else")["erasures"] == []
    assert llmops.run("privacy", "resume")["erasures"] == []

    PromptStore(Catalog(workspace)).save("again", template=f"know {NAME} again")
    [again] = llmops.run("privacy", "again")["erasures"]
    assert (again["id"], len(again["again"])) == (done["id"], 1)
    assert PromptStore(Catalog(workspace)).get("again").template == "know [NAME] again"

    llmops.run("privacy", "report", "--out", str(tmp_path / "report.md"))
    assert done["id"] in (tmp_path / "report.md").read_text()
    assert llmops.run("retention", "show")["rules"] == []
