"""What the host's processor has instructions for."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

# As Linux names them: of x86 processors that multiply in bfloat16, by vectors or by tiles, and of Arm's.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


@functools.cache
def has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16; one that does not say so is taken for one that does not."""
    text = ""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return bool(_BFLOAT16 & features_of(text))


def features_of(text: str) -> set[str]:
    """The features of the first processor that a text such as that of ``/proc/cpuinfo`` lists; empty where it lists none."""
    for line in text.splitlines():
        name, _, words = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return set(words.split())
    return set()
