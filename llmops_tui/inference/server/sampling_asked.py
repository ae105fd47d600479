"""How a request wants its answer sampled."""

from __future__ import annotations

import pydantic

from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server import schemas
from llmops_tui.inference.server.connection import invalid


def sampling_of(body: schemas.ChatRequest | schemas.CompletionRequest, index: int = 0) -> SamplingParameters:
    """How a choice is sampled; what is out of bounds is refused by its name."""
    try:
        return body.sampling(index)
    except pydantic.ValidationError as error:
        raise invalid(error) from error
