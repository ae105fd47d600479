"""What a request asks of an answer that a recording has: such as its form, which a replay cannot change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.inference.server.fields import FieldRefusedError

if TYPE_CHECKING:
    from llmops_tui.inference.server import schemas


@dataclass(frozen=True)
class AskedAgain:
    """What is asked of a ``recording``.

    Attributes:
        recording: its name.
        form: what the answer is held to, as a trace has it.
        demanded: the tool that has to be called; empty for any, none where that is free.
    """

    recording: str
    form: Mapping[str, object]
    demanded: str | None


def asked_again(
    body: schemas.ChatRequest | schemas.CompletionRequest, recording: str, logprobs: int | None
) -> AskedAgain | None:
    """What a request asks of a recording; none where its model is asked.

    Raises:
        FieldRefusedError: ``not_replayable``: log-probabilities, which no recording has.
    """
    if not recording:
        return None
    if logprobs is not None:
        told = f"are not kept, and the recording {recording!r} is replayed here"
        raise FieldRefusedError("logprobs", told, "Leave it out, or ask a server without --replay.", "not_replayable")
    return AskedAgain(recording, body.traced_form(), body.demanded)
