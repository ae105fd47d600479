"""The audit: what is in it, that it only grows, and that a changed, missing or rewritten entry is found."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING

import click
import pytest
import typer

from llmops_tui.cli.audit import _parsed, at
from llmops_tui.cli.output import Globals, Session
from llmops_tui.deployment.moments import in_force_at
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.access.endpoints import ENDPOINTS
from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.serving_note import ServingNote
from llmops_tui.maintenance import check_catalog
from llmops_tui.maintenance.archive import read_manifest
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.findings import Report
from llmops_tui.maintenance.restore import restore
from llmops_tui.models.alias_acts import Act
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.traces.served import served_at
from llmops_tui.workspace.audit import anchor, audit, entries, problems
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.commands import llmops as run_llmops
from tests.engine.engines import MODEL

if TYPE_CHECKING:
    import duckdb


def test_what_is_done_with_keys_is_in_it(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    store = KeyStore(event_log)
    made = store.create("Ada's", Scope(), owner="Ada")
    store.create("one", Scope(), parent=made.key)
    store.rotate(made.key)
    store.revoke(store.get("Ada's"))
    found = list(entries(event_log.connection()))
    assert [one.kind for one in found] == ["key.created", "key.created", "key.rotated", "key.revoked", "key.revoked"]
    assert {one.subject for one in found} == {key.id for key in store.all()}
    # No name, and nothing of a secret.
    kept = json.dumps([vars(one) | {"facts": dict(one.facts)} for one in found])
    assert "Ada" not in kept
    assert made.secret not in kept
    assert problems(event_log.connection(), {}) == []


def test_a_change_is_found(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    for number in range(4):
        audit(event_log, "key.created", f"key_{number}", digest="d")
    connection = event_log.connection()
    kept = {"a backup": anchor(connection)}
    assert kept["a backup"] is not None
    for statement in ("UPDATE audit SET subject = 'x'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            connection.execute(statement)
    for what in ("UPDATE", "DELETE"):
        connection.execute(f"DROP TRIGGER audit_keeps_{what}")
    connection.execute('UPDATE audit SET facts = \'{"digest": "e"}\' WHERE seq = 2')
    assert problems(connection, {}) == ["entry 2 was changed: it does not have its hash"]
    report = Report()
    check_catalog.audit(workspace, report)
    assert [finding.text for finding in report.errors] == problems(connection, {})
    connection.execute("DELETE FROM audit WHERE seq = 2")
    assert problems(connection, {}) == ["entries 2 to 2 are missing", "entry 3 does not follow the one before it"]
    # Whoever writes the whole end anew is found by what a backup knows.
    connection.execute("DELETE FROM audit WHERE seq > 1")
    assert "is missing" in problems(connection, kept)[0]  # type: ignore[arg-type]
    for number in range(3):
        audit(event_log, "key.created", f"another {number}", digest="d")
    assert problems(connection, {}) == []
    assert "is another one than a backup knows" in problems(connection, kept)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("damaged", [False, True])
def test_what_was_in_force_is_read_from_a_damaged_audit_with_a_warning_and_exit_1(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], *, damaged: bool
) -> None:
    event_log = EventLog(workspace)
    audit(event_log, "key.created", "key_1", digest="d")
    context = typer.Context(click.Command("at"), obj=Session(Globals(workspace=str(workspace.root), json=True)))
    if damaged:
        connection = event_log.connection()
        connection.execute("DROP TRIGGER audit_keeps_UPDATE")
        connection.execute("UPDATE audit SET subject = 'x'")
    with pytest.raises(typer.Exit) if damaged else contextlib.nullcontext() as left:
        at(context, "now")
    said = capsys.readouterr()
    wrong = ["entry 1 was changed: it does not have its hash"] if damaged else []
    assert json.loads(said.out)["problems"] == wrong
    assert ("entry 1 was changed" in said.err, left is not None and left.value.exit_code == 1) == (damaged, damaged)


def test_a_backup_keeps_an_anchor(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    Catalog(workspace).read(lambda connection: connection.execute("SELECT 1").fetchone())
    entry = audit(event_log, "key.created", "key_1", digest="d")
    place = workspace.root.parent / "backup.tar"
    backup(workspace, place)
    audit(event_log, "key.revoked", "key_1")
    kept = read_manifest(place).audit
    assert kept == {"seq": 1, "sha256": entry.sha256}
    assert problems(event_log.connection(), {str(place): kept}) == []


def test_other_names_and_restored_states_are_in_it(workspace: Workspace) -> None:
    catalog = Catalog(workspace)
    ModelRegistry(catalog).add(MODEL, "m")
    book = AliasBook(catalog)
    book.add("m", "gpt-4o")
    place = workspace.root.parent / "backup.tar"
    backup(workspace, place)
    assert book.remove("gpt-4o") == "m"
    event_log = EventLog(workspace)
    told = [(one.kind, one.subject, one.facts.get("alias")) for one in entries(event_log.connection())]
    digest, alias = ModelRegistry(catalog).get("m").sha256, sha256_text("gpt-4o")[:16]
    assert told == [("alias.set", digest, alias), ("alias.removed", digest, alias)]
    event_log.close()
    restore(place, workspace)
    fresh = EventLog(workspace)
    found = list(entries(fresh.connection()))
    assert [one.kind for one in found] == ["alias.set", "workspace.restored"]
    assert found[-1].facts["entries"] == 1
    assert AliasBook(Catalog(workspace)).all() == {"gpt-4o": "m"}
    assert problems(fresh.connection(), {str(place): read_manifest(place).audit}) == []  # type: ignore[dict-item]


def test_a_model_that_is_removed_takes_its_aliases_along_with_an_entry_each(workspace: Workspace) -> None:
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    registry, book = ModelRegistry(catalog), AliasBook(catalog)
    registry.add(MODEL, "m")
    registry.copy(registry.get("m"), "n", 1.0)
    for model, alias in (("m", "gpt-4o"), ("m", "shop"), ("n", "till")):
        book.add(model, alias)
    before = time.time()
    registry.remove("m")
    assert book.all() == {"till": "n"}
    told = [(one.kind, one.subject, one.facts.get("alias")) for one in entries(event_log.connection())][3:]
    digest = registry.get("n").sha256
    assert told == [("alias.removed", digest, sha256_text(alias)[:16]) for alias in ("gpt-4o", "shop")]
    assert problems(event_log.connection(), {}) == []

    def stood(moment: float) -> list[tuple[str, str, str | None]]:
        return [(one.name, one.what, one.model_sha256) for one in in_force_at(catalog, event_log, moment)]

    (first, second, till) = stood(before)
    assert till == ("till", "alias of n", digest)
    assert {one[0] for one in (first, second)} == {
        f"an alias that is removed, {sha256_text(alias)[:16]}" for alias in ("gpt-4o", "shop")
    }
    assert stood(time.time()) == [till]


def test_what_an_alias_stood_for_is_told_for_every_moment(workspace: Workspace) -> None:
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    registry, book = ModelRegistry(catalog), AliasBook(catalog)
    registry.add(MODEL, "m")

    def put(connection: duckdb.DuckDBPyConnection) -> None:
        for name, kind in (("ada", "adapter"), ("new", "gguf")):
            row = (name, kind, f"models/{name}.gguf", f"{name:0<64}", 1, '{"architecture": "llama"}', 1.0)
            connection.execute(
                "INSERT INTO models (name, kind, path, sha256, size_bytes, header, added_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    catalog.write(put)
    start = time.time()
    book.add("m+ada", "shop")
    first = time.time()
    facts = {"before": "b", "after": f"{'new':0<64}", "after_adapter": f"{'ada':0<64}"}
    book.move("shop", "m+ada", "new+ada", Act("model.promoted", sha256_text("shop")[:16], facts))
    second = time.time()
    book.remove("shop")

    def stood(moment: float) -> list[tuple[str, str | None, str | None]]:
        return [(one.what, one.model, one.adapter_sha256) for one in in_force_at(catalog, event_log, moment)]

    assert stood(start) == stood(time.time()) == []
    assert stood(first) == [("alias of m+ada", "m", f"{'ada':0<64}")]
    assert stood(second) == [("alias of new+ada", "new", f"{'ada':0<64}")]


def test_what_served_at_a_moment(workspace: Workspace) -> None:
    event_log, catalog = EventLog(workspace), Catalog(workspace)
    options = ServerOptions(str(workspace.root), "m", "", "a" * 64, "", "", "template")
    killed, second = ServingNote(event_log, options), ServingNote(event_log, options)
    killed.began()
    second.began()
    second.ended()
    first, last, end = list(entries(event_log.connection()))
    during = served_at(catalog, event_log, (first.at + last.at) / 2)
    assert [(one.sha256, one.end) for one in during] == [("a" * 64, "killed before the next one began")]
    assert [one.until for one in served_at(catalog, event_log, last.at)][-1] == end.at
    assert served_at(catalog, event_log, first.at - 1) == served_at(catalog, event_log, end.at + 1) == []
    request = {
        "model": "m",
        "model_sha256": "b",
        "started_at": first.at,
        "total_ms": 10.0,
        "output": "",
        "finish_reason": "stop",
    }
    event_log.append("request", "run_1", request)
    answers = [one for one in served_at(catalog, event_log, end.at + 1) if one.source == "traces"]
    assert [(one.model, one.sha256, one.requests) for one in answers] == [("m", "b", 1)]


def test_a_restore_is_the_end_of_all_that_the_backup_saw_running(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    options = ServerOptions(str(workspace.root), "m", "", "a" * 64, "", "", "template")
    killed, running = ServingNote(event_log, options), ServingNote(event_log, options)
    killed.began()
    running.began()
    backup(workspace, workspace.root.parent / "b.tar")
    event_log.close()
    restore(workspace.root.parent / "b.tar", workspace)
    event_log, catalog = EventLog(workspace), Catalog(workspace)
    *_, began, back = list(entries(event_log.connection()))
    assert served_at(catalog, event_log, back.at + 1) == []
    during = served_at(catalog, event_log, (began.at + back.at) / 2)
    assert [(one.until, one.end) for one in during] == [(None, "ended before a backup was restored")]
    ServingNote(event_log, options).began()
    assert [one.end for one in served_at(catalog, event_log, time.time())] == ["no end was written"]
    event_log.close()


@pytest.mark.parametrize("said", ["2100-01-01 00:00", "2100-01-01", "2100-01-01T00:00:00Z"])
def test_what_is_to_come_is_not_known(workspace: Workspace, said: str) -> None:
    assert Llmops(workspace).run("audit", "at", said, code=3)["error"]["code"] == "moment_to_come"


def test_moments_as_they_are_given() -> None:
    assert _parsed("2020-03-03 14:05") == _parsed("2020-03-03T14:05") == _parsed("2020-03-03") + 14 * 3600 + 300
    # As logs of applications have them.
    assert _parsed("2020-03-03T14:05:00Z") == _parsed("2020-03-03T16:05:00+02:00") == 1583244300
    assert _parsed("2020-03-03T14:05:00.250Z") == 1583244300.25
    assert _parsed("now") > _parsed("0:00") > _parsed("2020-01-01")
    for wrong, code in (("yesterday", "bad_moment"), ("25:00", "bad_moment"), ("9999-01-01", "moment_to_come")):
        with pytest.raises(InputRefusedError) as refused:
            _parsed(wrong)
        assert refused.value.code == code


def test_when_a_key_ends_is_told_to_the_minute(workspace: Workspace) -> None:
    llmops = Llmops(workspace)
    made = llmops.run("key", "create", "app", "--expires", "5m")
    told = time.strftime("%Y-%m-%d %H:%M", time.localtime(made["expires_at"]))
    for words in (["list"], ["show", "app"]):
        assert told in run_llmops("key", *words, workspace=workspace).stdout
    shown = run_llmops("key", "create", "--help").stdout
    assert all(name in shown for name in ENDPOINTS)
