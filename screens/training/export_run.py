"""Make a model of a run: its adapter beside the base, or merged into it and quantized; verified step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.training.records import ProofStep

_KINDS = [
    Choice("", "adapter on its base", "verified against transformers; the run has already written it"),
    Choice("F16", "merged, F16", "the base with the adapter, in 16 bits"),
    Choice("Q8_0", "merged, Q8_0", "half the size, almost no loss"),
    Choice("Q6_K", "merged, Q6_K", ""), Choice("Q5_K_M", "merged, Q5_K_M", ""),
    Choice("Q4_K_M", "merged, Q4_K_M", "the usual size for a small GPU"),
]  # fmt: skip


async def choose_constraint(shell: Shell, name: str) -> str | None:
    """Into what a run's adapter is to be made: the type of the merged model, empty for the adapter; none where it was left."""
    return await shell.ask(ChoiceDialog(f"Export {name} as …", _KINDS))


async def export_run(shell: Shell, name: str, kind: str, told: Callable[[str], object]) -> list[ProofStep]:
    """Make what was chosen of a run, as a job whose progress is told; the steps of its proof."""
    from llmops_tui.training.export.validation import ENTRY, check_export

    await asyncio.to_thread(check_export, shell.services.training, name, kind or None)
    arguments = {"run_name": name, "merge": bool(kind), "quantize": kind or None, "safetensors": None}
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind="export", title=f"export {name}", entry=ENTRY, arguments=arguments)
    )
    found = await wait_for_job(shell.services, job, told)
    proof: list[ProofStep] = found.get("proof") or []
    good = all(step["good"] for step in proof)
    made = ", ".join(found.get("models") or []) or "its adapter"
    shell.say(
        f"{made}: "
        + (
            "each step gives the same answers as the adapter on its base."
            if good
            else "a step gives different answers; see Result."
        ),
        severity="information" if good else "warning",
    )
    return proof
