"""The environment that the training libraries read when they are imported; the same for a run, its plan and a trial."""

from __future__ import annotations

import os

_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Without it what is freed lies in pieces: a plan that measured so would tell another peak than its run has.
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}


def prepare() -> None:
    """Set what the user has not set; to be called before torch and transformers are imported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
