"""The status of a workspace on every screen: untrusted or read-only."""

from __future__ import annotations

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import untrusted_reason


def workspace_status(workspace: Workspace) -> str:
    """In a word or two; empty where there is nothing to be told."""
    if not workspace.root.is_dir():
        return "missing"
    try:
        untrusted = bool(untrusted_reason(workspace))
    except LlmopsError:
        return "cannot be read"
    return ", ".join(word for word, holds in (("untrusted", untrusted), ("read-only", workspace.read_only)) if holds)
