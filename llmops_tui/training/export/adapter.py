"""The end of a run: the adapter with its card and recipe, its GGUF form, and its lineage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.models.safetensors import read_folder, read_tensors
from llmops_tui.regular_files import read_regular
from llmops_tui.training.adapter_deltas import Change, Delta, Replacement, deltas, refuse_tied, replacements
from llmops_tui.training.export.serving_model import serving_model
from llmops_tui.training.export.tensors import read
from llmops_tui.training.families import Family, architecture_beside
from llmops_tui.training.records import RunResult
from llmops_tui.training.rewards import noted
from llmops_tui.workspace.files import sha256_file, write_atomic
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.training.runs import Run, RunStore

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def read_adapter(folder: Path) -> list[Delta]:
    """What an adapter folder changes, where all of it is a low-rank sum.

    Raises:
        InputRefusedError: it has modules that were trained whole, is damaged, pickled, or no LoRA.
    """
    found = read_changes(folder)
    if whole := [change.module for change in found if isinstance(change, Replacement)]:
        raise InputRefusedError(
            "trained_whole",
            f"the adapter has {', '.join(sorted(whole))} trained whole, which no adapter in GGUF can have",
            "Its result is the merged model.",
        )
    return [change for change in found if isinstance(change, Delta)]


def read_changes(folder: Path) -> list[Change]:
    """What an adapter folder changes, with what was trained whole.

    Raises:
        InputRefusedError: it is damaged, pickled, or no LoRA.
    """
    weights = folder / WEIGHTS
    if not weights.is_file():
        if (folder / "adapter_model.bin").exists():
            raise InputRefusedError(
                "pickled_weights",
                f"{folder} has its adapter as pickle, which can run code when opened",
                "Save it as safetensors in an environment where you trust it.",
            )
        raise InputRefusedError("adapter_missing", f"{folder} has no {WEIGHTS}")
    config = parse_json(read_regular(folder / CONFIG))
    whole, others = replacements(config, {name: read(weights, name) for name in read_tensors(weights)})
    return [*deltas(config, others), *whole]


def write_adapter_gguf(
    family: Family, changes: list[Delta], target: Path, name: str, template: str | None = None, served: str = ""
) -> None:
    """Write an adapter that llama.cpp loads beside the base's GGUF, whatever that is quantized to.

    It carries the chat ``template`` that it was trained with, where that is not the base's. ``served`` is the architecture of
    the file that it goes beside, where that is known.

    llama.cpp scales each module by ``adapter.lora.alpha / rank``. One alpha is written, so a module that is scaled
    otherwise has the difference in its B. Values stay 32 bits wide: nothing is lost of what was trained. Of an embedding
    llama.cpp looks rows up: A is words × rank there, and B width × rank.

    Raises:
        InputRefusedError: ``dora``: the format has no place for lengths of rows; or ``tied``.
    """
    refuse_tied(family.name, family.config, changes)
    if any(change.magnitude is not None for change in changes):
        raise InputRefusedError(
            "dora",
            "an adapter trained with DoRA scales whole rows, which cannot be expressed as a plain LoRA",
            "Merge it instead: llmops train export RUN --merge.",
        )
    alpha = changes[0].scale * changes[0].rank
    writer = gguf.GGUFWriter(target, architecture_beside(family, served))
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_name(name)
    writer.add_file_type(int(gguf.LlamaFileType.ALL_F32))
    if template is not None:
        writer.add_chat_template(template)
    for change in changes:
        a = family.columns(change.module + ".weight", change.a)
        b = family.rows(change.module + ".weight", change.b)
        if change.embedding:
            a, b = b, np.transpose(a)
        factor = change.scale * change.rank / alpha
        place = family.tensor_name(change.module + ".weight")
        writer.add_tensor(f"{place}.lora_a", np.ascontiguousarray(a, np.float32))
        writer.add_tensor(
            f"{place}.lora_b", np.ascontiguousarray(b if factor == 1 else b * np.float32(factor), np.float32)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def finish_adapter(store: RunStore, run: Run, adapter: Path, weights: Path) -> RunResult:
    """Write recipe and card beside an adapter, its GGUF form, and register that with its lineage.

    ``weights`` is the folder that was trained on.
    """
    # Its data were read when it began: a dataset that was removed since takes nothing from what was learned.
    base = store.checked(run, data=False)
    describe(adapter, run, base)
    result: RunResult = {"adapter": str(adapter), "weights_sha256": sha256_file(adapter / WEIGHTS)}
    if rewards := noted(run.folder):
        result["rewards"] = {f"{one['name']} × {one['weight']:g}": one["fingerprint"] for one in rewards}
    serving = serving_model(store, run.recipe.serving, base)
    try:
        folder = read_folder(weights)
        family = Family(folder.family, folder.config)
        scratch = store.workspace.models / f".{run.name}.gguf.part"
        template = run.recipe.template(base.header.get("chat_template"))
        served = "" if serving is None else str(serving.header.get("architecture"))
        write_adapter_gguf(family, read_adapter(adapter), scratch, run.name, template, served)
    except InputRefusedError as error:
        # The adapter itself is good; only this form of it cannot be made.
        return result | {"model": None, "without_gguf": error.told}
    final = store.workspace.models / f"{run.name}.gguf"
    scratch.rename(final)
    model = store.registry.add(final, run.name)
    # Read before the catalog is written: whoever reads it while it writes waits for itself.
    inputs = [*parents(store, run, base), *(result.get("rewards") or {}).values()]
    store.catalog.write(
        lambda connection: record_edges(
            connection, output=model.sha256, kind="train", recipe=run.recipe.sha256, inputs=inputs
        )
    )
    return result | {"model": model.name, "sha256": model.sha256, "serving": serving.name if serving else None}


def describe(folder: Path, run: Run, base: Model) -> None:
    """Write recipe and card into the folder of what a run learned."""
    write_atomic(folder / "recipe.yaml", run.recipe.to_yaml())
    write_atomic(folder / "README.md", _card(run, base))
    (folder / "training_args.bin").unlink(missing_ok=True)


def parents(store: RunStore, run: Run, base: Model) -> list[str]:
    """What a run's result was made of: the base, the data, and the model of the run that it goes on from."""
    before = [str((store.get(name).result or {}).get("sha256") or "") for name, _ in run.start]
    return [base.sha256, *(digest for _, digest in run.data), *(digest for digest in before if digest)]


def _rewards_told(run: Run) -> str:
    """What a run of rewards learned from, with what the scores come from; nothing of other methods."""
    lines = [
        f"- {one['name']} × {one['weight']:g}: {one['code'] or one['type']} (SHA-256 {one['fingerprint']})"
        + (f", graded by {one['asks']}" if one["asks"] else "")
        for one in noted(run.folder)
    ]
    return "## Rewards\n" + "\n".join(lines) + "\n\n" if lines else ""


def _card(run: Run, base: Model) -> str:
    """A model card: what it is, of what it was made, and how."""
    data = "\n".join(f"- {ref} (SHA-256 {digest})" for ref, digest in run.data)
    made = time.strftime("%Y-%m-%d", time.gmtime())
    full = run.recipe.tuning == "full"
    library, what = ("transformers", "All weights") if full else ("peft", "A LoRA adapter")
    before = "".join(f"- goes on from {name} (SHA-256 {digest})\n" for name, digest in run.start)
    return (
        f"---\nbase_model: {base.name}\nlibrary_name: {library}\n"
        f"tags: [{run.recipe.tuning}, {run.recipe.method}, llmops-tui]\n---\n"
        f"# {run.name}\n\n{what} of {base.name}, trained with {run.recipe.method} on {made} by llmops-tui.\n\n"
        f"## Base\n- {base.name} (SHA-256 {base.sha256})\n{before}\n## Data\n{data}\n\n"
        f"{_rewards_told(run)}## Recipe\n```yaml\n{run.recipe.to_yaml()}```\n\nRecipe SHA-256 {run.recipe.sha256}\n\n"
        "## Limits\nNot evaluated yet: llmops eval measures it.\n"
    )
