"""Erasing a person: begun in the ledger, and from then on carried to its end by whoever comes next.

Each step does nothing where it was done before, so that an erasure that was killed is done again from its first step. The
hashes of what is gone are written nowhere, their tombstones are; what nobody refers to any more is found by its rows.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui import __version__
from llmops_tui.datasets.held import alone_with
from llmops_tui.datasets.privacy.replacement import Key
from llmops_tui.datasets.records import SCHEME
from llmops_tui.datasets.rejects import rejects_path
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.deletion import delete_paths
from llmops_tui.maintenance.erasure import erase_deleted, note_erasure
from llmops_tui.maintenance.erasure_ledger import (
    Ledger,
    ledger_key,
    new_erasure,
    person_of,
    receipt_hash,
    tombstone,
)
from llmops_tui.maintenance.erasure_records import ErasureRecord, How, ReceiptRecord
from llmops_tui.maintenance.forgetting import sqlite_rows
from llmops_tui.maintenance.forgetting.catalog_rows import CatalogErasure, find
from llmops_tui.maintenance.forgetting.change import Change
from llmops_tui.maintenance.forgetting.dataset_rows import (
    NamedRows,
    Remade,
    erase_rejects,
    is_being_made,
    named_rejects,
    orphans,
    put_in_place,
    remake,
    unneeded_indexes,
    versions_by_content,
)
from llmops_tui.maintenance.forgetting.found import Findings
from llmops_tui.maintenance.forgetting.indexes import forget_in_indexes
from llmops_tui.maintenance.forgetting.outside_files import forget_in_own_files, left_in_own_files
from llmops_tui.maintenance.forgetting.plan import Plan, Tell, find_person
from llmops_tui.maintenance.forgetting.search import search_all
from llmops_tui.maintenance.forgetting.text_files import NamedFile, erase_file, redacted
from llmops_tui.privacy.person import Person
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    import duckdb

KIND = "forget"


def _nothing(_share: float, _what: str) -> None:
    pass


def forget(
    workspace: Workspace, person: Person, how: How, *, tell: Tell = _nothing, own_job: str = ""
) -> ErasureRecord | None:
    """Erase a person from a workspace; returns the erasure with its receipt, none where nothing names them.

    Raises:
        InputRefusedError: ``in_the_way``: something has to be ended or renamed first; nothing was changed.
        LlmopsError: as :func:`~llmops_tui.maintenance.erasure.erase_deleted`; the erasure is begun then, and ``resume`` ends it.
    """
    with _alone(workspace):
        ledger = Ledger(workspace)
        carry_on(workspace, ledger, tell, own_job, leave_sealed=True)
        plan = find_person(workspace, person, how, tell=_part(tell, 0.0, 0.3), own_job=own_job)
        _refuse(plan)
        if not plan.things:
            return None
        key = ledger_key(make=True)
        assert key is not None
        erasure = new_erasure(person, how, key, plan.counts, [one["run"] for one in plan.trained])
        # From here on it is begun.
        ledger.keep(erasure)
        return _carry_out(workspace, ledger, erasure, plan, key, _part(tell, 0.3, 1.0), {})


def resume(workspace: Workspace, *, tell: Tell = _nothing, own_job: str = "") -> list[ErasureRecord]:
    """Carry erasures to their end that were begun; returns them."""
    with _alone(workspace):
        return carry_on(workspace, Ledger(workspace), tell, own_job)


def carry_on(
    workspace: Workspace, ledger: Ledger, tell: Tell = _nothing, own_job: str = "", *, leave_sealed: bool = False
) -> list[ErasureRecord]:
    """As :func:`resume`, for a caller that is alone with the workspace already.

    With ``leave_sealed`` one whose key is not here stays begun, so that it stands in nobody's way.
    """
    key = ledger_key()
    done = []
    for erasure, person in _readable(ledger.begun(), key, leave_sealed=leave_sealed):
        plan = find_person(workspace, person, erasure["how"], own_job=own_job)
        _refuse(plan)
        assert key is not None
        done.append(_carry_out(workspace, ledger, erasure, plan, key, tell, {}))
    return done


def forget_again(workspace: Workspace, *, tell: Tell = _nothing, own_job: str = "") -> list[ErasureRecord]:
    """Erase all again whom the ledger has and whom something names again, as after an import; returns these erasures.

    Raises:
        InputRefusedError: ``erasure_sealed``: the key of one is not on this machine; or as :func:`forget`.
    """
    with _alone(workspace):
        ledger = Ledger(workspace)
        carry_on(workspace, ledger, tell, own_job, leave_sealed=True)
        return carry_out_ledger(workspace, ledger, tell, own_job)


def carry_out_ledger(
    workspace: Workspace, ledger: Ledger, tell: Tell = _nothing, own_job: str = ""
) -> list[ErasureRecord]:
    """As :func:`forget_again`, for a caller that is alone with the workspace already, such as a restore."""
    key = ledger_key()
    done = []
    for erasure, person in _readable(ledger.all(), key):
        plan = find_person(workspace, person, erasure["how"], own_job=own_job)
        if plan.things:
            _refuse(plan)
            assert key is not None
            done.append(_carry_out(workspace, ledger, erasure, plan, key, tell, plan.counts))
    return done


def _readable(
    erasures: list[ErasureRecord], key: Key | None, *, leave_sealed: bool = False
) -> Iterator[tuple[ErasureRecord, Person]]:
    """Erasures with whom they are about; one whose key is not here keeps nobody else from being forgotten.

    Raises:
        InputRefusedError: ``erasure_sealed``, after all others, unless ``leave_sealed``.
    """
    sealed: InputRefusedError | None = None
    for erasure in erasures:
        try:
            person = person_of(erasure, key)
        except InputRefusedError as error:
            sealed = sealed or error
        else:
            yield erasure, person
    if sealed is not None and not leave_sealed:
        raise sealed


@contextlib.contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    workspace.refuse_if_read_only()
    event_log = EventLog(workspace)
    try:
        # Nobody starts a job from here on.
        with exclusive_maintenance(workspace), JobStore(event_log).door():
            yield
    finally:
        event_log.close()


def _refuse(plan: Plan) -> None:
    if plan.in_the_way:
        raise InputRefusedError(
            "in_the_way", f"nothing was erased: {'; '.join(plan.in_the_way)}", "Do that first, and try again."
        )


def _part(tell: Tell, begin: float, end: float) -> Tell:
    return lambda share, what: tell(begin + (end - begin) * share, what)


@dataclass
class _Erasing:
    """An erasure at work."""

    workspace: Workspace
    ledger: Ledger
    erasure: ErasureRecord
    key: Key
    change: Change

    def bury(self, digest: str) -> str:
        stone = tombstone(self.key, digest)
        self.change.stones[digest] = stone
        return stone


def _carry_out(
    workspace: Workspace,
    ledger: Ledger,
    erasure: ErasureRecord,
    plan: Plan,
    key: Key,
    tell: Tell,
    again: dict[str, int],
) -> ErasureRecord:
    """All steps; ``again`` counts what is to go where the erasure was done before."""
    work = _Erasing(workspace, ledger, erasure, key, Change(plan.person, plan.how))
    with alone_with([one.version.folder for one in plan.contents]):
        tell(0.05, "making datasets anew")
        remade = [(named, _remade(work, named)) for named in plan.contents]
        tell(0.3, "changing the catalog")
        note_erasure(workspace)
        _change_catalog(work, remade, plan.files)
        for path in sqlite_rows.sqlite_files(workspace):
            tell(0.4, f"changing {path.name}")
            sqlite_rows.erase_rows(path, work.change)
        tell(0.5, "changing files")
        _change_files(work, plan.files)
        forget_in_indexes(workspace, work.change)
        forget_in_own_files(plan.person)
        _clear(work)
    tell(0.6, "writing the databases anew")
    erase_deleted(workspace, [workspace.history])
    searched = search_all(workspace, plan.person, _part(tell, 0.7, 1.0))
    searched["left"] += left_in_own_files(plan.person)
    # Where something stays is told to who asks; a path may name the person.
    searched["left"] = [plan.person.redact(text)[0] for text in searched["left"]]
    body = {
        "finished_at": time.time(),
        "version": __version__,
        "counts": again or erasure["planned"],
        "remade": erasure["remade"],
        "trained": erasure["trained"],
        "searched": searched,
        "staying": [plan.person.redact(text)[0] for text in (*plan.staying, *plan.backups)],
    }
    receipt: ReceiptRecord = {**body, "sha256": receipt_hash(body)}  # type: ignore[typeddict-item]
    if erasure["receipt"] is None:
        erasure["receipt"] = receipt
    else:
        erasure["again"].append(receipt)
    ledger.keep(erasure)
    return erasure


def _remade(work: _Erasing, named: NamedRows) -> Remade:
    """Make content anew, and note it in the ledger before anything refers to it."""
    store = DatasetStore(Catalog(work.workspace))
    folder = store.staging()
    try:
        made = remake(named, work.change, folder)
        put_in_place(work.workspace, folder, made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    stone = work.bury(named.version.sha256)
    refs = [version.ref for version in named.versions]
    work.erasure["remade"][stone] = {"kind": "dataset", "refs": refs, "now": made.sha256, "rows": len(named.rows)}
    return made


def _change_catalog(work: _Erasing, remade: list[tuple[NamedRows, Remade]], files: tuple[NamedFile, ...]) -> None:
    """One transaction; before it is committed, the ledger knows what is made anew, and results have their new hash."""
    forget_traces: list[str] = []

    def change(db: duckdb.DuckDBPyConnection) -> None:
        rows = CatalogErasure(db, work.change, work.bury)
        rows.learn_hashes()
        for old, (kind, ref, now) in rows.rehashed.items():
            work.erasure["remade"][work.bury(old)] = {"kind": kind, "refs": [ref], "now": now, "rows": 0}
        if work.change.how == "remove":
            forget_traces.extend(find(db, work.change.person, Findings(work.change.person), ""))
        results = _results(work, db, files)
        rows.erase()
        for named, made in remade:
            _point_at(db, named, made, work.erasure["id"])
        for run, digest in results.items():
            db.execute("UPDATE evaluation_runs SET results_sha256 = ? WHERE name = ?", [digest, run])
        for stone, one in work.erasure["remade"].items():
            if stone in work.change.stones.values():
                record_edges(db, output=one["now"], kind=KIND, recipe=work.erasure["id"], inputs=[stone])
        work.ledger.keep(work.erasure)

    Catalog(work.workspace).write(change)
    event_log = EventLog(work.workspace)
    try:
        event_log.forget_ids(forget_traces)
    finally:
        event_log.close()


def _results(work: _Erasing, db: duckdb.DuckDBPyConnection, files: tuple[NamedFile, ...]) -> dict[str, str]:
    """The hash that the results of each evaluation run will have whose file is redacted, by the run's name."""
    import hashlib

    redacting = {file.name for file in files if file.fate == "redacted"}
    found = {}
    rows = db.execute("SELECT name, job, results_sha256 FROM evaluation_runs WHERE results_sha256 IS NOT NULL")
    for name, job, old in rows.fetchall():
        path = f"runs/{job}/{name}/results.jsonl"
        if path in redacting and sha256_file(work.workspace.root / path) == old:
            digest = hashlib.sha256(redacted(work.workspace.root / path, work.change.person)).hexdigest()
            work.erasure["remade"][work.bury(old)] = {
                "kind": "evaluation runs",
                "refs": [name],
                "now": digest,
                "rows": 0,
            }
            found[name] = digest
    return found


def _point_at(db: duckdb.DuckDBPyConnection, named: NamedRows, made: Remade, erasure: str) -> None:
    """Let the versions be of the content that was made anew, and the labels of its rows."""
    import json

    columns = json.dumps([column.as_dict() for column in made.columns])
    for version in named.versions:
        db.execute(
            "UPDATE dataset_versions SET sha256 = ?, rows = ?, columns = ?, size_bytes = ?, hash_scheme = ?, note = note || ? "
            "WHERE id = ?",
            [made.sha256, made.rows, columns, made.size, SCHEME, f" ({erasure} forgot a person in it)", version.id],
        )
    old = named.version.sha256
    db.execute("DELETE FROM dataset_reports WHERE sha256 = ?", [old])
    gone = list(made.dropped)
    db.execute("DELETE FROM annotations WHERE sha256 = ? AND list_contains(?::BIGINT[], row)", [old, gone])
    # Rows after those that went have other numbers.
    db.execute(
        "UPDATE annotations SET sha256 = ?, row = row - len(list_filter(?::BIGINT[], lambda n: n < row)) WHERE sha256 = ?",
        [made.sha256, gone, old],
    )


def _change_files(work: _Erasing, files: tuple[NamedFile, ...]) -> None:
    going = [file for file in files if file.fate]
    forget_checksums(work.workspace, [work.workspace.root / file.name for file in going])
    for file in going:
        erase_file(work.workspace, file, work.change.person)


def _clear(work: _Erasing) -> None:
    """Rejected records that name the person, and all of what no version refers to any more."""
    workspace, person = work.workspace, work.change.person
    store = DatasetStore(Catalog(workspace))
    contents = versions_by_content(store)
    for version in (version for versions in contents.values() for version in versions):
        if named_rejects(workspace, version, person):
            forget_checksums(workspace, [rejects_path(workspace, version)])
            gone = erase_rejects(workspace, version, person)
            store.catalog.write(_rejected_less(version.id, gone))
    going = [path for path, _ in orphans(workspace, set(contents), person) if not is_being_made(path)]
    going += unneeded_indexes(workspace, set(contents))
    forget_checksums(workspace, going)
    delete_paths(going)


def _rejected_less(version: str, gone: int) -> Callable[[duckdb.DuckDBPyConnection], None]:
    def work(db: duckdb.DuckDBPyConnection) -> None:
        db.execute("UPDATE dataset_versions SET rejected = greatest(0, rejected - ?) WHERE id = ?", [gone, version])

    return work
