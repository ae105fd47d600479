"""What is asked before rows are written: a form of few fields, from which the plan of the engine is made."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from llmops_tui.foreign_text import JsonObject
from llmops_tui.names import RULE, is_name
from llmops_tui.user_files import with_home
from screens.widgets.form_dialog import FormDialog

MOST_ROWS = 100_000


def _checked(name: str) -> str:
    if not is_name(name):
        raise ValueError(RULE)
    return name


Name = Annotated[str, AfterValidator(_checked), Field(description="The dataset that the new rows go to.")]


def name_of_made(dataset: str, ending: str) -> str:
    """A name for rows that are made of a dataset's: its own with an ending, cut where that is too long for a name."""
    while not is_name(f"{dataset}-{ending}"):
        dataset = dataset[:-1]
    return f"{dataset}-{ending}"


class NoiseAsked(BaseModel):
    """Noise in the texts of a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    noise: Annotated[
        tuple[str, ...], Field(description='Of typos, upper, lower, blanks; several as ["typos", "lower"].')
    ] = ("typos",)
    rate: Annotated[float, Field(gt=0, le=1, description="Share of the words with a typo.")] = 0.1
    times: Annotated[int, Field(ge=1, le=100, description="Rows with typos for each row.")] = 1
    column: Annotated[str, Field(description="Of a table: the column of texts.")] = ""
    seed: Annotated[int, Field(ge=0, description="The same seed gives the same rows.")] = 1

    def parameters(self) -> JsonObject:
        """As the operation takes them."""
        return {"kinds": list(self.noise), **self.model_dump(include={"rate", "times", "column", "seed"})}


class WordsAsked(BaseModel):
    """Rows of a version in other words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    rows: Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows to ask for; filters leave fewer.")]
    column: Annotated[str, Field(description="Of a table: the column of texts.")] = ""
    language: Annotated[
        str, Field(pattern="^[a-z]{2}$", description="Of back-translation: the language between, such as fr.")
    ] = "fr"
    guidance: Annotated[str, Field(description="What the model is told about the texts.")] = ""
    temperature: Annotated[float, Field(ge=0, le=5, description="Higher values are more varied.")] = 0.8
    max_tokens: Annotated[int, Field(ge=1, description="Most tokens of an answer; longer ones fall.")] = 256
    near: Annotated[float, Field(ge=0.3, le=1, description="From this share of common words on rows are near.")] = 0.8
    judge: Annotated[str, Field(description="A model that grades each row from 1 to 5; empty: none.")] = ""
    least: Annotated[float, Field(ge=1, le=5, description="Rows with a lower grade fall.")] = 3.0
    seed: Annotated[int, Field(ge=0, description="The same seed, model and texts give the same rows.")] = 1

    def plan(self, way: str, model: str, seeds: str) -> JsonObject:
        """The plan of the engine."""
        return {
            "way": way,
            "model": model,
            "seeds": seeds,
            "rows": self.rows,
            "write": [self.column] if self.column else [],
            "language": self.language,
            **_common(self),
        }


class RowsAsked(BaseModel):
    """New rows like those of a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    rows: Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows to ask for; filters leave fewer.")] = 100
    guidance: Annotated[str, Field(description="What the model is told about the rows, in your own words.")] = ""
    shots: Annotated[int, Field(ge=1, le=20, description="Number of rows that the model is shown.")] = 5
    schema_file: Annotated[str, Field(description="A file with a JSON Schema of a row; empty: as the columns are.")] = (
        ""
    )
    temperature: Annotated[float, Field(ge=0, le=5, description="Higher values are more varied.")] = 0.8
    max_tokens: Annotated[int, Field(ge=1, description="Most tokens of an answer; longer ones fall.")] = 256
    near: Annotated[float, Field(ge=0.3, le=1, description="From this share of common words on rows are near.")] = 0.8
    judge: Annotated[str, Field(description="A model that grades each row from 1 to 5; empty: none.")] = ""
    least: Annotated[float, Field(ge=1, le=5, description="Rows with a lower grade fall.")] = 3.0
    seed: Annotated[int, Field(ge=0, description="The same seed, model and texts give the same rows.")] = 1

    def plan(self, model: str, seeds: str, topics: list[JsonObject]) -> JsonObject:
        """The plan of the engine.

        Raises:
            InputRefusedError: the schema's file cannot be read.
        """
        from llmops_tui.synthesis.plan import read_schema

        schema = read_schema(with_home(self.schema_file)) if self.schema_file else None
        return {
            "way": "rows",
            "model": model,
            "seeds": seeds,
            "topics": topics,
            "rows": self.rows,
            "shots": self.shots,
            "schema": schema,
            **_common(self),
        }


def _common(asked: WordsAsked | RowsAsked) -> JsonObject:
    return {
        "guidance": asked.guidance,
        "seed": asked.seed,
        "parameters": {"temperature": asked.temperature, "top_p": 0.95, "max_tokens": asked.max_tokens},
        "filters": {"near": asked.near, "judge": asked.judge, "least": asked.least},
    }


Asked = TypeVar("Asked", bound=BaseModel)


class SynthesisDialog(FormDialog[Asked]):
    """Fill in the form; enter takes it, escape leaves."""

    def __init__(self, title: str, value: Asked, models: tuple[str, ...] = ()) -> None:
        super().__init__(title, value, takes="go on: what it takes is shown next", suggestions={"judge": models})
