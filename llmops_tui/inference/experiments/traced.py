"""What a model's server is told of the experiment that a request is part of, for its trace."""

from __future__ import annotations

import json

from llmops_tui.workspace.events import TracedExperiment

# Believed beside the workspace's own key, over its socket.
EXPERIMENT = b"x-llmops-experiment"


def traced(value: bytes) -> TracedExperiment:
    """What the header :data:`EXPERIMENT` says.

    Raises:
        ValueError: it was not written so.
    """
    told = json.loads(value)
    names = {"id", "arm", "unit", "pair"}
    if not isinstance(told, dict) or not {"id", "arm", "unit"} <= told.keys() <= names or told["arm"] not in {"a", "b"}:
        raise ValueError("it is no experiment's id, arm and unit")
    if not all(isinstance(part, str) for part in told.values()):
        raise ValueError("a part of it is no text")
    found: TracedExperiment = {"id": told["id"], "arm": told["arm"], "unit": told["unit"]}
    if told.get("pair"):
        found["pair"] = told["pair"]
    return found
