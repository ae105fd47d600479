"""All kinds of writing by name, and those that work beside them."""

from __future__ import annotations

from random import Random

# All that a writer needs is imported here, before any is forked.
import duckdb  # noqa: F401
import sqlite_utils  # noqa: F401
from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401

from llmops_tui.maintenance import encryption
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog, wait_as_a_job
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from tests.maintenance.kills import maintenance, monitoring, people, records, synthetic, work
from tests.maintenance.kills.ledger import Kind, Known, Ledger, Place
from tests.maintenance.kills.records import each_once, rows, trace


def _look_on(place: Place, tell: Ledger, _chance: Random) -> None:
    """Read what there is, write a little, and checksum."""
    catalog, event_log = Catalog(place.workspace), EventLog(place.workspace)
    prompts, traces = PromptStore(catalog), TraceStore(catalog, event_log)
    while True:
        name = tell.fresh()
        with tell.doing("beside", name=name):
            event_log.append("request", f"run_beside-{name}", trace("beside"))
            prompts.save("beside", template=name)
        with tell.doing("looked"):
            ingest(catalog, event_log)
            traces.page(TraceFilter(), 20)
            assert prompts.summaries()
        with tell.doing("sealed"):
            record_checksums(place.workspace)


def _verify_beside(place: Place, known: Known, _whole: bool) -> None:
    ingest(Catalog(place.workspace), EventLog(place.workspace))
    acknowledged = {told.facts["name"] for told in known.acknowledged("beside")}
    begun = {told.facts["name"] for told in known.begun("beside")}
    each_once(
        [row[0] for row in rows(place, "SELECT template FROM prompt_versions WHERE prompt = 'beside'")],
        acknowledged,
        begun,
    )
    kept = rows(place, "SELECT id FROM requests WHERE starts_with(id, 'run_beside-')")
    each_once([row[0][11:] for row in kept], acknowledged, begun)


BESIDE = "beside"
# What a guess at a passphrase costs there.
CHEAP = 1 << 8


def all_kinds(*, stand_in: bool) -> dict[str, Kind]:
    """Every kind, and :data:`BESIDE`; with ``stand_in`` this process does work by stand-ins from here on."""
    if stand_in:
        # A guess at a passphrase may be cheap here, and on a busy machine the catalog may be waited for.
        encryption._COST = CHEAP
        wait_as_a_job()
        work.stand_in()
        synthetic.stand_in()
    made = (records, people, monitoring, work, synthetic, maintenance)
    kinds = {name: kind for room in made for name, kind in room.KINDS.items()}
    return kinds | {BESIDE: Kind(_look_on, _verify_beside)}
