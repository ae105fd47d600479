"""The recipe of a training run: one settings model behind the YAML file, the form and the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_yaml
from llmops_tui.training.field_names import meant
from llmops_tui.training.methods import METHODS, Method, MethodFacts
from llmops_tui.training.recipe_parts import (
    STRICT,
    Checkpoints,
    Evaluation,
    Lora,
    Optimizer,
    Quantization,
    Tuning,
    unfit,
    unfit_for_fsdp,
)
from llmops_tui.training.reinforcement import Reinforcement, problem_of, steps_per_epoch
from llmops_tui.training.targets import unfit_for_target
from llmops_tui.training.template_variables import TemplateVariables, with_defaults
from llmops_tui.workspace.files import sha256_text

_MAX_BYTES = 1_000_000


class _Part(BaseModel):
    model_config = STRICT


# Fields that later versions added, and what they are where nobody says otherwise.
_LATER: dict[str, object] = {
    "attention": "auto", "devices": [], "tuning": "lora", "start": "", "tokens": [], "mixture_temperature": 1.0,
    "lora.init": "default", "lora.modules_to_save": [], "optimizer.lora_plus_ratio": 1.0,
    "target": "", "kernels": "torch", "fsdp": False,
}  # fmt: skip


class DataSource(_Part):
    """One dataset of the mixture."""

    dataset: Annotated[str, Field(description="A dataset version, such as triage@7; without a number: the newest.")]
    weight: Annotated[
        float, Field(gt=0, le=1000, description="How often its rows are used, relative to the others.")
    ] = 1.0
    chat_template_kwargs: Annotated[
        TemplateVariables, Field(description="Variables of the chat template for its rows, such as enable_thinking.")
    ] = {}


class Batch(_Part):
    """What one step sees."""

    size: Annotated[int, Field(ge=1, le=4096, description="Number of rows on the device at once.")] = 8
    accumulation: Annotated[
        int, Field(ge=1, le=4096, description="Number of batches per step; the effective batch is size × accumulation.")
    ] = 2
    max_length: Annotated[
        int,
        Field(
            ge=8, le=1_000_000, description="Maximum tokens of a row; the rest is cut, and the preflight reports it."
        ),
    ] = 2048
    packing: Annotated[
        bool,
        Field(description="Pack several rows into one sequence, none of which sees another: faster with short rows."),
    ] = False
    group_by_length: Annotated[
        bool, Field(description="Group rows of similar length: less padding, a different order.")
    ] = False

    @property
    def rows(self) -> int:
        """Rows that one process learns from in a step."""
        return self.size * self.accumulation


class Recipe(_Part):
    """Everything that decides what a training run does."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Name of the recipe; its runs are numbered."),
    ]
    base: Annotated[
        str,
        Field(
            min_length=1,
            description="The model to train: a registered folder of safetensors or GGUF file, or a folder's path.",
        ),
    ]
    data: Annotated[list[DataSource], Field(min_length=1, description="The datasets to train on.")]
    method: Annotated[
        Method,
        Field(
            description="sft: learns from answers; dpo, orpo: pairs; kto: rated answers; pretrain: text; grpo: rewards."
        ),
    ] = "sft"
    tuning: Annotated[
        Tuning,
        Field(description="lora: an adapter beside the base; full: all of the base's weights, ending as a model."),
    ] = "lora"
    start: Annotated[
        str, Field(description="A finished run of the same base, whose adapter or weights the run goes on from.")
    ] = ""
    tokens: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(max_length=10_000, description="New tokens of the vocabulary, such as <tool>; the run ends merged."),
    ] = []
    mixture_temperature: Annotated[
        float,
        Field(
            ge=1, le=100, description="Datasets are mixed by their size to the power of 1/T: from 1 on, more evenly."
        ),
    ] = 1.0
    serving: Annotated[
        str,
        Field(
            description="The GGUF model that serves the result; empty: the base itself, or one of its weights, found or created."
        ),
    ] = ""
    chat_template: Annotated[str, Field(description="A Jinja template instead of the base's own.")] = ""
    chat_template_kwargs: Annotated[
        TemplateVariables,
        Field(description="Variables of the chat template, such as {enable_thinking: false}; the result has them too."),
    ] = {}
    mask_history: Annotated[
        bool, Field(description="Learn from the last answer of a conversation only, not from those before.")
    ] = False
    assistant_only: Annotated[
        bool, Field(description="Compute the loss on the assistant's turns only, not on the prompts.")
    ] = True
    epochs: Annotated[float, Field(gt=0, le=1000, description="Number of passes over all rows.")] = 3.0
    max_steps: Annotated[
        int, Field(ge=0, description="Maximum number of steps, if the epochs have more; 0: as many as the epochs have.")
    ] = 0
    lora: Lora = Lora()
    quantization: Quantization = Quantization()
    optimizer: Optimizer = Optimizer()
    batch: Batch = Batch()
    beta: Annotated[
        float,
        Field(gt=0, le=10, description="dpo, orpo, kto, grpo: lower lets the answers move further from the base's."),
    ] = 0.1
    reinforcement: Reinforcement = Reinforcement()
    gradient_checkpointing: Annotated[
        bool, Field(description="Recompute activations instead of storing them: much less memory, a third slower.")
    ] = True
    attention: Annotated[
        Literal["auto", "sdpa", "eager", "flash_attention_2", "flex"],
        Field(description="How attention is computed; auto: sdpa, or eager where the model's family has no other."),
    ] = "auto"
    kernels: Annotated[
        Literal["torch", "liger", "compiled"],
        Field(description="What layers compute with. liger: fused kernels of liger-kernel; compiled: torch.compile."),
    ] = "torch"
    evaluation: Evaluation = Evaluation()
    checkpoints: Checkpoints = Checkpoints()
    on_out_of_memory: Annotated[
        Literal["stop", "halve"],
        Field(description="halve: halve the batch, double the accumulation, and continue from the last checkpoint."),
    ] = "stop"
    trackers: Annotated[
        list[Literal["tensorboard", "mlflow", "trackio"]],
        Field(description="Additional targets for the metrics, besides the run's own log."),
    ] = ["tensorboard"]
    devices: Annotated[
        list[Annotated[int, Field(ge=0, le=63)]],
        Field(description="GPUs to train on together, such as 0,1; empty: the first. On a host: so many processes."),
    ] = []
    fsdp: Annotated[
        bool, Field(description="Divide the model among devices (FSDP), as for a base that does not fit on one.")
    ] = False
    target: Annotated[
        str, Field(description="Where it trains: a Ray cluster, such as ray:auto or ray:HOST:6379; empty: here.")
    ] = ""
    seed: Annotated[int, Field(ge=0, le=2**31, description="Seed of all random numbers.")] = 1

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.batch.packing and not self.facts.packs:
            packing = " and ".join(name for name, facts in METHODS.items() if facts.packs)
            raise ValueError(f"batch.packing requires {packing}")
        if len(set(self.devices)) < len(self.devices):
            raise ValueError("devices names one of them twice")
        if self.ranks > 1 and (self.facts.examples == "prompts" or self.special):
            raise ValueError(
                f"devices trains a new adapter in several processes, and not {self.special or self.method}"
            )
        local = {"devices": bool(self.devices), f"method: {self.method}": self.facts.examples == "prompts"}
        if problem := unfit_for_target(self.target, local, list(self.trackers)):
            raise ValueError(problem)
        if self.facts.examples == "prompts" and self.special:
            raise ValueError(f"{self.method} trains a new adapter on the base, and not {self.special}")
        if problem := problem_of(self.reinforcement, self.method, self.effective_batch):
            raise ValueError(problem)
        if self.batch.group_by_length and self.facts.examples in {"thumbs", "prompts"}:
            raise ValueError(f"batch.group_by_length cannot be combined with {self.method}, whose order is fixed")
        problem = unfit(self.tuning, self.lora, self.quantization, self.optimizer, self.tokens, self.serving)
        if problem := problem or unfit_for_fsdp(
            self.fsdp, self.ranks, self.method, self.lora, self.optimizer, self.evaluation, self.kernels
        ):
            raise ValueError(problem)
        return self

    @model_validator(mode="before")
    @classmethod
    def _not_quantized(cls, given: Any) -> Any:
        """Where nothing is said of the base's type, it is what all weights can be trained in."""
        if isinstance(given, dict) and given.get("tuning") == "full":
            said = given.get("quantization", {})
            if isinstance(said, dict):
                return given | {"quantization": {"type": "none"} | said}
        return given

    @property
    def special(self) -> str:
        """What makes it another thing than a new adapter with nothing beside it, by field; empty where nothing does."""
        there = {"tuning: full": self.tuning == "full", "start": self.start, "tokens": self.tokens,
                 "lora.modules_to_save": self.lora.modules_to_save, "lora.init": self.lora.init != "default"}  # fmt: skip
        return ", ".join(name for name, given in there.items() if given)

    @property
    def ends_whole(self) -> bool:
        """Whether its result is a model of its own, and not an adapter beside the base."""
        return self.tuning == "full" or bool(self.tokens or self.lora.modules_to_save)

    @property
    def facts(self) -> MethodFacts:
        """What its method is like."""
        return METHODS[self.method]

    def template(self, own: str | None) -> str | None:
        """The chat template that is trained with and that results carry, instead of the base's ``own``; none where that stays."""
        source = self.chat_template or own
        if source is None or not (self.chat_template or self.chat_template_kwargs):
            return None
        return with_defaults(source, self.chat_template_kwargs)

    @property
    def effective_batch(self) -> int:
        """Rows that one step learns from."""
        return self.batch.rows * self.ranks

    @property
    def ranks(self) -> int:
        """Processes that train together, each with its own part of the batch."""
        return max(1, len(self.devices))

    def steps(self, rows: int) -> int:
        """Optimizer steps over so many rows: those of the epochs, and not more than ``max_steps``; what every run does."""
        epoch = math.ceil(math.ceil(math.ceil(rows / self.batch.size) / self.ranks) / self.batch.accumulation)
        if self.facts.examples == "prompts":
            epoch = steps_per_epoch(self.reinforcement, self.effective_batch, rows)
        steps = max(1, math.ceil(self.epochs * max(1, epoch)))
        return min(self.max_steps, steps) if self.max_steps else steps

    @property
    def body(self) -> JsonObject:
        """The recipe as it is kept. Fields that came later are in it where they say something: so hashes of before stay."""
        body = self.model_dump()
        for part in (body, *body["data"]):
            for name in ("chat_template_kwargs", "mask_history"):
                if not part.get(name, True):
                    del part[name]
        if self.method != "grpo":
            del body["reinforcement"]
        for path, default in _LATER.items():
            *parents, leaf = path.split(".")
            part = body[parents[0]] if parents else body
            if part[leaf] == default:
                del part[leaf]
        return body

    @property
    def sha256(self) -> str:
        """The hash of all that decides the result; the name does not."""
        return sha256_text(json.dumps({k: v for k, v in self.body.items() if k != "name"}, sort_keys=True))

    def to_yaml(self) -> str:
        """The recipe as a file, what is as by default left out."""
        body = self.model_dump(exclude_defaults=True)
        return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


def parse(text: str, where: str = "the recipe") -> Recipe:
    """A recipe from YAML.

    Raises:
        InputRefusedError: ``bad_recipe``, naming each field that is wrong and what was probably meant.
    """
    if len(text) > _MAX_BYTES:
        raise InputRefusedError("bad_recipe", f"{where} is larger than a megabyte")
    try:
        body = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark is not None else ""
        raise InputRefusedError(
            "bad_recipe", f"{where}{at} is not valid YAML: {getattr(error, 'problem', error)}"
        ) from error
    if not isinstance(body, dict):
        raise InputRefusedError(
            "bad_recipe", f"{where} is not a mapping of fields", "A recipe has at least name, base and data."
        )
    return check(body, where)


Changes = Mapping[str, object]
"""Fields of a recipe by dotted path, such as ``lora.rank``, and what they are to be; :func:`changed` checks them."""


def check(body: JsonObject, where: str = "the recipe") -> Recipe:
    """A recipe from its fields; a dataset alone may stand for the list of data.

    Raises:
        InputRefusedError: ``bad_recipe``.
    """
    data = body.get("data")
    if isinstance(data, str):
        body = body | {"data": [{"dataset": data}]}
    elif isinstance(data, list):
        body = body | {"data": [{"dataset": item} if isinstance(item, str) else item for item in data]}
    targets = body["lora"].get("targets") if isinstance(body.get("lora"), dict) else None
    if isinstance(targets, str):
        body = body | {"lora": body["lora"] | {"targets": [targets]}}
    try:
        return Recipe.model_validate(body)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise InputRefusedError(
            "bad_recipe", f"{where}: {'; '.join(problems)}", "llmops train fields lists them all."
        ) from error


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{place} is not a field" + meant(place, [path for path, _ in fields()])
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def unknown_field(path: str) -> InputRefusedError:
    """The refusal of a path that is no field of a recipe."""
    return InputRefusedError("bad_recipe", _explain({"loc": (path,), "type": "extra_forbidden", "msg": ""}))


def fields(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field by its dotted path, with pydantic's description of it, the mixture's fields left out."""
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def value_at(recipe: Recipe, path: str) -> Any:
    """The value of a field by its dotted path."""
    found: Any = recipe
    for part in path.split("."):
        found = getattr(found, part)
    return found


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """A recipe with some fields changed, by dotted path.

    Raises:
        InputRefusedError: ``bad_recipe``.
    """
    body = recipe.model_dump()
    for path, value in changes.items():
        *parents, leaf = path.split(".")
        part = body
        for name in parents:
            part = part.get(name, {}) if isinstance(part, dict) else {}
        if not isinstance(part, dict):
            raise InputRefusedError("bad_recipe", f"{path} is not a field")
        part[leaf] = _with_options(recipe, value) if path == "data" and isinstance(value, list) else value
        if parents and parents[0] not in body:
            raise unknown_field(path)
    return check(body)


def _with_options(recipe: Recipe, data: list[Any]) -> list[Any]:
    """Datasets, with the variables that the recipe has for them, which their line of text has no room for."""
    known = {source.dataset: {"chat_template_kwargs": source.chat_template_kwargs} for source in recipe.data}
    return [known.get(str(item.get("dataset")), {}) | item if isinstance(item, dict) else item for item in data]
