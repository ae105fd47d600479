"""Verification that a model answers the same after each export step; a table stored with the model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from llmops_tui.counts import agree, counted
from llmops_tui.inference.native_process import run_native
from llmops_tui.training.records import ProofStep

_LIMIT = 64


@dataclass(frozen=True)
class Limits:
    """What a step may change: shares from 0 to 1, KL in nats a token, perplexity relative to the reference."""

    same_tokens: float = 1.0
    greedy: float = 0.9
    kl: float = 0.05
    perplexity: float = 0.05


LOSSLESS = Limits(greedy=0.95, kl=0.01, perplexity=0.02)
QUANTIZED = Limits(greedy=0.5, kl=0.2, perplexity=0.2)


@dataclass(frozen=True)
class Step:
    """One step on the way, compared with the adapter on its base in transformers.

    Attributes:
        same_tokens: share of the rendered conversations that are the same tokens.
        greedy: share of the answers, decoded greedily, that are the same token for token.
        kl: Kullback-Leibler divergence of the step from the reference, mean over the tokens of the answers, in nats.
        perplexity_change: perplexity of the expected answers over that of the reference, less 1.
        stops: answers that end by themselves.
        n: conversations asked.
        chat_template_sha256: of the chat template that the step is served with.
        chat_template_kwargs: the variables of the recipe, which the template has as its defaults.
    """

    name: str
    same_tokens: float
    greedy: float
    kl: float
    perplexity_change: float
    stops: int
    n: int
    problems: tuple[str, ...]
    chat_template_sha256: str = ""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is outside its limit."""
        return not self.problems

    def as_dict(self) -> ProofStep:
        """For JSON."""
        return cast("ProofStep", asdict(self) | {"good": self.good})


@dataclass(frozen=True)
class Case:
    """A conversation to compare on: its rendered prompt, its ids, and the ids of the answer it should have."""

    text: str
    prompt: list[int]
    answer: list[int]


@dataclass(frozen=True)
class Answers:
    """What a model does with the cases: tokens of the texts, greedy continuations, log-probabilities of the answers."""

    tokens: list[list[int]]
    greedy: list[list[int]]
    logprobs: list[Any]


@dataclass(frozen=True)
class Served:
    """How a step is served.

    Attributes:
        chat_template_sha256: of its chat template.
        chat_template_kwargs: the variables of the recipe.
        compared: conversations whose tokens were compared with those of training.
        different: how many of them have others.
    """

    chat_template_sha256: str = ""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    compared: int = 0
    different: int = 0


def ask_gguf(
    model: Path,
    adapter: Path | None,
    cases: list[Case],
    told: Callable[[float], None],
    ends: Collection[int] = (),
) -> Answers:
    """Ask a GGUF model, in a process of its own; ``ends`` are tokens that end an answer beside the model's own.

    Raises:
        LlmopsError: ``proof_failed``.
    """
    with tempfile.TemporaryDirectory(prefix="llmops-proof-") as scratch:
        request, answer = Path(scratch) / "request.json", Path(scratch) / "answer.npz"
        body = {
            "texts": [c.text for c in cases],
            "prompts": [c.prompt for c in cases],
            "answers": [c.answer for c in cases],
            "limit": _LIMIT,
            "ends": sorted(ends),
        }
        request.write_text(json.dumps(body), encoding="utf-8")
        run_native(
            "llmops_tui.training.export.gguf_worker",
            [str(model), str(adapter or "-"), str(request), str(answer)],
            lambda done: told(int(done) / len(cases)),
            model=model,
            failed="proof_failed",
            what=f"{model.name} did not answer",
        )
        with np.load(answer, allow_pickle=False) as found:
            return Answers(
                [found[f"tokens{i}"].tolist() for i in range(len(cases))],
                [found[f"greedy{i}"].tolist() for i in range(len(cases))],
                [found.get(f"logprobs{i}") for i in range(len(cases))],
            )


def compare(
    name: str,
    reference: Answers,
    found: Answers,
    cases: list[Case],
    ends: Collection[int],
    limits: Limits,
    served: Served | None = None,
) -> Step:
    """A step's row of the table."""
    n, served = len(cases), served or Served()
    same = sum(tokens == case.prompt for tokens, case in zip(found.tokens, cases, strict=True)) / n
    if served.compared:
        # Rendered by its own template, as whoever asks it gets them.
        same = min(same, 1 - served.different / served.compared)
    greedy = sum(a == b for a, b in zip(reference.greedy, found.greedy, strict=True)) / n
    divergences, expected, before = [], [], []
    for case, p, q in zip(cases, reference.logprobs, found.logprobs, strict=True):
        if p is None or q is None:
            continue
        width = min(p.shape[1], q.shape[1])
        p64, q64 = p[:, :width].astype(np.float64), q[:, :width].astype(np.float64)
        divergences += (np.exp(p64) * (p64 - q64)).sum(axis=1).tolist()
        rows = np.arange(len(case.answer))
        expected += (-q64[rows, case.answer]).tolist()
        before += (-p64[rows, case.answer]).tolist()
    kl = float(np.mean(divergences)) if divergences else 0.0
    change = float(np.exp(np.mean(expected) - np.mean(before)) - 1) if expected else 0.0
    stops = sum(bool(made) and made[-1] in ends for made in found.greedy)
    reference_stops = sum(bool(made) and made[-1] in ends for made in reference.greedy)
    problems = []
    if same < limits.same_tokens:
        changed = round((1 - same) * n)
        told = f"{changed} of {counted(n, 'conversation')} {agree(changed, 'has', 'have')}"
        problems.append(f"{told} different tokens than in training")
    if greedy < limits.greedy:
        changed = round((1 - greedy) * n)
        problems.append(f"{changed} of {counted(n, 'greedy answer')} {agree(changed, 'differs', 'differ')}")
    if kl > limits.kl:
        problems.append(f"KL {kl:.3g} nats a token, more than {limits.kl}")
    if abs(change) > limits.perplexity:
        problems.append(f"perplexity changed by {change:+.1%}, more than {limits.perplexity:.0%}")
    if stops < reference_stops:
        problems.append(f"answers that end by themselves: {stops} of {n}, before {reference_stops}")
    carried = served.chat_template_sha256, served.chat_template_kwargs
    return Step(name, same, greedy, kl, change, stops, n, tuple(problems), *carried)
