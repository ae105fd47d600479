"""Sharded models: recognises shard names and finds the other shards."""

from __future__ import annotations

import re
from dataclasses import dataclass

ENDING = ".gguf"
_MOST = 1000
_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>(?i:\.gguf))", re.DOTALL)


@dataclass(frozen=True)
class Shard:
    """One of ``count`` files, counted from 1, as its name or path says; ``ending`` is spelled as it is there."""

    stem: str
    number: int
    count: int
    ending: str = ENDING

    @property
    def name(self) -> str:
        """The name or path it was read from."""
        return f"{self.stem}-{self.number:05}-of-{self.count:05}{self.ending}"

    def all(self) -> list[str]:
        """The names of all files of this model, in order, this one's among them."""
        return [Shard(self.stem, n, self.count, self.ending).name for n in range(1, self.count + 1)]


def shard_of(name: str) -> Shard | None:
    """What a file's name or path says of a model in several files; none where it is one by itself.

    The ending may be in capitals, as everywhere.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number, count = int(match["number"]), int(match["count"])
    return Shard(match["stem"], number, count, match["ending"]) if 1 <= number <= count <= _MOST else None


def loadable_name(name: str) -> str:
    """A part's name as llama.cpp, which looks for the others by lower-case names, finds it; another's stays as it is."""
    shard = shard_of(name)
    return Shard(shard.stem, shard.number, shard.count).name if shard is not None else name


def without_ending(name: str) -> str:
    """A GGUF file's name or path without what says its format and which part it is."""
    shard = shard_of(name)
    if shard is not None:
        return shard.stem
    return name[: -len(ENDING)] if name.lower().endswith(ENDING) else name
