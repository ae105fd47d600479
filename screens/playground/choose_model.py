"""Choose the model that answers."""

from __future__ import annotations

import asyncio

from llmops_tui.safe_text import safe_line
from screens.actions import screen_place
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog


async def choose_model(shell: Shell) -> str | None:
    """The name of a model, from a list with sizes and whether each is loaded; none where none was chosen."""
    models = await asyncio.to_thread(shell.services.models.runnable)
    running = await asyncio.to_thread(shell.services.servers.running)
    loaded = {handle.model for handle in running}
    choices = []
    widest = max((len(model.quantization) for model in models), default=0)
    for model in models:
        if model.kind == "remote":
            choices.append(
                Choice(model.name, model.name, f"remote  {safe_line(str(model.header.get('url')))}", "model")
            )
            continue
        state = "loaded" if model.base.name in loaded else model.trouble
        size = f"{model.size_bytes / 1e9:.1f} GB" if model.size_bytes > 1e8 else f"{model.size_bytes / 1e6:.1f} MB"
        choices.append(
            Choice(model.name, model.name, f"{model.quantization:{widest}}  {size:>8}  {state}".rstrip(), "model")
        )
    empty = f"No models yet. {screen_place('models')} adds a GGUF file."
    return await shell.ask(ChoiceDialog("Model", choices, empty))
