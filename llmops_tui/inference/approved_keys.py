"""Which key may be sent to which host: said once by the user, and kept with the user's own files.

A workspace names the variable a key is in and the address it goes to. Whoever made the workspace chose both; so each
pair is approved here, when a model is added or a workspace is trusted.
"""

from __future__ import annotations

import errno
import json
import time
from urllib.parse import urlsplit

from llmops_tui.user_files import approved_keys_path
from llmops_tui.workspace.files import make_private_folder, write_atomic
from llmops_tui.workspace.locks import locked

_WAIT_SECONDS = 5.0


def host_of(url: str) -> str:
    """Where a key goes: scheme, host and port, as an address begins with them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def is_approved(variable: str, url: str) -> bool:
    """Whether the key under this name may be sent there; not where that cannot be told."""
    return host_of(url) in _read().get(variable, [])


def approve(variable: str, url: str) -> None:
    """Let the key under this name be sent there from now on.

    Raises:
        OSError: the user's own files cannot be written.
    """
    path = approved_keys_path()
    make_private_folder(path.parent)
    with locked(path.with_name(path.name + ".lock"), _WAIT_SECONDS) as alone:
        if not alone:
            raise OSError(errno.EAGAIN, "stayed locked by another process", str(path))
        try:
            known = _parsed()
        except (ValueError, AttributeError, TypeError):
            # What cannot be read approves nothing; it is kept for whoever wants to look.
            path.replace(path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"))
            known = {}
        known[variable] = sorted({*known.get(variable, []), host_of(url)})
        write_atomic(path, json.dumps(known, indent=1))


def _read() -> dict[str, list[str]]:
    try:
        return _parsed()
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _parsed() -> dict[str, list[str]]:
    try:
        raw = json.loads(approved_keys_path().read_bytes())
    except FileNotFoundError:
        return {}
    return {str(name): [str(host) for host in hosts] for name, hosts in raw.items()}
