"""What is to be written: the plan of a synthesis, one settings model behind the command line, the screen and the job."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json, text_of
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.synthesis.topics import Topic, read_topics

Way = Literal["rows", "paraphrase", "back-translation"]
MOST_ROWS = 100_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filters(_Part):
    """What a row has to be, in the order in which it is looked at."""

    min_chars: Annotated[
        int, Field(ge=0, le=1_000_000, description="Least characters of all texts of a row together.")
    ] = 3
    max_chars: Annotated[int, Field(ge=1, le=1_000_000, description="Most characters of all texts of a row.")] = 4000
    near: Annotated[
        float,
        Field(ge=0.3, le=1.0, description="From this share of common word sequences on a row is a near-duplicate."),
    ] = 0.8
    judge: Annotated[str, Field(description="A model that grades each row; empty: none.")] = ""
    rubric: Annotated[str, Field(max_length=20_000, description="What the judge grades by.")] = (
        "The text is what was asked for: on the topic, of the kind of the examples, whole, and without mistakes."
    )
    least: Annotated[float, Field(ge=1, le=5, description="The least grade, from 1 to 5.")] = 3.0


class SynthesisPlan(_Part):
    """Everything that decides what is written; the field descriptions are what forms and help show."""

    way: Annotated[
        Way, Field(description="rows: new rows; paraphrase, back-translation: other words for the seed's.")
    ] = "rows"
    model: Annotated[str, Field(min_length=1, description="The registered model that writes.")]
    rows: Annotated[int, Field(ge=1, le=MOST_ROWS, description="Number of rows to ask for; filters leave fewer.")] = 100
    seeds: Annotated[str, Field(description="A dataset version whose rows are the examples.")] = ""
    form: Annotated[
        JsonObject | None, Field(alias="schema", description="A JSON Schema of an object: what a row holds.")
    ] = None
    topics: Annotated[tuple[Topic, ...], Field(description="What rows are written about.")] = ()
    write: Annotated[
        tuple[str, ...], Field(description="Columns that are written; default: the texts of the seeds but labels.")
    ] = ()
    keep: Annotated[
        tuple[str, ...] | None,
        Field(description="Columns that are taken from the seed row; default: labels, and the system's text."),
    ] = None
    shots: Annotated[int, Field(ge=1, le=20, description="Number of seed rows that the model is shown.")] = 5
    guidance: Annotated[
        str, Field(max_length=20_000, description="What the model is told about the rows, in your own words.")
    ] = ""
    prompt: Annotated[str, Field(description="A prompt version that asks; default: the built-in one.")] = ""
    language: Annotated[
        str, Field(pattern=r"^[a-z]{2}$", description="Of back-translation: the language between, as fr or de.")
    ] = "fr"
    parameters: SamplingParameters = SamplingParameters(temperature=0.8, top_p=0.95, max_tokens=256)
    seed: Annotated[
        int, Field(ge=0, le=2**31, description="Decides which seeds are shown, and each row's sampling.")
    ] = 1
    filters: Filters = Filters()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)

    @pydantic.field_validator("topics", mode="before")
    @classmethod
    def _read_topics(cls, given: Any) -> tuple[Topic, ...]:
        if isinstance(given, tuple):
            return given
        try:
            return read_topics(given)
        except InputRefusedError as error:
            raise ValueError(error.message) from error

    @pydantic.field_serializer("topics")
    def _dump_topics(self, topics: tuple[Topic, ...]) -> list[JsonObject]:
        return [topic.as_dict() for topic in topics]

    @model_validator(mode="after")
    def _fits_together(self) -> SynthesisPlan:
        if self.way == "rows":
            if not (self.seeds or self.form or self.topics):
                raise ValueError("give seeds, a schema or topics: there is nothing to write from")
            if self.keep and (self.topics or not self.seeds):
                raise ValueError("keep: only a row that is made of a seed row takes columns of it")
            if self.write and (self.form or not self.seeds):
                raise ValueError("write: the columns are those of the schema" if self.form else "write requires seeds")
            return self
        if not self.seeds:
            raise ValueError(f"{self.way} requires seeds: it says their rows in other words")
        given = [name for name in ("form", "topics", "keep") if getattr(self, name)]
        if given:
            raise ValueError(f"{self.way} takes rows as they are, without {' and '.join(_called(n) for n in given)}")
        return self

    def as_record(self) -> JsonObject:
        """The plan as JSON; :func:`check_plan` reads it."""
        return self.model_dump(mode="json", by_alias=True)


def read_schema(path: Path) -> JsonObject:
    """The JSON of a file with a schema.

    Raises:
        InputRefusedError: ``unreadable``, ``bad_schema``.
    """
    try:
        value = parse_json(text_of(path), constants=False)
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("unreadable", f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise InputRefusedError("bad_schema", f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputRefusedError("bad_schema", f"{path} holds no JSON object")
    return value


def _called(name: str) -> str:
    return "schema" if name == "form" else name


def check_plan(body: JsonObject) -> SynthesisPlan:
    """A plan from JSON.

    Raises:
        InputRefusedError: ``bad_plan``: what is wrong, and where.
    """
    try:
        return SynthesisPlan.model_validate(body)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        hint = ""
        if first["type"] == "extra_forbidden":
            close = get_close_matches(str(first["loc"][-1]), SynthesisPlan.model_fields, 1)
            hint = f"Did you mean {close[0]}?" if close else ""
        message = first["msg"].removeprefix("Value error, ")
        raise InputRefusedError("bad_plan", f"{place}: {message}" if place else message, hint) from error
