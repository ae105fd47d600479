"""Run the benchmarks and write their figures, with machine and date, to docs/benchmarks/."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import data
import drawing
import evaluation
import monitoring
import serving

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
PACKAGES = ("llama-cpp-python", "textual", "duckdb", "httpx", "uvicorn", "starlette")


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    return {
        "processor": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def main() -> None:
    """Run everything; nothing else should run meanwhile."""
    date = dt.datetime.now(tz=dt.UTC).date().isoformat()
    result = {
        "date": date,
        "machine": machine(),
        "drawing": drawing.main(),
        "serving": serving.main(),
        "data": data.main(),
        "evaluation": evaluation.main(),
        "monitoring": monitoring.main(),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{date}-{result['machine']['cores']}-cores.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
