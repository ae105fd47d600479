"""What is to be improved and how: the plan, one settings model behind the command line, the screen and the job."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.improvement.budget import Limits

Way = Literal["instructions", "examples"]
WAYS: tuple[Way, ...] = ("instructions", "examples")
MOST_TURNS = 200


class ImprovementPlan(BaseModel):
    """Everything that decides an improvement; the field descriptions are what forms and help show.

    ``suite`` is a suite as it is kept: the dataset version, each variable's path, what is expected, sampling and metrics.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[str, Field(min_length=1, description="The prompt's version that is the seed.")]
    suite: JsonObject
    metric: Annotated[str, Field(description="The metric that is improved, by its name in the suite.")]
    model: Annotated[str, Field(min_length=1, description="The registered model that the prompt is for.")]
    reflector: Annotated[str, Field(description="The model that writes instructions; default: the same.")] = ""
    embedder: Annotated[str, Field(description="The model whose embeddings tell how diverse examples are.")] = ""
    sealed_data: Annotated[str, Field(description="A dataset version of another source; its rows are sealed.")] = ""
    ways: Annotated[tuple[Way, ...], Field(min_length=1, description="instructions, examples, or both.")] = WAYS
    turns: Annotated[int, Field(ge=1, le=MOST_TURNS, description="Number of candidates to propose.")] = 12
    rows: Annotated[
        int, Field(ge=0, description="Use so many rows at the most, drawn; 0: all. Fewer cost less and show less.")
    ] = 0
    calls: Annotated[int | None, Field(ge=1, description="The most calls of the model.")] = None
    minutes: Annotated[float | None, Field(gt=0, description="The most minutes.")] = None
    watt_hours: Annotated[float | None, Field(gt=0, description="The most energy, of all measured devices.")] = None
    most_words: Annotated[int, Field(ge=5, le=20_000, description="The longest instruction, in words.")] = 300
    seed: Annotated[int, Field(ge=0, le=2**31, description="Decides what is drawn, but not which rows are sealed.")] = 1
    look_again: Annotated[
        bool, Field(description="Look at sealed rows that were looked at before; the interval is wider then.")
    ] = False

    @model_validator(mode="after")
    def _once(self) -> ImprovementPlan:
        if len(set(self.ways)) != len(self.ways):
            raise ValueError("ways: each once")
        return self

    @property
    def limits(self) -> Limits:
        """The most that it may take."""
        return Limits(self.calls, self.minutes, self.watt_hours)

    @property
    def writer(self) -> str:
        """The model that writes instructions."""
        return self.reflector or self.model

    def as_record(self) -> JsonObject:
        """The plan as JSON; :func:`check_plan` reads it."""
        return self.model_dump(mode="json")


def check_plan(body: JsonObject) -> ImprovementPlan:
    """A plan from JSON.

    Raises:
        InputRefusedError: ``bad_plan``: what is wrong, and where.
    """
    try:
        return ImprovementPlan.model_validate(body)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        hint = ""
        if first["type"] == "extra_forbidden":
            close = get_close_matches(str(first["loc"][-1]), ImprovementPlan.model_fields, 1)
            hint = f"Did you mean {close[0]}?" if close else ""
        message = first["msg"].removeprefix("Value error, ")
        raise InputRefusedError("bad_plan", f"{place}: {message}" if place else message, hint) from error
