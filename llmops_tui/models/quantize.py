"""Quantization of a GGUF model: types, resulting size, and the job."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.child_python import module_command
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.process import describe_exit, oom_kills
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.gguf import read_header
from llmops_tui.models.names import check_name
from llmops_tui.models.records import Written
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    import duckdb

# llama.cpp's file types, with bits a weight as its quantizer gives them on a llama of 8B.
TYPES: dict[str, tuple[int, float]] = {
    "F32": (0, 32.0), "F16": (1, 16.0), "BF16": (32, 16.0), "Q8_0": (7, 8.5), "Q6_K": (18, 6.56), "Q5_K_M": (17, 5.68),
    "Q5_K_S": (16, 5.54), "Q5_0": (8, 5.54), "Q5_1": (9, 6.0), "Q4_K_M": (15, 4.85), "Q4_K_S": (14, 4.58),
    "Q4_0": (2, 4.55), "Q4_1": (3, 5.0), "IQ4_NL": (25, 4.5), "IQ4_XS": (30, 4.25), "Q3_K_L": (13, 4.27),
    "Q3_K_M": (12, 3.91), "Q3_K_S": (11, 3.5), "Q2_K": (10, 2.96), "TQ1_0": (36, 1.69), "TQ2_0": (37, 2.06),
}  # fmt: skip
_WHOLE = {"F32", "F16", "BF16"}
ENTRY: JobEntry[Written] = JobEntry("llmops_tui.models.quantize:quantize")


def check_quantization(model: Model, kind: str, folder: Path, *, again: bool) -> None:
    """Refuse what cannot be done, or would be regretted, before anything starts.

    Raises:
        InputRefusedError: an unknown type, a model that is quantized already, no space, or no GGUF file.
    """
    if kind not in TYPES:
        raise InputRefusedError(
            "unknown_type",
            f"{kind!r} is not a quantization type",
            f"One of: {', '.join(TYPES)}. (The smaller IQ types need an importance matrix, which is not supported.)",
        )
    if model.kind != "gguf":
        raise InputRefusedError("not_quantizable", f"{model.name!r} is not a GGUF model")
    if trouble := model.trouble:
        raise InputRefusedError("not_quantizable", f"{model.name!r}: {trouble}", f"llmops model verify {model.name}")
    if model.quantization not in _WHOLE and not again:
        raise InputRefusedError(
            "quantized_already",
            f"{model.name!r} is already {model.quantization}; quantizing it again loses more than quantizing the original",
            "Use the F16, BF16 or F32 file, or force it with --again.",
        )
    needed = int(model.header.get("parameters") or 0) * TYPES[kind][1] / 8 * 1.1
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputRefusedError(
            "disk_full", f"{kind} needs about {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free"
        )


def quantize(context: JobContext, name: str, kind: str, target: str, *, again: bool = False) -> Written:
    """The job: write ``target`` into the workspace and register it; a file that is not whole never has its name."""
    catalog = Catalog(context.workspace)
    registry = ModelRegistry(catalog)
    model = registry.get(name)
    check_name(target)
    check_quantization(model, kind, context.workspace.models, again=again)
    final = context.workspace.models / f"{target}.gguf"
    if final.exists():
        raise InputRefusedError("file_exists", f"{final} already exists", "Choose another name with --name.")
    scratch = final.with_suffix(".gguf.part")
    try:
        run_quantizer(context, model.path, scratch, TYPES[kind][0])
        read_header(scratch)
        scratch.rename(final)
    finally:
        scratch.unlink(missing_ok=True)
    made = registry.add(final, target, lambda share: context.report(0.9 + 0.1 * share, f"hashing {target}"))

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        record_edges(connection, output=made.sha256, kind="quantize", recipe=kind, inputs=[model.sha256])

    catalog.write(work)
    return {"model": made.name, "path": str(made.path), "size_bytes": made.size_bytes, "sha256": made.sha256}


def run_quantizer(context: JobContext, source: Path, target: Path, file_type: int) -> None:
    """llama.cpp quantizes in a process of its own, which can be ended at any moment and may crash."""
    before = oom_kills()
    process = subprocess.Popen(
        module_command("llmops_tui.models.quantize_worker", str(source), str(target), str(file_type), str(os.getpid())),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    failure = ""
    try:
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                failure = message.get("error", failure)
                if "done" in message:
                    context.report(
                        0.9 * message["done"] / max(1, message["of"]), f"tensor {message['done']} of {message['of']}"
                    )
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if code != 0:
        cause = failure or describe_exit(code, before)
        raise LlmopsError(
            "quantize_failed", f"llama.cpp could not quantize {source.name}: {cause}", "The job's log has more."
        )
