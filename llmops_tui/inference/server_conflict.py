"""What to do if a server of the model runs already: reuse it, replace it, or refuse."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, cast

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.options import AskedRecord, LoadOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import health

# How one waits for memory is no trait of a server.
_PASSING = {"wait"}
_SECRET = {"keys"}
# What becomes of a request, whichever address it came to: what is kept of it, and how its texts are read.
_OF_REQUESTS = ("trace_content", "special_in_content", "spm_infill")


def differences(handle: ServerHandle, wanted: LoadOptions) -> list[str]:
    """In what a running server is not what is wanted, setting by setting; port 0 is content with any."""
    found = []
    for name, value in _as_json(wanted).items():
        has = handle.asked.get(name)
        if name == "starter":
            # One that outlives its starter is as good as one that does not need to.
            found += [f"it ends with process {has}, and should keep running"] if has and not value else []
            continue
        if name == "needed_by":
            # What was loaded for a job is kept for that alone.
            found += [f"it is loaded for process {has}"] if has else []
            continue
        if name in _PASSING or has == value or (name == "port" and not value and has):
            continue
        found.append(name if name in _SECRET else f"{name} is {_shown(has)}, and {_shown(value)} is requested")
    return found


def check_joinable(handle: ServerHandle, options: LoadOptions) -> None:
    """Refuse to pass requests to a server that would take or keep them otherwise than was asked for at this address.

    Raises:
        InputRefusedError: ``served_otherwise``, with the settings.
    """
    wanted = _as_json(options)
    other = [
        f"{name} is {_shown(handle.asked.get(name))}, and {_shown(wanted.get(name))} here"
        for name in _OF_REQUESTS
        if name in handle.asked and handle.asked.get(name) != wanted.get(name)
    ]
    if other:
        told = f"{handle.model!r} is loaded with other settings: {'; '.join(other)}"
        raise InputRefusedError("served_otherwise", told, f"llmops model stop {handle.model} ends that server.")


def check_replaceable(handle: ServerHandle, differing: list[str]) -> None:
    """Refuse to end a server that others may rely on; a batch asks again what it was not answered.

    Raises:
        InputRefusedError: ``already_served``: it has an address, or it is answering.
    """
    if handle.private:
        facts = health(handle)
        if facts.get("status") == "ok" and facts["active"] == facts.get("batched", 0):
            return
        what = f"{handle.model!r} is loaded for the app or a command, and is busy"
    else:
        place = handle.address or f"unix:{handle.socket}"
        what = f"{handle.model!r} is served at {place} with other settings: {'; '.join(differing)}"
    raise InputRefusedError(
        "already_served",
        what,
        f"llmops serve {handle.model} --replace stops that server and its requests; llmops model stop {handle.model} stops it.",
    )


def _as_json(options: LoadOptions) -> AskedRecord:
    return cast("AskedRecord", json.loads(json.dumps(asdict(options))))


def _shown(value: Any) -> str:
    return json.dumps(value)
