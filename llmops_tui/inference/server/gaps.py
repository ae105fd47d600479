"""What a text that is filled in stands before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmops_tui.inference.engine_wire import FileRecord
from llmops_tui.inference.wire import ChatMessage


@dataclass(frozen=True)
class Gap:
    """What stands behind a prompt that is not gone on with but filled in up to there, and other files to see before it."""

    suffix: str
    files: Sequence[FileRecord] = ()

    def turns(self) -> list[ChatMessage]:
        """What a record keeps of it behind the prompt."""
        files: list[ChatMessage] = [{"role": f"file {f['filename']}"[:100], "content": f["text"]} for f in self.files]
        return [{"role": "suffix", "content": self.suffix}, *files]
