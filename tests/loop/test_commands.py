"""``llmops loop`` and ``llmops quality``: what they print, and how they end."""

from __future__ import annotations

import json
import time

from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from tests.commands import Llmops
from tests.loop.test_loop import add_models, ask


def test_the_commands_say_where_it_stands_and_what_is_found(catalog: Catalog, event_log: EventLog) -> None:
    add_models(catalog, "base")
    store = TraceStore(catalog, event_log)
    begin = time.time() - 1000
    for number in range(12):
        key = ask(
            event_log,
            number,
            answer="Write to ann.miller@example.org." if number < 3 else "Here.",
            started_at=begin + number,
        )
        give(store, key, score="up")
    llmops = Llmops(catalog.workspace)
    assert llmops.run("loop", "status")["names"] == ["base"]
    found = llmops.run("loop", "status", "base")
    assert found["next"] == "llmops loop collect base feedback"
    assert [one["station"] for one in found["stations"]][:4] == ["feedback", "review", "privacy", "dataset"]
    assert next(one for one in found["stations"] if one["station"] == "privacy")["count"] == 3
    made = llmops.run("loop", "collect", "base", "feedback", "--hold-out", "0")
    assert (made["version"], made["held_out"], made["personal"], made["authors"]["share"]) == (
        "feedback@1", None, {"email": 3}, 1.0,
    )  # fmt: skip
    assert llmops.run("loop", "propose", "base", code=1)["proposed"] is False
    assert llmops.run("loop", "propose", "base", "--distinct", "9")["reasons"][0]["holds"]
    assert llmops.run("loop", "authors", "feedback")["versions"][0]["model"] == 12
    assert "nowhere" in json.dumps(llmops.run("loop", "gate", "base", "nowhere", code=3))
    judged = llmops.run("quality", "check", "--check", "personal", "--check", "refused")
    assert [(one["check"], one["method"], one["value"]) for one in judged["checks"]] == [
        ("personal", "check", 0.25), ("refused", "check", 0.0),
    ]  # fmt: skip
    assert llmops.run("quality", "check", "--check", "personal", "--above", "0.05", code=1)["looked"] == 12
    (first,) = llmops.run("quality", "next", "personal", "-n", "1")["next"]
    assert llmops.run("quality", "label", "personal", first["trace"], "no")["labels"] == 1
    assert llmops.run("quality", "next", "personal", "-n", "1")["next"] != [first]
    catalog.write(
        lambda connection: connection.execute("UPDATE requests SET variables = '3' WHERE id = 'run_00000011'")
    )
    spoiled = llmops.run("quality", "check", "--check", "personal")
    assert (spoiled["looked"], spoiled["damaged"]) == (11, ["run_00000011"])
    assert "run_none" in json.dumps(llmops.run("quality", "label", "personal", "run_none", "yes", code=3))
