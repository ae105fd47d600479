"""Parts of a recipe: the adapter, how the base is held, and how weights are moved."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Tuning = Literal["lora", "full"]
# The file of what is learned, by the way of tuning, in the run's folder that is named so in FOLDERS.
WEIGHTS_OF: dict[str, str] = {"lora": "adapter_model.safetensors", "full": "model.safetensors"}
FOLDERS: dict[str, str] = {"lora": "adapter", "full": "model"}
OptimizerName = Literal[
    "auto", "adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd"
]  # fmt: skip
Schedule = Literal["cosine", "linear", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"]


# What a part of a recipe has not is refused.
STRICT = ConfigDict(extra="forbid", validate_assignment=True, validate_default=True)


class _Part(BaseModel):
    model_config = STRICT


# Starts that PEFT has beside ours, and why a recipe cannot name them.
_OTHER_STARTS = {
    "eva": "it is computed from the data by a pass through the base, which neither plan nor estimate counts; "
    "pissa and loftq begin from weights",
    "corda": "it is computed from the data by a pass through the base, which neither plan nor estimate counts; "
    "pissa and loftq begin from weights",
    "gaussian": "default begins from random numbers, too",
    "orthogonal": "olora begins from an orthogonal part of the base's weights",
    "lora_ga": "it is computed from gradients of the whole base, which take as much memory as training all of it",
}


class Lora(_Part):
    """The adapter that is trained."""

    rank: Annotated[
        int,
        Field(ge=1, le=1024, description="Rank of the adapter; a higher rank can learn more, and uses more memory."),
    ] = 16
    alpha: Annotated[
        float, Field(gt=0, le=4096, description="Scale of the adapter; usually one or two times the rank.")
    ] = 32
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="Dropout: share of the adapter's inputs set to zero at each step.")
    ] = 0.0
    targets: Annotated[
        list[str],
        Field(min_length=1, description="Names of the modules that get an adapter; all-linear: all linear modules."),
    ] = ["all-linear"]
    dora: Annotated[
        bool, Field(description="Train magnitude and direction separately (DoRA): slower, closer to full tuning.")
    ] = False
    rslora: Annotated[bool, Field(description="Scale by alpha/√rank instead of alpha/rank: for high ranks.")] = False
    init: Annotated[
        Literal["default", "pissa", "olora", "loftq"],
        Field(
            description="What the adapter begins as; pissa, olora: main part of the base's weights; loftq: what 4 bits lose."
        ),
    ] = "default"

    @field_validator("init", mode="before")
    @classmethod
    def _known_start(cls, given: object) -> object:
        if isinstance(given, str) and given in _OTHER_STARTS:
            raise ValueError(f"{given} is a start of PEFT that is not offered: {_OTHER_STARTS[given]}")
        return given

    modules_to_save: Annotated[
        list[str],
        Field(description="Modules trained whole beside the adapter, such as embed_tokens; the run ends merged."),
    ] = []


class Quantization(_Part):
    """How the frozen base is held in memory."""

    type: Annotated[
        Literal["nf4", "fp4", "none"], Field(description="4-bit type of the base's weights; none: not quantized.")
    ] = "nf4"
    double: Annotated[
        bool, Field(description="Quantize the quantization's constants too: 0.4 bits less per weight.")
    ] = True
    compute: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"],
        Field(description="Data type for computation; auto: the best type of the device, as it is when a run starts."),
    ] = "auto"


class Optimizer(_Part):
    """How the adapter's weights are moved."""

    name: Annotated[OptimizerName, Field(description="auto: paged 8-bit AdamW on a GPU, AdamW on a CPU.")] = "auto"
    learning_rate: Annotated[float, Field(gt=0, lt=1, description="Size of a step; 2e-4 is usual for LoRA.")] = 2e-4
    weight_decay: Annotated[float, Field(ge=0, lt=1, description="Weight decay: pull of the weights toward zero.")] = (
        0.0
    )
    schedule: Annotated[Schedule, Field(description="How the learning rate decreases.")] = "cosine"
    warmup: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="Share of the steps in which the learning rate increases; from 1 on: so many steps.",
        ),
    ] = 0.03
    lora_plus_ratio: Annotated[
        float,
        Field(ge=1, le=1000, description="LoRA+: so many times the learning rate for B; 16 is usual, 1: the same."),
    ] = 1.0
    max_grad_norm: Annotated[
        float, Field(gt=0, description="Gradients with a larger norm are clipped to this norm.")
    ] = 1.0

    def warmup_steps(self, steps: int) -> int:
        """The steps in which the learning rate increases, of a run of so many steps."""
        return int(self.warmup if self.warmup >= 1 else self.warmup * steps)


# A patience that never ends: such a run ends where it would, with the best of its checkpoints.
ONLY_BEST = 1_000_000


class Evaluation(_Part):
    """What is measured while it trains."""

    dataset: Annotated[
        str, Field(description="A dataset version to measure the loss on; empty: a share of the data.")
    ] = ""
    share: Annotated[float, Field(ge=0, lt=0.9, description="Share of the data held out for evaluation; 0: none.")] = (
        0.05
    )
    max_rows: Annotated[
        int, Field(ge=1, description="Maximum number of rows, so that evaluation does not cost more than training.")
    ] = 500
    every: Annotated[int, Field(ge=0, description="Steps between two evaluations; 0: ten of them in the run.")] = 0
    patience: Annotated[
        int, Field(ge=0, description="Stop after this many evaluations without a better loss; 0: never.")
    ] = 0
    samples: Annotated[
        int, Field(ge=0, le=20, description="Number of sample answers generated at each evaluation.")
    ] = 2
    sample_tokens: Annotated[int, Field(ge=1, le=2048, description="Maximum tokens of a sample answer.")] = 48


class Checkpoints(_Part):
    """What is kept on the way."""

    every: Annotated[int, Field(ge=0, description="Steps between two checkpoints; 0: ten of them in the run.")] = 0
    keep: Annotated[
        int, Field(ge=1, le=1000, description="Number of newest checkpoints to keep; the best one is kept in addition.")
    ] = 2


def unfit(
    tuning: Tuning, lora: Lora, quantization: Quantization, optimizer: Optimizer, tokens: list[str], serving: str
) -> str:
    """What of these cannot go together, in words; empty where all can."""
    if tuning == "full":
        if quantization.type != "none":
            return (
                f"tuning: full changes all weights, which cannot be quantized, and quantization.type is {quantization.type}: "
                "set it to none"
            )
        given = {
            "lora.dora": lora.dora,
            "lora.init": lora.init != "default",
            "lora.modules_to_save": bool(lora.modules_to_save),
            "optimizer.lora_plus_ratio": optimizer.lora_plus_ratio != 1,
        }
        if named := [name for name, there in given.items() if there]:
            return f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} of an adapter, and tuning: full has none"
    if problem := _unfit_adapter(lora, quantization, optimizer):
        return problem
    if len(set(tokens)) < len(tokens) or any(token != token.strip() for token in tokens):
        return "tokens: each is named once, without blanks around it"
    if tokens and serving:
        return (
            "serving cannot be combined with tokens: the run ends as a model of its own, since no other file has them"
        )
    return ""


def _unfit_adapter(lora: Lora, quantization: Quantization, optimizer: Optimizer) -> str:
    if lora.init != "default" and (lora.init == "loftq") == (quantization.type == "none"):
        if lora.init == "loftq":
            why, wanted = "begins with what quantization of the base loses", "nf4"
        else:
            why, wanted = "takes its start out of the base's weights", "none"
        return f"lora.init: {lora.init} {why}: set quantization.type to {wanted}"
    if optimizer.name in {"adamw_8bit", "paged_adamw_8bit"} and lora.dora and quantization.type == "fp4":
        return "dora cannot be combined with fp4: choose nf4 or none"
    if lora.init != "default" and lora.dora:
        return f"lora.dora cannot be combined with lora.init: {lora.init}"
    if optimizer.name == "adafactor" and optimizer.lora_plus_ratio != 1:
        return "optimizer.lora_plus_ratio cannot be combined with adafactor, which has no learning rate by group"
    return ""


# Those of torch itself: bitsandbytes does not divide its state.
_DIVIDED_OPTIMIZERS = frozenset({"auto", "adamw_torch", "adamw_torch_fused", "sgd"})


def unfit_for_fsdp(
    fsdp: bool, ranks: int, method: str, lora: Lora, optimizer: Optimizer, evaluation: Evaluation, kernels: str
) -> str:
    """What cannot go with a model that is divided among devices, in words; empty where all can."""
    if not fsdp:
        return ""
    if ranks < 2:
        return "fsdp divides the model among devices: name two or more of them"
    given = {
        f"method: {method}": method not in {"sft", "pretrain"},
        f"optimizer.name: {optimizer.name}": optimizer.name not in _DIVIDED_OPTIMIZERS,
        "lora.dora": lora.dora,
        f"kernels: {kernels}": kernels != "torch",
        "optimizer.lora_plus_ratio": optimizer.lora_plus_ratio != 1,
        f"evaluation.samples: {evaluation.samples}": evaluation.samples > 0,
    }
    hints = {
        "optimizer.name": "adamw_torch",
        "kernels": "torch; others were not tried with it",
        "evaluation.samples": "0; no process can answer by itself",
    }
    for name, there in given.items():
        if there:
            hint = hints.get(name.partition(":")[0])
            return f"fsdp cannot be combined with {name}" + (f": set it to {hint}" if hint else "")
    return ""
