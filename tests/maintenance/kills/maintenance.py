"""Writers of keeping: backups, series, restores, clearing away, removal, erasure, checksums, and a workspace's beginning."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance.archive import read_manifest, verify
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.findings import Finding
from llmops_tui.maintenance.gc import collect
from llmops_tui.maintenance.record_removal import remove_record
from llmops_tui.maintenance.restore import restore
from llmops_tui.maintenance.series import backup_into, generations
from llmops_tui.maintenance.trace_removal import remove_traces
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.settings import Settings
from llmops_tui.traces.store import TraceFilter
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import load, record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.migrations import LATEST, MIGRATIONS
from llmops_tui.workspace.sqlite_files import open_raw
from tests.maintenance.kills.ledger import Kind, Known, Ledger, Place, being_removed
from tests.maintenance.kills.records import lines, rows, trace

WORD = "correct horse battery"


# ── backups ──


def write_backups(place: Place, tell: Ledger, _chance: Random) -> None:
    """One file, replaced each time."""
    while True:
        with tell.doing("backup") as done:
            done["at"] = backup(place.workspace, place.folder / "one.tar").made_at


def verify_backups(place: Place, known: Known, whole: bool) -> None:
    path = place.folder / "one.tar"
    done = known.acknowledged("backup")
    if done or path.exists():
        made = verify(path)
        assert not done or made.made_at >= (done[-1].done or {})["at"]
        assert "workspace.duckdb" in made.files
    if whole:
        # One that was killed is cleared away by the next.
        assert [one.name for one in place.folder.iterdir()] == ["one.tar"]


def write_series(place: Place, tell: Ledger, _chance: Random) -> None:
    """Two series, one of them encrypted; a file that the next does not have to copy is added each time."""
    while True:
        for folder, word in (("plain", ""), ("safe", WORD)):
            (place.root / "logs" / "grows.log").open("a").write("a line\n")
            try:
                with tell.doing(folder) as done:
                    made = backup_into(
                        place.workspace, place.folder / folder, incremental=True, keep=3, passphrase=word
                    )
                    done["name"], done["removed"] = made.path.name, [path.name for path in made.removed]
            except InputRefusedError as error:
                # Two within a second have one name.
                if error.code != "backup_exists":
                    raise


def prepare_series(place: Place) -> None:
    for name in ("plain", "safe"):
        (place.folder / name).mkdir()


def verify_series(place: Place, known: Known, whole: bool) -> None:
    for name, word in (("plain", ""), ("safe", WORD)):
        folder = place.folder / name
        there = generations(place.workspace, folder)
        for path in there:
            verify(path, passphrase=word)
        done = known.acknowledged(name)
        # Thinned by one that was killed before it came to tell: no more than are kept.
        gone = {one for told in done for one in (told.done or {})["removed"]}
        kept = [(told.done or {})["name"] for told in done][-3:]
        names = {path.name for path in there}
        assert len(set(kept) - names) <= len(known.begun(name)) - len(done) or set(kept) <= names
        assert not gone & names
        if done:
            # None that stays lacks one that it needs.
            needed = {one for path in there for one in read_manifest(path, word).elsewhere.values()}
            assert needed <= names
            assert kept[-1] in names
        if whole:
            assert {path.name for path in folder.iterdir()} == names


# ── restores ──


def prepare_restores(place: Place) -> None:
    """Two backups that differ."""
    store = PromptStore(Catalog(place.workspace))
    for name in ("a", "b"):
        store.save(f"only-{name}", template=name)
        backup(place.workspace, place.folder / f"{name}.tar")


def write_restores(place: Place, tell: Ledger, chance: Random) -> None:
    target = Workspace(place.folder / "there")
    while True:
        name = chance.choice("ab")
        with tell.doing("restore", name=name):
            restore(place.folder / f"{name}.tar", target)


def verify_restores(place: Place, known: Known, whole: bool) -> None:
    target = Workspace(place.folder / "there")
    last = {told.facts["name"] for told in known.last("restore")}
    if (target.root / "workspace.json").exists():
        found = {summary.name for summary in PromptStore(Catalog(target)).summaries()}
        assert ("b" if "only-b" in found else "a") in last
        assert check(target).errors == []
    else:
        assert not known.acknowledged("restore")
    if whole:
        assert not [path.name for path in place.folder.glob("there.restoring-*")]
    # What stood there before is kept, whole.
    for path in sorted(place.folder.glob("there.before-*"))[-2:]:
        assert "hello" in {summary.name for summary in PromptStore(Catalog(Workspace(path))).summaries()}


# ── clearing away and removing ──


def write_clearing(place: Place, tell: Ledger, _chance: Random) -> None:
    """Rubbish that is old enough, and clearing it away."""
    old = time.time() - 90 * 86_400
    while True:
        name = tell.fresh()
        made = [
            place.root / "datasets" / name.ljust(64, "0"),
            place.root / "datasets" / f".staging-{name}",
            place.root / "models" / f"{name}.gguf",
            place.root / "runs" / f"job_{name}",
        ]
        for path in made:
            path.mkdir()
            (path / "file").write_text(name)
            os.utime(path / "file", (old, old))
            os.utime(path, (old, old))
        with tell.doing("clear", paths=[str(path) for path in made]):
            collect(place.workspace, Settings())


def verify_clearing(place: Place, known: Known, _whole: bool) -> None:
    for told in known.acknowledged("clear"):
        assert not [path for path in told.facts["paths"] if Path(path).exists()]
    version = DatasetStore(Catalog(place.workspace)).get("base")
    assert version.files
    assert ModelRegistry(Catalog(place.workspace)).get("tiny").present


def write_forgetting(place: Place, tell: Ledger, chance: Random) -> None:
    """Datasets of few contents, so that several share one, and prompts; each removed again."""
    catalog = Catalog(place.workspace)
    datasets, prompts = DatasetStore(catalog), PromptStore(catalog)
    files = [place.folder / f"{tell.label[0]}{n}.jsonl" for n in range(2)]
    for number, file in enumerate(files):
        file.write_text(lines(f"content {number}"))
    _end_removals(place, tell, datasets)
    while True:
        name = tell.fresh()
        with tell.doing("made", name=name):
            import_now(datasets, [chance.choice(files)], name, "messages")
            prompts.save(name, template=name)
        with tell.doing("removed", name=name):
            remove_record(place.workspace, Kept.DATASET, name)
            remove_record(place.workspace, Kept.PROMPT, name)


def _end_removals(place: Place, tell: Ledger, datasets: DatasetStore) -> None:
    """A removal that was killed is asked for again."""
    for name in datasets.logs():
        if name.startswith(tell.label[0]) and "x" in name:
            with tell.doing("ended", name=name):
                remove_record(place.workspace, Kept.DATASET, name)


def verify_forgetting(place: Place, known: Known, _whole: bool) -> None:
    logs = DatasetStore(Catalog(place.workspace)).logs()
    prompts = {summary.name for summary in PromptStore(Catalog(place.workspace)).summaries()}
    going = {told.facts["name"] for what in ("removed", "ended") for told in known.begun(what)}
    for told in known.acknowledged("removed"):
        assert told.facts["name"] not in logs.keys() | prompts
    for told in known.acknowledged("made"):
        name = told.facts["name"]
        assert name in going or (name in prompts and logs[name][0].files)
    # What one removes is not taken from another that has the same rows.
    stripped = [v for name, log in logs.items() if name not in going for v in log if not [*v.folder.glob("part-*")]]
    # The other one that writes may have removed it since it was listed.
    left = DatasetStore(Catalog(place.workspace)).logs() if stripped else {}
    assert not [version.ref for version in stripped if version in left.get(version.dataset, ())]


def dataset_half_removed(finding: Finding, known: Known) -> bool:
    name = finding.place.partition("(")[2].partition("@")[0]
    return finding.place.startswith("datasets/") and being_removed(known, "removed", "ended")(name)


def write_erasing(place: Place, tell: Ledger, chance: Random) -> None:
    """Traces with a word of their own, deleted so that no file has it any more."""
    catalog, event_log = Catalog(place.workspace), EventLog(place.workspace)
    _end_erasures(place, tell)
    while True:
        name = tell.fresh()
        word = f"secret-{name}-"
        with tell.doing("said", word=word):
            event_log.append("request", f"run_erase-{name}", trace(word * 20))
            ingest(catalog, event_log)
        with tell.doing("erased", word=word):
            if chance.random() < 0.5:
                remove_traces(place.workspace, TraceFilter(), f"run_erase-{name}")
            else:
                remove_traces(place.workspace, TraceFilter(text=word))


def _left(place: Place) -> dict[str, str]:
    """The words of the traces that are there, with their ids."""
    ingest(Catalog(place.workspace), EventLog(place.workspace))
    found = rows(place, "SELECT id FROM requests WHERE starts_with(id, 'run_erase-')")
    return {f"secret-{row[0][10:]}-": row[0] for row in found}


def _end_erasures(place: Place, tell: Ledger) -> None:
    """What was to be erased when the kill came."""
    for word, own_id in _left(place).items():
        if word.startswith(f"secret-{tell.label[0]}"):
            with tell.doing("erased", word=word):
                remove_traces(place.workspace, TraceFilter(), own_id)
    collect(place.workspace, Settings())


def verify_erasing(place: Place, known: Known, whole: bool) -> None:
    left = _left(place)
    going = {told.facts["word"] for told in known.begun("erased")}
    gone = {told.facts["word"] for told in known.acknowledged("erased")}
    for told in known.acknowledged("said"):
        assert told.facts["word"] in going or told.facts["word"] in left
    assert not gone & left.keys()
    if whole:
        # Also of those whose erasure was killed: the next command ended it.
        gone |= going - left.keys()
    where = [
        f"{word} in {path.name}"
        for path in place.root.rglob("*")
        if path.is_file()
        for raw in [_bytes(path)]
        for word in gone
        if word.encode() in raw
    ]
    assert not where, where


def _bytes(path: Path) -> bytes:
    with open_raw(path) if path.suffix == ".db" else path.open("rb") as file:
        return file.read()


# ── checksums, and beginnings ──


def write_checksums_file(place: Place, tell: Ledger, chance: Random) -> None:
    prompts = PromptStore(Catalog(place.workspace))
    while True:
        text = tell.fresh()
        prompts.save("sealed", template=text)
        with (place.root / "logs" / f"{tell.label[0]}.log").open("a") as file:
            file.write(f"{text}\n")
        with tell.doing("sealed"):
            record_checksums(place.workspace, large=chance.random() < 0.5)
        if chance.random() < 0.3:
            with tell.doing("checked"):
                assert check(place.workspace).errors == []


def verify_checksums(place: Place, known: Known, _whole: bool) -> None:
    found = load(place.workspace)
    assert not found.damaged
    assert found.files or not known.acknowledged("sealed")


def write_beginnings(place: Place, tell: Ledger, chance: Random) -> None:
    """New workspaces with a first prompt, and some of an earlier version, which are brought up to date."""
    while True:
        name = tell.fresh()
        other = Workspace(place.folder / name)
        old = MIGRATIONS[: chance.randint(6, LATEST)]
        with tell.doing("begun", name=name):
            make_workspace(other)
            Catalog(other, migrations=old).write(lambda connection: connection.execute("SELECT 1"))
            EventLog(other).append("request", f"run_{name}", trace(name))
        with tell.doing("saved", name=name):
            PromptStore(Catalog(other)).save("first", template=name)
        with tell.doing("sealed", name=name):
            record_checksums(other)


def verify_beginnings(place: Place, known: Known, _whole: bool) -> None:
    saved = {told.facts["name"] for told in known.acknowledged("saved")}
    for told in known.all[-2:]:
        name = told.facts["name"]
        if told.done is None and not (place.folder / name).exists():
            continue
        # One that was killed is made by asking for it again.
        other = make_workspace(Workspace(place.folder / name))
        found = {summary.name for summary in PromptStore(Catalog(other)).summaries()}
        assert found == {"first"} if name in saved else found <= {"first"}
        if name in saved:
            ingest(Catalog(other), EventLog(other))
            kept = Catalog(other).read(lambda connection: connection.execute("SELECT id FROM requests").fetchall())
            assert kept == [(f"run_{name}",)]
        assert check(other).errors == []


KINDS = {
    "backups": Kind(write_backups, verify_backups, shared=False),
    "series": Kind(write_series, verify_series, prepare_series, shared=False),
    "restores": Kind(write_restores, verify_restores, prepare_restores, shared=False),
    "clearing": Kind(write_clearing, verify_clearing),
    "forgetting": Kind(write_forgetting, verify_forgetting, may_find=dataset_half_removed),
    "erasing": Kind(write_erasing, verify_erasing),
    "seals": Kind(write_checksums_file, verify_checksums),
    "beginnings": Kind(write_beginnings, verify_beginnings, shared=False),
}
