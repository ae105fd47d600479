"""``llmops privacy`` and ``llmops retention``: previews change nothing, and the exit code tells what is left."""

from __future__ import annotations

from pathlib import Path

from llmops_tui.jobs.store import JobStore
from llmops_tui.prompts.store import PromptStore
from llmops_tui.user_files import settings_folder, state_folder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
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


def test_files_of_the_user_are_part_of_everything(workspace: Workspace) -> None:
    llmops = Llmops(workspace)
    llmops.run("snippet", "add", "greeting", f"Kind regards, {NAME}")
    llmops.run("snippet", "add", "other", "Kind regards")
    own = settings_folder() / "notes.txt"
    own.write_text(f"of {NAME}\n")
    plan = llmops.run("privacy", "find", NAME)
    places = {(one["place"], one["what"]): one["becomes"] for one in plan["found"]}
    assert places[("your own files", "snippets.toml")] == "redacted"
    assert places[("your own files", "notes.txt")] == "stays"
    assert [text for text in plan["staying"] if str(own) in text]
    receipt = llmops.run("privacy", "forget", NAME, "--yes")["erasure"]["receipt"]
    assert receipt["counts"]["your own files"] >= 1
    assert llmops.run("snippet", "list")["snippets"] == {"greeting": "Kind regards, [NAME]", "other": "Kind regards"}
    assert NAME in own.read_text()
    left = [path for path in (*settings_folder().rglob("*"), *state_folder().rglob("*")) if path.is_file()]
    assert [path for path in left if NAME.encode() in path.read_bytes()] == [own]


def test_what_jobs_read_and_wrote_elsewhere_is_named(workspace: Workspace, tmp_path: Path) -> None:
    """Requests and answers of ``llmops batch run``, and whatever else a job was given a path of."""
    asked, answers, fine = (tmp_path / name for name in ("asked.jsonl", "answers.jsonl", "fine.jsonl"))
    for path in (asked, answers):
        path.write_text(f'{{"custom_id": "{NAME}"}}\n')
    fine.write_text("{}\n")
    jobs = JobStore(EventLog(workspace))
    spec = {
        "entry": "x:y",
        "arguments": {"requests": str(asked), "output": str(answers), "more": [str(fine), str(tmp_path)]},
    }
    job = jobs.add(kind="batch", title="answer them", spec=spec)  # type: ignore[arg-type]
    staying = Llmops(workspace).run("privacy", "find", NAME)["staying"]
    assert [text.partition(",")[0] for text in staying] == [str(asked), str(answers)]
    assert all(job.id in text for text in staying)
