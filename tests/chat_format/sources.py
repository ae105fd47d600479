"""The templates of the field: those in the source distribution of llama-cpp-python, and those that TRL trains with."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tarfile
from pathlib import Path

# A folder that has them already, so that nothing is fetched.
FOLDER_VARIABLE = "LLMOPS_TEST_TEMPLATES"
_INSIDE = "vendor/llama.cpp/models/"


def llama_templates(folder: Path) -> dict[str, str]:
    """Templates by their names, fetched with pip into a folder unless the variable names one."""
    return _read(_models(folder) / "templates")


def llama_vocabularies(folder: Path) -> list[Path]:
    """Vocabularies without weights, from the same place."""
    return sorted(_models(folder).glob("ggml-vocab-*.gguf"))


def _models(folder: Path) -> Path:
    """The folder of llama.cpp's examples of models."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).parent
    version = importlib.metadata.version("llama-cpp-python")
    command = ["pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-python", "-d", str(folder)]
    subprocess.run([sys.executable, "-m", *command, f"llama-cpp-python=={version}"], check=True, timeout=1200)
    archive = next(folder.glob("llama_cpp_python*.tar.gz"))
    with tarfile.open(archive) as tar:
        members = [one for one in tar.getmembers() if _INSIDE in one.name and one.name.endswith((".jinja", ".gguf"))]
        tar.extractall(folder, members, filter="data")
    return next(folder.glob(f"*/{_INSIDE}"))


def trl_templates() -> dict[str, str]:
    """TRL's templates by their names; none where TRL is not installed."""
    spec = importlib.util.find_spec("trl")
    return _read(Path(spec.origin).parent / "chat_templates") if spec is not None and spec.origin else {}


def _read(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jinja"))}
