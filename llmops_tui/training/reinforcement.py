"""The part of a recipe that reinforcement learning (GRPO) has: rewards, groups of answers, and how they are generated.

GRPO (Shao et al., "DeepSeekMath", 2024, section 4.1) asks each prompt several times, and learns from how much better each
answer of such a group is rewarded than the group's mean. A reward is a metric of the evaluation with a weight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmops_tui.foreign_text import JsonObject

FUNCTION = "function"
"""The type of a reward that is a function in a file of the user's."""
NO_SERVING = (
    "no_serving",
    "reinforcement.generator is engine, and no GGUF model of this base is registered",
    "Name one in serving, or use generator: transformers.",
)
"""The code, message and hint where there is nothing to generate with."""
_SPARE, _MOST_AT_ONCE = 8, 64


class Reward(BaseModel):
    """One reward: a metric as a suite names it, with its settings beside, and what its scores are multiplied by.

    ``type: function`` with ``file`` and ``call`` is a Python function of the user's, called with an answer's text, what is
    expected and the row's variables, which returns a number, or a number and a reason.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Annotated[str, Field(min_length=1, max_length=60, description="The metric, as in a suite, or function.")]
    name: Annotated[str, Field(max_length=60, pattern=r"^[^/]*$", description="What it is called; else its type.")] = ""
    weight: Annotated[
        float,
        Field(
            ge=-1000,
            le=1000,
            allow_inf_nan=False,
            description="What its scores count; below 0 less is better; 0: it is measured, and not learned from.",
        ),
    ] = 1.0
    file: Annotated[str, Field(description="function: the Python file, as a whole path.")] = ""
    call: Annotated[str, Field(description="function: the name of the function in it.")] = ""

    @model_validator(mode="after")
    def _complete(self) -> Reward:
        if self.is_function and not (self.file and self.call):
            raise ValueError("a reward of type function requires file and call")
        if not self.is_function and (self.file or self.call):
            raise ValueError(f"file and call are for type function, and {self.type} is a metric")
        if self.is_function and not Path(self.file).is_absolute():
            # Runs are at home in no folder: where it is sought must not depend on who looks.
            raise ValueError(f"file is {self.file}, and has to be a whole path, such as {Path.home() / 'rewards.py'}")
        return self

    @property
    def is_function(self) -> bool:
        """Whether it is a function in a file."""
        return self.type == FUNCTION

    @property
    def called(self) -> str:
        """Its name in charts and records."""
        return (self.name or self.call or self.type).replace("/", "-")

    @property
    def metric(self) -> JsonObject:
        """The metric as a suite has it: what is the reward's own is left out."""
        body: JsonObject = self.model_dump(exclude={"weight", "file", "call"})
        return {name: value for name, value in body.items() if value != "" or name == "type"}

    @property
    def entry(self) -> JsonObject:
        """What the process that scores is told of it."""
        if self.is_function:
            return {"type": FUNCTION, "name": self.called, "file": self.file, "call": self.call}
        return self.metric | {"name": self.called}


class Reinforcement(BaseModel):
    """What grpo needs beside what all methods have; other methods do not read it."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, validate_default=True)

    rewards: Annotated[
        list[Reward],
        Field(description="grpo: metrics as in a suite, each with a weight, such as [{type: json-valid, weight: 1}]."),
    ] = []
    generations: Annotated[
        int, Field(ge=2, le=256, description="grpo: answers to each prompt, which are compared with each other.")
    ] = 8
    max_tokens: Annotated[int, Field(ge=1, le=32_768, description="grpo: maximum tokens of an answer.")] = 256
    temperature: Annotated[
        float, Field(gt=0, le=5, description="grpo: how varied the answers are that are learned from.")
    ] = 1.0
    iterations: Annotated[
        int, Field(ge=1, le=16, description="grpo: steps on the same answers before others are generated.")
    ] = 1
    clip: Annotated[
        float, Field(gt=0, lt=1, description="grpo: how far a step may move the probability of a token (epsilon).")
    ] = 0.2
    scale: Annotated[
        Literal["group", "batch", "none"],
        Field(description="grpo: divide advantages by the spread of rewards in the group, in the batch, or not."),
    ] = "group"
    loss: Annotated[
        Literal["dapo", "grpo", "dr_grpo", "bnpo"],
        Field(description="grpo: how tokens of answers of different lengths are averaged, by TRL's names."),
    ] = "dapo"
    generator: Annotated[
        Literal["transformers", "engine"],
        Field(
            description="grpo: what generates: the trainer itself, or llama.cpp on the GGUF model that serves the result."
        ),
    ] = "transformers"
    sync: Annotated[
        int, Field(ge=1, le=100, description="grpo with engine: steps after which it gets the adapter as it is then.")
    ] = 1

    @field_validator("rewards", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """One reward alone, or a metric's name alone, stands for what it is in full."""
        listed = given if isinstance(given, list) else [given]
        return [{"type": one} if isinstance(one, str) else one for one in listed]

    @model_validator(mode="after")
    def _names(self) -> Reinforcement:
        names = [reward.called for reward in self.rewards]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rewards are called {', '.join(twice)}: give them different names")
        return self

    @property
    def learned(self) -> list[Reward]:
        """The rewards that are learned from."""
        return [reward for reward in self.rewards if reward.weight]

    @property
    def watched(self) -> list[Reward]:
        """Those that are only measured: a reward that rises while one of them falls is a sign that it is gamed."""
        return [reward for reward in self.rewards if not reward.weight]


def problem_of(part: Reinforcement, method: str, batch: int) -> str:
    """Why a recipe of a method, whose step sees ``batch`` answers, cannot be run with this part; empty where it can."""
    if method != "grpo":
        given = part.model_dump(exclude_defaults=True)
        return f"reinforcement.{next(iter(given))} is for method: grpo, and the recipe is {method}" if given else ""
    if not part.rewards:
        return "grpo requires reinforcement.rewards, such as [{type: json-valid}]"
    if not part.learned:
        return "each of reinforcement.rewards has the weight 0: there is nothing to learn from"
    if batch % part.generations:
        return (
            f"batch.size × batch.accumulation is {batch} answers a step, which reinforcement.generations "
            f"{part.generations} does not divide"
        )
    if part.generator != "engine" and part.sync != 1:
        return "reinforcement.sync is for generator: engine, and the trainer's own model needs none"
    if part.generator == "engine" and part.temperature != 1:
        return (
            "reinforcement.generator: engine requires temperature 1: the engine tells log-probabilities of that alone"
        )
    return ""


def prompts_per_step(part: Reinforcement, batch: int) -> int:
    """How many prompts the answers of a step, ``batch`` of them, belong to."""
    return max(1, batch // part.generations)


def steps_per_epoch(part: Reinforcement, batch: int, prompts: int) -> int:
    """Optimizer steps over so many prompts once: those of whole batches of them, each as often as ``iterations`` says."""
    return prompts // prompts_per_step(part, batch) * part.iterations


def engine_size(part: Reinforcement, batch: int, longest: int) -> tuple[int, int]:
    """Of an engine that generates: the tokens of a prompt, ``longest``, with its answer, and how many there are at once."""
    return longest + part.max_tokens + _SPARE, min(_MOST_AT_ONCE, batch)
