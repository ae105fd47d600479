"""What makes models on the models screen: registering files and addresses, taking what is found, quantizing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.models.files import check_model_file
from llmops_tui.models.names import derived_name, name_of_file
from screens.models.facts import size_text
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from screens.models.screen import ModelsScreen

_HINT = "Path of a GGUF file, which stays where it is; or an address, such as http://127.0.0.1:11434, and a name"


def ask_for_model(screen: ModelsScreen) -> None:
    """Ask for a file, or an address and a name behind it, and register it."""

    def answered(text: str | None) -> None:
        if text and "://" in text:
            url, _, name = text.partition(" ")
            screen.act("add", _add_remote, screen, url, name.strip())
        elif text:
            path = Path(text).expanduser()
            screen.act("add", add_file, screen, path, name_of_file(path.name))

    screen.app.push_screen(LineDialog("Add a model", _HINT), answered)


async def add_file(screen: ModelsScreen, path: Path, name: str) -> None:
    """Register a file, as a job: a file that is no model is refused at once, hashing a large one takes long."""
    await asyncio.to_thread(check_model_file, path)
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(
            kind="add",
            title=f"add {name}",
            entry="llmops_tui.models.tasks:add",
            arguments={"path": str(path), "name": name},
        )
    )
    await screen.follow(job, f"{name} is registered.")


async def _add_remote(screen: ModelsScreen, url: str, name: str) -> None:
    from llmops_tui.errors import InputRefusedError
    from llmops_tui.inference.approved_keys import approve
    from llmops_tui.inference.remote import check_url, key_variable, probe_remote

    if not name:
        raise InputRefusedError("no_name", "the address has no name behind it", f"Write: {url} NAME")
    base = check_url(url)
    facts = await asyncio.to_thread(probe_remote, base, os.environ.get(key_variable(name), ""))
    await asyncio.to_thread(approve, key_variable(name), base)
    await asyncio.to_thread(lambda: screen.services.models.add_remote(base, name, facts))
    lacks = ", ".join(facts["lacks"]) or "nothing"
    screen.app.say(f"{name} is {facts['remote_model']} at {base}. It lacks: {lacks}.")
    await screen.refresh_models()


async def offer_found(screen: ModelsScreen) -> None:
    """Show what other programs keep on this machine; the one chosen is registered where it lies."""
    from llmops_tui.models.discovery import find_models

    found = await asyncio.to_thread(find_models)
    known = {model.path for model in await asyncio.to_thread(screen.services.models.all)}
    choices = [
        Choice(
            str(n),
            model.name,
            f"{model.source}  {size_text(model.size_bytes)}" + ("  registered" * (model.path in known)),
        )
        for n, model in enumerate(found)
    ]

    def chosen(value: str | None) -> None:
        if value is not None:
            model = found[int(value)]
            screen.act("add", add_file, screen, model.path, model.name)

    empty = "No GGUF file in the folders of Hugging Face, Ollama and LM Studio."
    screen.app.push_screen(ChoiceDialog("Found on this machine", choices, empty), chosen)


def ask_for_type(screen: ModelsScreen) -> None:
    """Ask to which type the model under the cursor is quantized."""
    from llmops_tui.models.quantize import TYPES

    model = screen.current
    if model is None or model.kind != "gguf":
        screen.app.say("Only a GGUF model can be quantized.", severity="warning")
        return
    parameters = int(model.header.get("parameters") or 0)
    choices = [
        Choice(kind, f"{kind:7}", f"about {size_text(int(parameters * bits / 8))}, {bits:g} bits a weight")
        for kind, (_, bits) in TYPES.items()
        if kind != model.quantization and parameters * bits / 8 < model.size_bytes
    ]

    def chosen(kind: str | None) -> None:
        if kind is not None:
            screen.act("quantize", _quantize, screen, model.name, kind)

    screen.app.push_screen(ChoiceDialog(f"Quantize {model.name} to", choices, "It is as small as it gets."), chosen)


async def _quantize(screen: ModelsScreen, name: str, kind: str) -> None:
    from llmops_tui.models.quantize import check_quantization
    from screens.widgets.dialogs import ConfirmDialog

    services = screen.services
    model = await asyncio.to_thread(services.models.get, name)
    again = model.quantization not in {"F32", "F16", "BF16"}
    await asyncio.to_thread(lambda: check_quantization(model, kind, services.workspace.models, again=True))
    if again:
        question = f"{name} is {model.quantization} already. Quantize it again?"
        sure = await screen.app.push_screen_wait(
            ConfirmDialog(question, "That loses more than quantizing the original.")
        )
        if not sure:
            return
    target = derived_name(name, kind)
    job = await asyncio.to_thread(
        lambda: services.jobs.start(
            kind="quantize",
            title=f"quantize {name} to {kind}",
            entry="llmops_tui.models.quantize:quantize",
            arguments={"name": name, "kind": kind, "target": target, "again": again},
        )
    )
    await screen.follow(job, f"{target} is registered.")
