"""The rewards of a run: scored by the evaluation's metrics in a process of their own, and recorded with their versions.

The metrics are the evaluation's, which is above training: it is asked as a program, in
``llmops_tui.evaluation.reward_worker``, and nothing of it is imported. So a function of the user's runs apart from the trainer,
within a limit of processor time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, cast

import orjson

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.helper_process import HelperLostError, HelperProcess
from llmops_tui.regular_files import read_regular
from llmops_tui.training.reinforcement import Reinforcement, Reward
from llmops_tui.user_files import approved_rewards_path
from llmops_tui.workspace.approved_digests import approve, is_approved
from llmops_tui.workspace.files import sha256_file, write_atomic
from llmops_tui.workspace.layout import Workspace

FILE = "rewards.json"
_MODULE = "llmops_tui.evaluation.reward_worker"
_GREETING = b'{"op": "describe", "workspace": "", "rewards": [], "items": []}\n'
# Of the processor, for all answers of a step: a metric may load a model at its first. A judge is a process of its own, with
# limits of its own, and this one only waits for it.
_SECONDS, _WITH_JUDGE = 300.0, 86_400.0


class RewardFacts(TypedDict):
    """What a reward is: ``code`` and ``fingerprint`` say what its scores come from, ``problem`` why it is none.

    ``bounds`` are what its scores cannot leave, ``asks`` is the model that grades, ``better`` 1 where more is better, -1
    where less is.
    """

    name: str
    type: str
    weight: float
    code: str
    fingerprint: str
    problem: str
    hint: str
    needs_expected: bool
    better: int
    bounds: list[float] | None
    asks: str


class Scored(TypedDict):
    """An answer to score: its text and tokens, and what it answers, as a case of an evaluation."""

    case: JsonObject
    answer: str
    tokens: int


class RewardScorer:
    """Scores answers by the rewards of a recipe."""

    def __init__(self, workspace: Workspace, rewards: Sequence[Reward]) -> None:
        self._workspace = workspace
        self.rewards = list(rewards)
        self._seconds = _SECONDS
        self._process = HelperProcess(_MODULE, greeting=_GREETING, work="scores rewards")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def describe(self) -> list[RewardFacts]:
        """What each reward is.

        Raises:
            InputRefusedError: ``code_not_allowed``: a function's file was not allowed to run.
        """
        found = self._ask("describe", [])
        self._seconds = _WITH_JUDGE if any(told["asks"] for told in found) else _SECONDS
        empty: JsonObject = {"code": "", "fingerprint": ""}
        return [
            cast("RewardFacts", empty | told | {"name": reward.called, "type": reward.type, "weight": reward.weight})
            for reward, told in zip(self.rewards, found, strict=True)
        ]

    def score(self, items: Sequence[Scored]) -> list[list[tuple[float | None, str]]]:
        """For each answer its score by each reward, none where there is none, with the reason.

        Raises:
            LlmopsError: ``reward_failed``: the rewards took too long or too much memory; ``model_gone`` and others of a judge.
        """
        found = self._ask("score", items)
        return [[(value, reason) for value, reason in one] for one in found]

    def _ask(self, operation: str, items: Sequence[Scored]) -> list[Any]:
        digests = [require_allowed(reward) for reward in self.rewards]
        question = {
            "op": operation,
            "workspace": str(self._workspace.root),
            "rewards": [
                reward.entry | ({"sha256": digest} if digest else {})
                for reward, digest in zip(self.rewards, digests, strict=True)
            ],
            "items": items,
        }
        try:
            answer = self._process.ask(orjson.dumps(question, default=str) + b"\n", self._seconds, of_processor=True)
        except HelperLostError as error:
            raise LlmopsError(
                "reward_failed",
                f"the rewards {', '.join(reward.called for reward in self.rewards)} cannot be measured: {error}",
                "Leave out the reward that takes so long, or make its function quicker.",
            ) from error
        found: list[Any] = orjson.loads(answer)
        return found


def require_allowed(reward: Reward) -> str:
    """Refuse a function whose file the user has not allowed to run as it is now; the file's SHA-256, empty of a metric.

    Raises:
        InputRefusedError: ``no_reward_file``, ``code_not_allowed``.
    """
    if not reward.is_function:
        return ""
    path = Path(reward.file)
    if not path.is_file():
        raise InputRefusedError("no_reward_file", f"reward {reward.called}: there is no file {path}")
    digest = sha256_file(path)
    if not is_approved(approved_rewards_path(), digest):
        raise InputRefusedError(
            "code_not_allowed",
            f"reward {reward.called} runs the code of {path}, which was not allowed as it is now",
            f"Read it, then: llmops train allow {path}",
        )
    return digest


def not_allowed(part: Reinforcement) -> list[Path]:
    """The files of a recipe's functions that are not allowed to run yet."""
    files = [Path(reward.file) for reward in part.rewards if reward.is_function]
    return [
        path
        for path in dict.fromkeys(files)
        if path.is_file() and not is_approved(approved_rewards_path(), sha256_file(path))
    ]


def allow(path: Path) -> str:
    """Let a file's functions be rewards, as the file is now; its SHA-256.

    Raises:
        InputRefusedError: ``no_reward_file``.
    """
    if not path.is_file():
        raise InputRefusedError("no_reward_file", f"there is no file {path}")
    digest = sha256_file(path)
    approve(approved_rewards_path(), digest)
    return digest


def require_usable(workspace: Workspace, part: Reinforcement) -> list[RewardFacts]:
    """What the rewards of a recipe are.

    Raises:
        InputRefusedError: ``bad_reward``: one is no metric, or cannot be used here; or its code is not allowed to run.
    """
    with RewardScorer(workspace, part.rewards) as scorer:
        found = scorer.describe()
    for facts in found:
        if facts["problem"]:
            raise InputRefusedError("bad_reward", f"reward {facts['name']}: {facts['problem']}", facts["hint"])
    return found


def note(folder: Path, found: list[RewardFacts]) -> None:
    """Note in a run's folder what its rewards are; what goes on has to have the same.

    Raises:
        InputRefusedError: ``reward_changed``.
    """
    path = folder / FILE
    if path.is_file():
        before = {one["name"]: one["fingerprint"] for one in noted(folder)}
        other = [one["name"] for one in found if before.get(one["name"]) != one["fingerprint"]]
        if other:
            raise InputRefusedError(
                "reward_changed",
                f"reward {', '.join(other)} is not what the run began with: its code, or the model that grades, is another",
                "Undo that change, or start a new run.",
            )
        return
    write_atomic(path, json.dumps(found))


def noted(folder: Path) -> list[RewardFacts]:
    """What the rewards of a run are, as it noted them; nothing of a run without any."""
    path = folder / FILE
    found: list[RewardFacts] = parse_json(read_regular(path)) if path.is_file() else []
    return found
