"""``llmops experiment``: begin, list, show, stop, and what is refused."""

from __future__ import annotations

import json

from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops


def test_an_experiment_is_begun_shown_and_ended(sample: Workspace) -> None:
    llmops = Llmops(sample)
    made = llmops.run("experiment", "start", "support-base", "--b", "support-base-q4", "--kind", "canary")
    assert (made["state"], made["kind"], made["settings"]["share"], made["settings"]["budget"]) == (
        "running", "canary", 0.05, 0.02,
    )  # fmt: skip
    assert made["settings"]["a"] == "support-base"
    store = ExperimentStore(EventLog(sample))
    store.assign(made["experiment"], "0123456789abcdef", "b")
    found = llmops.run("experiment", "show", "support-base")
    assert found["experiment"]["conversations"] == {"a": 0, "b": 1}
    assert found["verdict"]["sentence"].startswith("0 of 1 conversations failed with support-base-q4")
    assert [one["experiment"] for one in llmops.run("experiment", "list")["experiments"]] == [made["experiment"]]
    for arguments, told in (
        (("start", "support-base", "--b", "support-base-q4"), "has the experiment"),
        (("start", "support-base-q4", "--b", "support-base-q4"), "both"),
        (("start", "support-base-q4", "--b", "no-such"), "no-such"),
        (("start", "support-base-q4", "--b", "support-base", "--split", "1.5"), "--split"),
        (("show", "nothing"), "nothing"),
    ):
        assert told in json.dumps(llmops.run("experiment", *arguments, code=3)), arguments
    assert llmops.run("experiment", "stop", "support-base")["state"] == "stopped"
    assert store.in_force() == []
    assert llmops.run("check")["errors"] == 0
