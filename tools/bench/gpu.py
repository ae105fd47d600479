"""On a machine with a GPU: decoding, batching and edits of an 8B-sized random Q4_K_M, against its memory bandwidth.

Builds nothing: llama-cpp-python has to be a build with CUDA (the Makefile makes one where a GPU answers). The raw
figures are kept in docs/benchmarks/.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from make_random_model import SHAPES, write_model
from serving import decode_ratio, edit_ratio

from llmops_tui.inference.probe import probe

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"


def bandwidth() -> dict[str, Any]:
    """The first GPU's name and its memory bandwidth in bytes a second, by its clock and its bus; empty without one."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        clock = pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_MEM)
        bus = pynvml.nvmlDeviceGetMemoryBusWidth(handle)
        name = pynvml.nvmlDeviceGetName(handle)
    except Exception as error:  # noqa: BLE001  NVML's errors share no useful base; without a driver there is no figure
        return {"problem": str(error)}
    # Two transfers a clock.
    return {"gpu": name, "bytes_per_s": clock * 1e6 * 2 * bus / 8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--gpu-layers", type=int, default=-1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=256)
    arguments = parser.parse_args()
    os.environ["BENCH_GPU_LAYERS"] = str(999 if arguments.gpu_layers < 0 else arguments.gpu_layers)
    vocabulary = SHAPES[arguments.shape][5]
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        folder = Path(name)
        path = folder / f"{arguments.shape}.gguf"
        write_model(path, arguments.shape)
        size = path.stat().st_size
        common = {"vocabulary": vocabulary, "rounds": arguments.rounds, "gpu_layers": arguments.gpu_layers}
        result: dict[str, Any] = {
            "date": dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"),
            "model": {"shape": arguments.shape, "bytes": size},
            "llama_cpp": probe(),
            "memory": bandwidth(),
            "one_stream": decode_ratio(folder, path, streams=1, tokens=arguments.tokens, **common),
            "sixteen_streams": decode_ratio(folder, path, streams=16, tokens=arguments.tokens, **common),
            "edits": edit_ratio(folder, path, **common),
        }
    if "bytes_per_s" in result["memory"]:
        limit = result["memory"]["bytes_per_s"] / size
        result["memory"]["tokens_per_s_limit"] = limit
        result["one_stream"]["share_of_limit"] = result["one_stream"]["served_tokens_per_s"] / limit
        shown = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False)
        result["nvidia_smi"] = shown.stdout
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw = json.dumps(result, indent=2) + "\n"
    (FOLDER / f"{result['date'][:10]}-gpu-{arguments.shape}.json").write_text(raw)
    print(raw)


if __name__ == "__main__":
    main()
