"""Which API key may be sent to which host, as the user approved it.

A workspace names the variable a key is in and the address it goes to. Whoever made the workspace chose both; so each
pair is approved here, when a model is added or a workspace is trusted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmops_tui.user_files import approved_keys_path
from llmops_tui.workspace.consent_file import change_own, read_own

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model

_NONE: dict[str, list[str]] = {}


def host_of(url: str) -> str:
    """Where a key goes: scheme, host and port, as an address begins with them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def key_variable(name: str) -> str:
    """The environment variable a model's key is looked for in where no other was named."""
    return "LLMOPS_KEY_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def variable_of(model: Model) -> str:
    """The environment variable a registered model's key is looked for in."""
    return str(model.header.get("key_env") or key_variable(model.name))


def is_approved(variable: str, url: str) -> bool:
    """Whether the key under this name may be sent there; not where that cannot be told."""
    return host_of(url) in _read().get(variable, [])


def approve(variable: str, url: str) -> None:
    """Let the key under this name be sent there from now on.

    Raises:
        OSError: the user's own files cannot be written.
    """
    change_own(
        approved_keys_path(),
        _parse,
        _NONE,
        lambda known: known | {variable: sorted({*known.get(variable, []), host_of(url)})},
    )


def _read() -> dict[str, list[str]]:
    return read_own(approved_keys_path(), _parse, _NONE)


def _parse(raw: Any) -> dict[str, list[str]]:
    return {str(name): [str(host) for host in hosts] for name, hosts in raw.items()}
