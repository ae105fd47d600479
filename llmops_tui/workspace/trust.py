"""Trust: a workspace from elsewhere uses no remote model, key or command until the user allows it."""

from __future__ import annotations

import contextlib
import os
import time
from functools import lru_cache
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.checksum_scope import links_in
from llmops_tui.workspace.known_folders import forget, is_known, others_may_write, remember, state_of_known
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import read_marker

HOW = "llmops trust, or T in the app, shows what it would be allowed to do, and asks."
_LINKS = "llmops trust shows its links and what it would be allowed to do, and asks."
# The key of the workspace's servers: whoever made the workspace may know it.
KEY_FILE = "api-key"


def untrusted_reason(workspace: Workspace) -> str:
    """Why a workspace is not trusted, as a clause; empty where it is."""
    try:
        status = workspace.root.stat()
    except OSError as error:
        return f"{workspace.root} cannot be read: {error.strerror}"
    marks = (status.st_dev, status.st_ino, status.st_uid, status.st_gid, status.st_mode, *state_of_known())
    return _untrusted_reason(workspace.root, read_marker(workspace).id, marks)


@lru_cache(maxsize=64)
def _untrusted_reason(root: Path, own_id: str, _marks: tuple[int, ...]) -> str:
    if others_may_write(root):
        return "other users can write to it"
    if not is_known(root, own_id):
        owner = "" if root.stat().st_uid == os.getuid() else ", and belongs to another user"
        return f"it was not created on this machine, or was copied or restored{owner}"
    return ""


def require_trust(workspace: Workspace, what: str) -> None:
    """Refuse what only a trusted workspace may do; ``what`` says it as a sentence's beginning.

    Raises:
        InputRefusedError: ``workspace_untrusted``.
    """
    if why := untrusted_reason(workspace):
        raise InputRefusedError(
            "workspace_untrusted", f"{what}, and the workspace {workspace.root} is not trusted: {why}", HOW
        )


def refuse_links(workspace: Workspace) -> None:
    """Refuse a workspace that is not trusted and has links anywhere: what they lead to would be shown as its own.

    Raises:
        InputRefusedError: ``untrusted_link``.
    """
    if (why := untrusted_reason(workspace)) and (links := links_in(workspace.root)):
        raise InputRefusedError(
            "untrusted_link", f"{workspace.root / links[0]} is a link, and the workspace is not trusted: {why}", _LINKS
        )


def trust(workspace: Workspace) -> Path | None:
    """Trust a workspace from now on; returns where a key of its servers was put, which somebody else may know.

    Raises:
        InputRefusedError: ``others_may_write``: it would be theirs as much as the user's.
        OSError: the user's own files cannot be written.
    """
    if others_may_write(workspace.root):
        raise InputRefusedError(
            "others_may_write",
            f"other users can write to {workspace.root}",
            f"chmod go-w {workspace.root}, then try again.",
        )
    aside = None
    if untrusted_reason(workspace):
        key = workspace.root / KEY_FILE
        from llmops_tui.workspace.written import taking_away

        with (
            taking_away(key) if os.path.lexists(key) else contextlib.nullcontext(),
            contextlib.suppress(FileNotFoundError),
        ):
            aside = key.rename(key.with_name(f"{KEY_FILE}.before-trust-{time.strftime('%Y%m%d-%H%M%S')}"))
    remember(workspace.root, read_marker(workspace).id)
    _untrusted_reason.cache_clear()
    return aside


def withdraw(workspace: Workspace) -> None:
    """Trust a workspace no longer.

    Raises:
        OSError: the user's own files cannot be written.
    """
    forget(workspace.root, read_marker(workspace).id)
    _untrusted_reason.cache_clear()
