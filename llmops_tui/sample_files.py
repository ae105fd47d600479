"""The location of the bundled sample data."""

from __future__ import annotations

from pathlib import Path

from llmops_tui.errors import LlmopsError

# Quantized, since that is where builds for another processor die; the smallest file there is.
_CHECK_MODEL = "support-base-Q4_K_M.gguf"


def sample_folder() -> Path:
    """Where the sample data is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_sample_data", package.parent / "sample_data"):
        if (folder / "models" / "SHA256SUMS").is_file():
            return folder
    raise LlmopsError("sample_missing", f"the sample data is missing next to {package}", "Install llmops-tui again.")


def check_model() -> Path:
    """The model that llama.cpp is tried with."""
    return sample_folder() / "models" / _CHECK_MODEL
