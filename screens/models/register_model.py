"""Register a model: a file in place, or a URL."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.files import check_model_file
from llmops_tui.models.names import name_of_file
from llmops_tui.user_files import with_home
from screens.models.job_end import Begun
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog

_HINT = "Path of a GGUF file, which is not moved; or a URL, such as http://127.0.0.1:11434, and a name"


async def register_model(shell: Shell) -> Begun | None:
    """Ask for a file, or an address and a name behind it, and register it; the job that registers a file."""
    text = await shell.ask(LineDialog("Add a model", _HINT, path=True))
    if not text:
        return None
    if "://" in text:
        url, _, name = text.partition(" ")
        await _add_remote(shell, url, name.strip())
        return None
    path = await asyncio.to_thread(with_home, text)
    return await add_file(shell, path, name_of_file(path.name))


async def add_file(shell: Shell, path: Path, name: str) -> Begun:
    """Register a file, as a job: a file that is no model is refused at once, hashing a large one takes long."""
    await asyncio.to_thread(check_model_file, path)
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(
            kind="add",
            title=f"add {name}",
            entry="llmops_tui.models.tasks:add",
            arguments={"path": str(path), "name": name},
        )
    )
    return Begun(job, f"{name} is registered.")


async def _add_remote(shell: Shell, url: str, name: str) -> None:
    from llmops_tui.inference.approved_keys import approve, key_variable
    from llmops_tui.inference.remote import check_url, probe_remote

    if not name:
        raise InputRefusedError("no_name", "the URL is not followed by a name", f"Write: {url} NAME")
    base = check_url(url)
    facts = await asyncio.to_thread(probe_remote, base, os.environ.get(key_variable(name), ""))
    await asyncio.to_thread(approve, key_variable(name), base)
    known = {model.name for model in await asyncio.to_thread(shell.services.models.all)}
    model = await asyncio.to_thread(lambda: shell.services.models.add_remote(base, name, facts))
    if name not in known:
        await asyncio.to_thread(shell.services.undo.note_registered, model)
    lacks = ", ".join(facts["lacks"]) or "nothing"
    undoes = "" if name in known else " z undoes it."
    shell.say(f"{name} is {facts['remote_model']} at {base}. It lacks: {lacks}.{undoes}")
