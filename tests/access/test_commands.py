"""``llmops key``."""

from __future__ import annotations

import json

from llmops_tui.workspace.layout import Workspace
from tests.commands import llmops


def test_a_key_from_its_making_to_its_end(workspace: Workspace) -> None:
    def told(*words: str) -> dict[str, object]:
        done = llmops("--json", "key", *words, workspace=workspace)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    made = told("create", "app", "--endpoint", "chat", "--tokens-per-day", "100", "--expires", "30d", "--owner", "Ada")
    assert str(made["key"]).startswith("llmops-")
    inside = told("create", "one", "--within", "app", "--tokens-per-day", "50")
    assert (inside["endpoints"], inside["expires_at"]) == (["chat"], made["expires_at"])
    beyond = llmops("key", "create", "two", "--within", "app", "--endpoint", "rerank", workspace=workspace)
    assert (beyond.returncode, "beyond 'app'" in beyond.stderr) == (3, True)
    missing = llmops("key", "create", "two", "--model", "nowhere", workspace=workspace)
    assert (missing.returncode, "no model 'nowhere'" in missing.stderr) == (3, True)
    listed = told("list")
    assert [(one["name"], one["state"]) for one in listed["keys"]] == [("app", "active"), ("one", "active")]  # type: ignore[attr-defined]
    assert "key" not in listed["keys"][0]  # type: ignore[index]
    shown = llmops("key", "show", "app", workspace=workspace)
    assert "100 of 100 tokens/day" in shown.stdout
    assert told("rotate", "app")["key"] != made["key"]
    assert told("revoke", "app") == {"revoked": ["app", "one"]}
    assert (told("list")["total"], told("list", "--all")["total"]) == (0, 2)
