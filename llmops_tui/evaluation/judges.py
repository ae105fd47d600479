"""Judges in Python from plugins: they decide between two answers without a registered model."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.errors import InputRefusedError
from llmops_tui.plugins import Plugins, made_of

# What a judge of a package is named with, beside models, whose names cannot have a colon.
PREFIX = "plugin:"


@dataclass(frozen=True)
class Question:
    """What two answers are judged by. ``expected`` is empty where nothing is expected."""

    rubric: str
    question: str
    expected: str


class Judge:
    """A judge; its entry point names a subclass, and is what the judge is called: ``--judge plugin:NAME``."""

    def decide(self, question: Question, first: str, second: str) -> float | None:
        """The probability, from 0 to 1, that the first answer is the better one; none where it cannot say.

        It is asked about each pair twice, in both orders, and in a thread, so that it may take its time.
        """
        raise NotImplementedError


PLUGINS: Plugins[Judge] = Plugins("judges", made_of(Judge), tuple)


def find_judge(name: str) -> Judge:
    """A judge by its name, with or without ``plugin:``.

    Raises:
        InputRefusedError: ``unknown_judge``, with what is wrong with it where a package brings it.
    """
    bare = name.removeprefix(PREFIX)
    found = PLUGINS.get(bare)
    if found is None:
        problem = PLUGINS.problem(bare) or f"no installed package has a judge {bare!r}"
        known = ", ".join(PREFIX + name for name in PLUGINS.all()) or "none"
        raise InputRefusedError("unknown_judge", problem, f"Installed judges: {known}; or give a model.")
    return found


def ask_judge(name: str, question: Question, first: str, second: str) -> float | None:
    """What a judge says of two answers.

    Raises:
        InputRefusedError: ``unknown_judge``.
        LlmopsError: ``plugin_failed``: it raised something, or said what is no probability.
    """
    judge, bare = find_judge(name), name.removeprefix(PREFIX)
    with PLUGINS.at_work(bare):
        said = judge.decide(question, first, second)
        if said is None:
            return None
        share = float(said)
        if not 0 <= share <= 1:
            raise ValueError(f"{said!r} is not a probability from 0 to 1")
        return share
