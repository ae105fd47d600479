"""Quantize a model to a smaller type, as a job."""

from __future__ import annotations

import asyncio

from llmops_tui.models.names import derived_name
from llmops_tui.models.registry import Model
from screens.models.facts import size_text
from screens.models.job_end import Begun
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog


async def quantize_model(shell: Shell, model: Model) -> Begun | None:
    """Ask for the type, warn where the model is quantized already, and make it. The job, where it was begun."""
    from llmops_tui.models.quantize import TYPES, check_quantization

    services, name = shell.services, model.name
    parameters = int(model.header.get("parameters") or 0)
    choices = [
        Choice(kind, f"{kind:7}", f"about {size_text(int(parameters * bits / 8))}, {bits:g} bits per weight")
        for kind, (_, bits) in TYPES.items()
        if kind != model.quantization and parameters * bits / 8 < model.size_bytes
    ]
    kind = await shell.ask(ChoiceDialog(f"Quantize {name} to", choices, "No smaller type is available."))
    if kind is None:
        return None
    model = await asyncio.to_thread(services.models.get, name)
    again = model.quantization not in {"F32", "F16", "BF16"}
    await asyncio.to_thread(lambda: check_quantization(model, kind, services.workspace.models, again=True))
    if again:
        question = f"{name} is already {model.quantization}. Quantize it again?"
        if not await shell.ask(ConfirmDialog(question, "That loses more quality than quantizing the original.")):
            return None
    target = derived_name(name, kind)
    job = await asyncio.to_thread(
        lambda: services.jobs.start(
            kind="quantize",
            title=f"quantize {name} to {kind}",
            entry="llmops_tui.models.quantize:quantize",
            arguments={"name": name, "kind": kind, "target": target, "again": again},
        )
    )
    return Begun(job, f"{target} is registered.")
