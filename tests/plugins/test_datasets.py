"""Formats, checks and exporters of packages: the example's are walked from the command line, broken ones are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.datasets.checks.sets import ExactDuplicates
from llmops_tui.datasets.export_job import export
from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.detection import recognise
from llmops_tui.datasets.formats.readers import reader
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.plugin_packages import put_example, put_package, use

ROWS = [{"q": f"What is {n}?", "a": "A NUMBER" if n == 3 else f"It is {n}.", "id": n} for n in range(8)]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_examples_format_check_and_exporter_from_the_command_line(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_example(tmp_path / "site")
    use(monkeypatch, tmp_path / "site")
    llmops = Llmops(workspace)
    source = write(tmp_path / "faq.jsonl", [*ROWS, {"q": 3, "a": "x"}])
    seen = llmops.run("data", "import", str(source), "--dry-run")
    assert (seen["format"], seen["evidence"][0]) == ("qa", "9 of 9 rows have 'q' and 'a'")
    made = llmops.run("data", "import", str(source), "--name", "faq", "--yes")
    assert (made["format"], made["rows"], made["rejected"]) == ("messages", 8, 1)
    again = llmops.run("data", "export", "faq", "--format", "qa", "--to", str(tmp_path / "again.jsonl"))
    assert again["reads_back"]
    assert (tmp_path / "again.jsonl").read_text().splitlines() == [
        json.dumps(row, separators=(",", ":")) for row in ROWS
    ]
    (problem,) = llmops.run("data", "check", "faq", "--only", "shouting")["problems"]
    assert (problem["kind"], problem["row_numbers"]) == ("shouting", [3])
    assert "shouting" in {p["kind"] for p in llmops.run("data", "check", "faq")["problems"]}
    llmops.run("data", "fix", "faq", "shouting")
    assert llmops.run("data", "check", "faq", "--only", "shouting")["problems"] == []
    told = llmops.run("data", "export", "faq@1", "--to", str(tmp_path / "faq.dialog"))
    assert (told["type"], told["reads_back"]) == ("dialog", False)
    assert "llmops-example-plugin 1.0" in told["differs"]
    assert (tmp_path / "faq.dialog").read_text().startswith("user: What is 0?\nassistant: It is 0.\n\n")
    llmops.run("data", "export", "faq@1", "--as", "dialog", "--to", str(tmp_path / "faq.dialog.gz"), code=3)
    long = {"messages": [{"role": "user", "content": "a"}]}
    llmops.run("data", "import", str(write(tmp_path / "m.jsonl", [long])), "--name", "long", "--yes")
    refused = llmops.run("data", "export", "long", "--format", "qa", "--to", str(tmp_path / "l.jsonl"), code=3)
    assert "row 0: two turns are required, and it has 1" in refused["error"]["message"]


BROKEN = """
from llmops_tui.datasets.checks.base import Check
from llmops_tui.datasets.file_types import Exporter
from llmops_tui.datasets.formats.base import Format

class Blind(Format):
    name, kind = "blind", "messages"
    def recognises(self, row): return row["absent"]

class Loses(Format):
    name, kind, sign = "loses", "messages", "have 'x'"
    def recognises(self, row): return "x" in row
    def read(self, row): return {}

class Raises(Loses):
    name = "raises"
    def read(self, row): return row["absent"]

class OtherKind(Format):
    name, kind = "other-kind", "poems"

class Falls(Check):
    id, title, why = "falls", "Falls", "It does."
    def inspect(self, number, row):
        row.clear()
        if number == 1: raise IndexError(number)

class NoReason(Check):
    id, title = "no-reason", "No reason"

class Duplicate(Falls):
    id = "duplicate"

class Nothing(Exporter):
    suffix = ".void"
    def write(self, version, rows, path): pass

class Csv(Exporter):
    suffix = ".csv"
"""


def test_broken_ones_are_named_where_they_were_wanted_and_the_others_do_their_work(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {
        "llmops_tui.formats": {
            "blind": "broken:Blind", "loses": "broken:Loses", "raises": "broken:Raises", "other-kind": "broken:OtherKind",
        },
        "llmops_tui.checks": {"falls": "broken:Falls", "no-reason": "broken:NoReason", "duplicate": "broken:Duplicate"},
        "llmops_tui.exporters": {"void": "broken:Nothing", "comma": "broken:Csv"},
    }  # fmt: skip
    put_package(tmp_path / "site", "half-made", points, {"broken.py": BROKEN})
    use(monkeypatch, tmp_path / "site")
    found = recognise([{"x": 1}] * 3)
    assert found.format == "tabular"
    assert any("formats plugin 'blind' of half-made 1.0: KeyError: 'absent'" in line for line in found.evidence)
    assert any("'poems' is not a kind of dataset" in line for line in found.evidence)
    with pytest.raises(RowRefusedError, match="the format loses read it without messages"):
        reader("loses")({"x": 1})
    with pytest.raises(RowRefusedError, match="'raises' of half-made"):
        reader("raises")({"x": 1})
    with pytest.raises(InputRefusedError, match="'poems' is not a kind"):
        reader("other-kind")

    store = DatasetStore(Catalog(workspace))
    source = write(tmp_path / "m.jsonl", [{"messages": [{"role": "user", "content": "HI"}]}] * 3)
    version = import_now(store, [source], "m", "messages")
    from llmops_tui.datasets.checks.runner import as_report, run_checks

    report = as_report(version, run_checks(version))
    notes = {p["kind"]: p["note"] for p in report["problems"]}
    assert notes["falls"] == "checks plugin 'falls' of half-made 1.0: IndexError: 1"
    assert "no reason why" in notes["no-reason"]
    assert not {"falls", "no-reason"} & set(report["clean"])
    # The rows that it emptied were its own copies: built-in checks found what they always find.
    built_in = next(p for p in report["problems"] if p["kind"] == "duplicate")
    assert (built_in["rows"], built_in["title"]) == (2, ExactDuplicates.title)

    with pytest.raises(Exception, match=r"exporters plugin 'void' of half-made 1\.0: ValueError: it wrote no file"):
        export(version, tmp_path / "m.void")
    with pytest.raises(InputRefusedError, match=r"files that end in \.csv are written by the built-in writer"):
        export(version, tmp_path / "m.xyz", file_type="comma")
    assert export(version, tmp_path / "m.csv")["type"] == "csv"
    assert [p.name for p in tmp_path.glob("m.*")] != []
