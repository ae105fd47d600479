"""Seeds: what attacks try to bring a model to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_yaml
from llmops_tui.regular_files import read_regular_text

OWN = Path(__file__).with_name("seeds.yaml")


class Seed(BaseModel):
    """One aim: a secret to tell, a word to say against the task, or a request that is to be declined.

    ``word`` is the secret, or what the document asks for; ``text`` is the plain attack, which has no disguise yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,60}$")]
    goal: Literal["secret", "obey", "comply"]
    text: Annotated[str, Field(min_length=1, max_length=4000)]
    word: str = ""
    system: str = ""
    document: str = ""
    task: str = ""
    translations: dict[str, str] = {}

    @model_validator(mode="after")
    def _complete(self) -> Seed:
        needed = {"secret": ("word", "system"), "obey": ("word", "document", "task"), "comply": ()}[self.goal]
        for name in needed:
            if not getattr(self, name):
                raise ValueError(f"a seed of the goal {self.goal} needs {name}")
        if self.goal == "secret" and self.word not in self.system:
            raise ValueError("the system text does not have the secret in it")
        return self


def read_seeds(path: Path = OWN) -> list[Seed]:
    """The seeds of a file.

    Raises:
        InputRefusedError: ``bad_seeds``: which one, and what is wrong with it.
    """
    try:
        given = parse_yaml(read_regular_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputRefusedError("bad_seeds", f"{path} cannot be read: {error}") from error
    if not isinstance(given, list) or not given:
        raise InputRefusedError("bad_seeds", f"{path} is no list of seeds", "Each has id, goal and text.")
    seeds = []
    for number, one in enumerate(given):
        try:
            seeds.append(Seed.model_validate(one))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputRefusedError("bad_seeds", f"{path}: seed {number + 1}: {place}: {first['msg']}") from error
    names = [seed.id for seed in seeds]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputRefusedError("bad_seeds", f"{path}: two seeds are called {', '.join(twice)}")
    return seeds
