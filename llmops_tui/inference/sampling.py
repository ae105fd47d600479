"""Sampling parameters, with their bounds and descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST = 1_000_000
"""So many tokens of an answer, or more, are as many as there is room for."""
# How far an answer goes, and tables.
_NO_DRAWING = {"max_tokens", "stop", "logit_bias"}


class SamplingParameters(BaseModel):
    """Parameters of one generation; the field descriptions are what forms and help show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[
        float, Field(ge=0, le=5, description="0 always picks the most likely token; higher values are more varied.")
    ] = 0.0
    top_p: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Keep the most likely tokens that sum up to this probability; 0: only the most likely one.",
        ),
    ] = 1.0
    top_k: Annotated[
        int, Field(ge=0, le=100_000, description="Keep this many of the most likely tokens; 0 keeps all.")
    ] = 0
    min_p: Annotated[
        float, Field(ge=0, le=1, description="Drop tokens less likely than this share of the most likely one.")
    ] = 0.0
    repeat_penalty: Annotated[
        float, Field(gt=0, le=5, description="Above 1, tokens of the last 64 become less likely; 1 is off.")
    ] = 1.0
    frequency_penalty: Annotated[
        float, Field(ge=-2, le=2, description="Above 0, tokens become less likely the more often they occurred.")
    ] = 0.0
    presence_penalty: Annotated[
        float, Field(ge=-2, le=2, description="Above 0, tokens that occurred become less likely.")
    ] = 0.0
    logit_bias: Annotated[
        dict[int, Annotated[float, Field(ge=-100, le=100)]],
        Field(max_length=65_536, description="Added to the logits of these token ids; -100 forbids a token."),
    ] = {}
    max_tokens: Annotated[int, Field(ge=0, le=1_000_000, description="Stop after this many tokens.")] = 256
    seed: Annotated[
        int, Field(ge=0, le=2**32 - 2, description="The same seed, model and text give the same answer.")
    ] = 1
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
        Field(max_length=128, description="Stop before any of these texts."),
    ] = ()
    enable_thinking: Annotated[
        bool | None, Field(description="Think before the answer: yes or no; empty leaves it to the chat template.")
    ] = None
    thinking_budget: Annotated[
        int | None, Field(ge=0, le=1_000_000, description="End the thinking after this many tokens; empty: no limit.")
    ] = None

    def brief(self) -> str:
        """The parameters that matter, in one short line."""
        parts = [f"temp {self.temperature:g}"]
        if self.temperature > 0:
            parts += [f"top-p {self.top_p:g}"] if self.top_p < 1 else []
            parts += [f"top-k {self.top_k}"] if self.top_k else []
            parts += [f"min-p {self.min_p:g}"] if self.min_p else []
        parts += [f"repeat {self.repeat_penalty:g}"] if self.repeat_penalty != 1 else []
        parts += [f"max {self.max_tokens}", f"seed {self.seed}"]
        parts += [f"stop {len(self.stop)}"] if self.stop else []
        parts += [f"thinking {'on' if self.enable_thinking else 'off'}"] if self.enable_thinking is not None else []
        parts += [f"thinking ≤ {self.thinking_budget:,}"] if self.thinking_budget is not None else []
        return " · ".join(parts)


def told_parameter(name: str, value: object) -> str:
    """One parameter with its value, in words: ``temperature 0.5``, ``thinking off``."""
    if name == "enable_thinking":
        return "thinking as usual" if value is None else "thinking on" if value else "thinking off"
    if value is None:
        return f"no {name.replace('_', ' ')}"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{name.replace('_', ' ')} {shown}"


def told_changes(given: Mapping[str, object]) -> list[str]:
    """The parameters that decide how tokens are drawn and are not what they are by default, each in words."""
    fields = SamplingParameters.model_fields
    return [
        told_parameter(name, value)
        for name, value in given.items()
        if name in fields and name not in _NO_DRAWING and value != fields[name].default
    ]
