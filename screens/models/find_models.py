"""Register a model that another program keeps on this machine."""

from __future__ import annotations

import asyncio

from screens.models.facts import size_text
from screens.models.register_model import add_file
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

_EMPTY = "No GGUF file in the folders of Hugging Face, Ollama and LM Studio."


async def add_found(shell: Shell) -> bool:
    """Show what other programs keep here; the one chosen is registered where it lies. Whether one was."""
    from llmops_tui.models.discovery import find_models

    found = await asyncio.to_thread(find_models)
    known = {model.path for model in await asyncio.to_thread(shell.services.models.all)}
    choices = [
        Choice(
            str(n),
            model.name,
            f"{model.source}  {size_text(model.size_bytes)}" + ("  registered" * (model.path in known)),
        )
        for n, model in enumerate(found)
    ]
    value = await shell.ask(ChoiceDialog("Found on this machine", choices, _EMPTY))
    if value is None:
        return False
    await add_file(shell, found[int(value)].path, found[int(value)].name)
    return True
