"""An evaluation suite: inputs, models and metrics; a versioned YAML file."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal, cast

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric
from llmops_tui.evaluation.paths import check_path
from llmops_tui.evaluation.scripted.script import FIELDS, Tool
from llmops_tui.foreign_text import JsonObject, parse_yaml
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.workspace.files import sha256_text

# What does not decide what is asked and measured.
APART = {"name", "description", "synthetic"}
_LATER = ("synthetic", "tools", "script", "steps")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_BYTES = 20_000_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Part):
    """One step of a chain: a prompt, and the name under which later steps see its answer."""

    prompt: str
    save: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "answer"


class Variation(_Part):
    """Cases asked once more in another form, to see whether the answer holds.

    ``swap`` exchanges words by the groups they stand for, such as he and she, and asks only where one stands.
    ``paraphrase`` takes the texts of a path in each row.
    """

    kind: Literal["typos", "upper", "lower", "blanks", "order", "swap", "paraphrase"]
    variable: Annotated[str, Field(description="The variable that is varied; default: all.")] = ""
    groups: Annotated[
        dict[str, list[str]], Field(description="For swap: the words of each group, in the same order.")
    ] = {}
    path: Annotated[str, Field(description="For paraphrase: the path of the other wordings in each row.")] = ""
    rate: Annotated[float, Field(gt=0, le=1, description="For typos: the share of words with a typo.")] = 0.1

    @model_validator(mode="after")
    def _complete(self) -> Variation:
        if self.kind == "swap" and (len(self.groups) < 2 or len({len(words) for words in self.groups.values()}) != 1):
            raise ValueError("swap requires two or more groups with the same number of words")
        if self.kind == "paraphrase" and not self.path:
            raise ValueError("paraphrase requires a path")
        return self


class Until(_Part):
    """Stop early: once the metric's interval is as narrow as wanted, after so many cases at least."""

    metric: str
    half_width: Annotated[float, Field(gt=0)]
    at_least: Annotated[int, Field(ge=10)] = 100


class Suite(_Part):
    """A suite. Field descriptions are what help and documentation show."""

    name: Annotated[str, Field(description="The name; default: the name of the file.")] = ""
    description: Annotated[str, Field(max_length=2000)] = ""
    cases: Annotated[
        str | list[dict[str, Any]],
        Field(description="A dataset version, a data file next to the suite, or cases written here."),
    ]
    limit: Annotated[int | None, Field(ge=1, description="Sample this number of cases, drawn with the seed.")] = None
    seed: Annotated[int, Field(ge=0)] = 0
    variables: Annotated[dict[str, str], Field(description="Each prompt variable's path in a row.")] = {}
    expected: Annotated[str, Field(description="The path of the expected answer.")] = ""
    context: Annotated[str, Field(description="The path of the context that answers must keep to.")] = ""
    choices: Annotated[str | list[str], Field(description="The choices, or their path: multiple choice.")] = ""
    group: Annotated[str, Field(description="The path of the value that groups cases, such as a document.")] = ""
    slices: Annotated[
        list[str] | dict[str, str], Field(description="Paths to slice the results by, as a list or by name.")
    ] = []
    prompt: Annotated[str | list[str], Field(description="Prompt versions; default: the conversation of the row.")] = ""
    chain: Annotated[
        list[Step], Field(description="Instead of a prompt: several prompts, each with the previous answers.")
    ] = []
    synthetic: Annotated[
        bool,
        Field(description="Take cases from a dataset although nobody wrote some of its rows: a model or a rule did."),
    ] = False
    raw: Annotated[bool, Field(description="Request a continuation of the text, without a chat template.")] = False
    tools: Annotated[list[Tool], Field(description="Tools that the model may call, with their mock results.")] = []
    script: Annotated[
        dict[str, str], Field(description="Paths of user, tools, calls, state and end_state in the rows of a dataset.")
    ] = {}
    steps: Annotated[int, Field(ge=1, le=200, description="The most requests to the model in one case.")] = 20
    models: Annotated[list[str], Field(description="Models by name, MODEL+ADAPTER with an adapter.")] = []
    parameters: Annotated[
        dict[str, Any] | list[dict[str, Any]], Field(description="Sampling parameters; a list runs each.")
    ] = {}
    response_format: Annotated[dict[str, Any] | None, Field(description="A JSON Schema that answers must follow.")] = (
        None
    )
    repeats: Annotated[int, Field(ge=1, le=1000, description="Answers per case, each with its own seed.")] = 1
    vary: list[Variation] = []
    metrics: list[dict[str, Any] | str] = []
    rules: Annotated[list[str], Field(description="Gates, such as: exact not worse than baseline by > 1 point.")] = []
    until: Until | None = None

    @field_validator("variables")
    @classmethod
    def _paths(cls, variables: dict[str, str]) -> dict[str, str]:
        for path in variables.values():
            check_path(path)
        return variables

    @field_validator("script")
    @classmethod
    def _script_paths(cls, script: dict[str, str]) -> dict[str, str]:
        for name, path in script.items():
            if name not in FIELDS:
                raise ValueError(f"{name!r} is none of {', '.join(FIELDS)}")
            check_path(path)
        return script

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        if self.tools and (self.chain or self.raw or self.response_format):
            raise ValueError("tools are for conversations: not with chain, raw or response_format")
        if self.chain and self.prompt:
            raise ValueError("give prompt or chain, not both")
        names = [metric.called for metric in self.made_metrics()]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two metrics are called {', '.join(sorted(twice))}: give them different names")
        if self.until is not None and self.until.metric not in names:
            raise ValueError(f"until: {self.until.metric!r} is not a metric of the suite")
        for given in self.parameter_sets():
            SamplingParameters.model_validate(given)
        return self

    def made_metrics(self) -> list[Metric]:
        """Its metrics."""
        return [make_metric(entry, f"metrics[{i}]") for i, entry in enumerate(self.metrics)]

    def all_metrics(self) -> list[Metric]:
        """Its metrics, and those of its written cases.

        Raises:
            InputRefusedError: ``bad_metric``: of a case, which is named.
        """
        found = self.made_metrics()
        own: list[Metric] = []
        written = self.cases if not isinstance(self.cases, str) else []
        for number, case in enumerate(written):
            given = case.get("metrics")
            if given is not None and not isinstance(given, list):
                raise InputRefusedError("bad_suite", f"cases[{number}].metrics is not a list")
            made = [make_metric(entry, f"cases[{number}].metrics") for entry in given or ()]
            _check_derived(made, {m.called for m in found}, f"cases[{number}].metrics")
            own += made
        _check_derived(found, {m.called for m in own}, "metrics")
        return found + own

    def parameter_sets(self) -> list[SamplingRecord]:
        """The sampling parameters to try; one set at least."""
        given = self.parameters if isinstance(self.parameters, list) else [self.parameters]
        return cast("list[SamplingRecord]", given)

    def prompts(self) -> list[str]:
        """The prompts to try; one empty one where rows are asked as they are, or by a chain."""
        return (self.prompt if isinstance(self.prompt, list) else [self.prompt]) or [""]

    def slice_paths(self) -> dict[str, str]:
        """The path of each slice by its name."""
        if isinstance(self.slices, dict):
            return self.slices
        return {path.rpartition(".")[2] if "." in path else path: path for path in self.slices}

    @property
    def sha256(self) -> str:
        """The hash of all that decides what is asked and measured; the name does not, nor what is allowed."""
        return self._hash(APART)

    @property
    def asks_sha256(self) -> str:
        """The hash of what it asks and how answers are measured, whichever column is asked and whatever its rules are."""
        return self._hash(APART | {"rules", "models", "prompt", "parameters"})

    @property
    def body(self) -> JsonObject:
        """The suite as it is kept. Fields that came later are in it where they say something: so hashes of before stay."""
        return self.model_dump(exclude={name for name in _LATER if getattr(self, name) == _default(name)})

    def _hash(self, apart: set[str]) -> str:
        return sha256_text(json.dumps({k: v for k, v in self.body.items() if k not in apart}, sort_keys=True))

    def to_yaml(self) -> str:
        """The suite as the file that would make it, without what is as by default."""
        body = self.model_dump(exclude_defaults=True)
        return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)


def _default(field: str) -> Any:
    return Suite.model_fields[field].get_default()


def _check_derived(metrics: list[Metric], others: set[str], where: str) -> None:
    """Refuse a verdict of metrics that are not measured, or of one that stands behind it and follows from others itself."""
    known = others | {m.called for m in [*metrics, *ALWAYS] if not isinstance(m, DerivedMetric)}
    for metric in metrics:
        if isinstance(metric, DerivedMetric):
            for name in metric.names():
                if name not in known:
                    close = get_close_matches(name, known, 1)
                    raise InputRefusedError(
                        "bad_metric",
                        f"{where}: {metric.called}: {name!r} is no metric that is measured before it",
                        f"Did you mean {close[0]}?" if close else f"Those are {', '.join(sorted(known))}.",
                    )
            known.add(metric.called)


def check_suite(body: Any, name: str = "") -> Suite:
    """A suite from a parsed file.

    Raises:
        InputRefusedError: ``bad_suite``: what is wrong, and where.
    """
    if not isinstance(body, dict):
        raise InputRefusedError("bad_suite", "a suite is a mapping", "It has cases, metrics, and usually a prompt.")
    given = {**body, "name": body.get("name") or name}
    if not _NAME.fullmatch(str(given["name"])):
        raise InputRefusedError(
            "bad_suite",
            f"{given['name']!r} is not a valid suite name",
            "Use letters, digits and . _ - (at most 100).",
        )
    try:
        return Suite.model_validate(given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        hint = ""
        if first["type"] == "extra_forbidden":
            close = get_close_matches(str(first["loc"][-1]), Suite.model_fields, 1)
            hint = (
                f"Did you mean {close[0]}?" if close else f"The fields of a suite are {', '.join(Suite.model_fields)}."
            )
        raise InputRefusedError("bad_suite", f"{place or 'the suite'}: {first['msg']}", hint) from error


def parse_suite(text: str, name: str = "") -> Suite:
    """A suite from YAML.

    Raises:
        InputRefusedError: ``bad_suite``.
    """
    if len(text) > MAX_BYTES:
        raise InputRefusedError("bad_suite", f"the suite is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        body = parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputRefusedError("bad_suite", f"the suite is not valid YAML: {error}") from error
    return check_suite(body, name)
