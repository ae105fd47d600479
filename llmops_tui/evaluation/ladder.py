"""The quantization ladder of a model: each type compared with the largest on a text, with its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.model_records import Ladder, Measured, MeasuredLine, Rung
from llmops_tui.inference.native_process import run_native
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.quantize import TYPES, quantize
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.catalog import Catalog

ENTRY: JobEntry[Ladder] = JobEntry("llmops_tui.evaluation.ladder:run")
STEPS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
WINDOW, LIMIT = 512, 20_000


def check_ladder(registry: ModelRegistry, name: str, kinds: list[str], file: Path) -> None:
    """Refuse what cannot be done.

    Raises:
        InputRefusedError: no GGUF model, a type that is not known, or no text.
    """
    model = registry.get(name)
    if model.kind != "gguf":
        raise InputRefusedError(
            "not_quantizable", f"{name!r} is not a GGUF model", "llmops model convert makes a GGUF model."
        )
    unknown = [kind for kind in kinds if kind not in TYPES]
    if unknown:
        raise InputRefusedError(
            "unknown_type", f"{unknown[0]!r} is not a quantization type", f"One of: {', '.join(TYPES)}."
        )
    if not file.is_file():
        raise InputRefusedError(
            "file_missing", f"{file} is not a file", "Give a text file of the domain that the model is used for."
        )


def run(context: JobContext, model: str, kinds: list[str], file: str) -> Ladder:
    """The job: quantize where a type is not there yet, and measure each against the model it was made of."""
    registry = ModelRegistry(Catalog(context.workspace))
    reference = registry.get(model)
    steps: list[Rung] = [_step(reference, None)]
    for number, kind in enumerate(kinds):
        name = f"{model}-ladder-{kind}"
        if name not in {m.name for m in registry.all()}:
            quantize(context, model, kind, name, again=True)
        made = registry.get(name)

        def told(share: float, number: int = number, name: str = name) -> None:
            context.report((number + share) / len(kinds), f"holding {name} against {model}")

        steps.append(_step(made, _measure(reference, made, Path(file), told)))
    return {"model": model, "file": file, "steps": steps}


def _step(model: Model, measured: Measured | None) -> Rung:
    return {"model": model.name, "type": model.quantization, "size_bytes": model.size_bytes, **(measured or {})}


def _measure(reference: Model, model: Model, file: Path, told: Callable[[float], None]) -> Measured:
    result: Measured = {}

    def heard(message: MeasuredLine) -> None:
        result.update(message.get("result", {}))
        if "done" in message:
            told(message["done"] / max(1, message["of"]))

    run_native(
        "llmops_tui.evaluation.ladder_worker",
        [str(reference.path), str(model.path), str(file), str(WINDOW), str(LIMIT)],
        heard,
        model=model.path,
        failed="ladder_failed",
        what=f"{model.name} could not be measured",
    )
    return result
