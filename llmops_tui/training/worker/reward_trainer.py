"""TRL's GRPO on prompts of our own tokens, with the rewards of a recipe, and answers generated here or by llama.cpp."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import Sampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from llmops_tui.training.example import Example
from llmops_tui.training.history import AnswerLine
from llmops_tui.training.reinforcement import Reward
from llmops_tui.training.reward_signs import repetition
from llmops_tui.training.rewards import RewardScorer, Scored
from llmops_tui.training.worker.engine_generation import EngineGenerator
from llmops_tui.training.worker.kernels import as_written

_ROWS = 16
_BUFFER = "generation.safetensors"


class _SameOrder(RepeatSampler):
    """TRL's order of prompts, of the seed and the epoch alone: its own starts anew after a resume."""

    def __init__(self, *arguments: Any, epoch: Callable[[], int], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        # In the first epoch that of TRL.
        self.generator.manual_seed(int(self.seed or 0) + 1_000_003 * self._epoch())
        yield from super().__iter__()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Measured:
    """What answers came to: the scores of each by each reward, none where there is none, and the weighed sum."""

    scores: list[list[float | None]]
    reasons: list[list[str]]
    rewards: list[float]


class Rewarded(GRPOTrainer):
    """GRPO whose rewards are scored by a :class:`RewardScorer`; ``scorer`` is given before it trains.

    Where ``generator`` is given, llama.cpp generates: TRL then corrects for what it computes otherwise as it does for vLLM,
    by importance sampling with the log-probabilities that the generator tells (truncated, "token_truncate").
    """

    # As TRL leaves them: of a wider type in the trainer below it, or without one.
    args: Any
    model: Any
    eval_dataset: Any
    max_completion_length: Any
    _logs: Any
    _buffered_inputs: Any

    scorer: RewardScorer | None = None
    generator: EngineGenerator | None = None
    told: Callable[[int, list[AnswerLine]], None] | None = None
    epoch_steps: int = 1

    def __init__(self, rewards: Sequence[Reward], **options: Any) -> None:
        def named(reward: Reward) -> Callable[..., list[float]]:
            def measured(**_given: Any) -> list[float]:
                raise NotImplementedError  # all rewards are scored together, in _calculate_rewards

            measured.__name__ = reward.called
            return measured

        functions: list[Any] = [named(reward) for reward in rewards]
        super().__init__(reward_funcs=functions, **options)
        self.rewards = list(rewards)
        self._asked: list[Example] = []
        self._reasons: list[list[str]] = []

    def use(self, generator: EngineGenerator) -> None:
        """Have llama.cpp generate from now on."""
        self.generator = generator
        # TRL's correction is behind its switch for vLLM, and takes the log-probabilities of any generator.
        self.use_vllm = True

    # ── order, tokens, answers ──

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        return _SameOrder(
            data_source=dataset if dataset is not None else self.train_dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            shuffle=self.shuffle_dataset,
            seed=self.args.seed,
            epoch=lambda: self.state.global_step // max(1, self.epoch_steps),
        )

    def _tokenize_prompts(self, prompts: list[str]) -> Any:
        # Ours, whatever the tokenizer of transformers would make of the text.
        del prompts
        return [row["prompt_ids"] for row in self._asked], None, {}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, fields: Any, num_generations: int, has_tool_images: bool = False
    ) -> Any:
        if self.generator is None:
            own: Any = super()._generate_single_turn
            return own(prompt_ids, images, fields, num_generations, has_tool_images)
        self.generator.follow(self.model, self.state.global_step)
        # From torch's numbers, which a checkpoint keeps.
        seeds = torch.randint(1, 2**31, (len(prompt_ids),)).tolist()
        return self.generator.generate(prompt_ids, self.max_completion_length, temperature=1.0, seeds=seeds)

    def _generate_and_score_completions(self, inputs: list[Any]) -> Any:
        self._asked = inputs
        found: dict[str, Any] = super()._generate_and_score_completions(inputs)
        answers = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(found["completion_ids"], found["completion_mask"], strict=True)
        ]
        share = sum(map(repetition, answers)) / max(1, len(answers))
        self._metrics["train"]["completions/repetition"].append(share)
        if self.told is not None:
            self.told(int(self.state.global_step) + 1, self._lines(len(inputs)))
        return found

    def _lines(self, count: int) -> list[AnswerLine]:
        """The newest answers as the run records them."""
        logs = self._logs
        names = self.reward_func_names
        scores = [list(logs["rewards"][name])[-count:] for name in names]
        texts, advantages = list(logs["completion"])[-count:], list(logs["advantages"])[-count:]
        lines: list[AnswerLine] = []
        for place, (row, text, advantage) in enumerate(zip(self._asked, texts, advantages, strict=True)):
            own = {name: score[place] for name, score in zip(names, scores, strict=True)}
            known = {name: value for name, value in own.items() if not math.isnan(value)}
            lines.append(
                {
                    "prompt": row["prompt"],
                    "text": text,
                    "rewards": known,
                    "reward": _weighed(self.rewards, [known.get(name) for name in names]),
                    "advantage": float(advantage),
                    "why": "; ".join(dict.fromkeys(why for why in self._reasons[place] if why))[:400],
                }
            )
        return lines

    # ── rewards ──

    def measure(self, rows: Sequence[Example], texts: Sequence[str], tokens: Sequence[int]) -> Measured:
        """Score answers to rows."""
        assert self.scorer is not None
        items: list[Scored] = [
            {"case": json.loads(row["case"]), "answer": text, "tokens": count}
            for row, text, count in zip(rows, texts, tokens, strict=True)
        ]
        found = self.scorer.score(items)
        scores = [[value for value, _ in one] for one in found]
        return Measured(
            scores, [[why for _, why in one] for one in found], [_weighed(self.rewards, one) for one in scores]
        )

    def _calculate_rewards(
        self, inputs: list[Any], prompts: Any, completions: list[str], completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        del prompts
        found = self.measure(inputs, completions, [len(ids) for ids in completion_ids_list])
        self._reasons = found.reasons
        values = [[math.nan if value is None else value for value in one] for one in found.scores]
        return torch.tensor(values, dtype=torch.float32, device=self.accelerator.device)

    # ── evaluation ──

    def answers(self, prompts: Sequence[list[int]], *, sampled: bool) -> list[list[int]]:
        """An answer to each prompt, as tokens: as in training, or the likeliest."""
        found: list[list[int]] = []
        was_training = self.model.training
        self.model.eval()
        try:
            with as_written():
                for start in range(0, len(prompts), _ROWS):
                    found += self._answers(list(prompts[start : start + _ROWS]), sampled=sampled)
        finally:
            self.model.train(was_training)
        return found

    @torch.no_grad()
    def _answers(self, prompts: list[list[int]], *, sampled: bool) -> list[list[int]]:
        pad, width = int(self._tokenizer.pad_token_id), max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(one)) + one for one in prompts], device=self.accelerator.device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=ids.device)
        made = self.accelerator.unwrap_model(self.model).generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=sampled,
            **({"temperature": self.temperature, "top_k": 0, "top_p": 1.0} if sampled else {}),
            max_new_tokens=self.max_completion_length,
            use_cache=True,
            pad_token_id=pad,
            eos_token_id=self.eos_token_ids,
        )
        ends = set(self.eos_token_ids)
        found = []
        for row in made[:, width:].tolist():
            end = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
            found.append(row[:end])
        return found

    def evaluate(self, *_arguments: Any, **_options: Any) -> dict[str, float]:
        """Measure the greedy answers to the held-out rows: no chance of the training is used up.

        The evaluation loss is the mean reward below zero, so that the best checkpoint is the one with the best answers.
        """
        began = time.monotonic()
        rows: list[Any] = list(self.eval_dataset)
        made = self.answers([row["prompt_ids"] for row in rows], sampled=False)
        texts = self._tokenizer.batch_decode(made, skip_special_tokens=True)
        found = self.measure(rows, texts, [len(ids) for ids in made])
        mean, spread = _mean(found.rewards)
        metrics = {"eval_loss": -mean, "eval_reward": mean, "eval_reward_se": spread / math.sqrt(len(rows))}
        for place, reward in enumerate(self.rewards):
            known = [value for one in found.scores if (value := one[place]) is not None]
            own, deviation = _mean(known)
            if known:
                metrics[f"eval_rewards/{reward.called}"] = own
                metrics[f"eval_rewards/{reward.called}/se"] = deviation / math.sqrt(len(known))
        metrics["eval_length"] = sum(map(len, made)) / len(made)
        metrics["eval_runtime"] = time.monotonic() - began
        was_training = self.model.training
        # TRL adds the figures of training to what is logged while the model trains.
        self.model.eval()
        self.log(dict(metrics))
        self.model.train(was_training)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    # ── checkpoints ──

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[no-untyped-call]
        if self.num_iterations == 1 or not self._buffered_inputs:
            return
        # The answers that the next steps learn from, too: others would be generated after a resume.
        parts = {
            f"{place}.{name}": value.contiguous().clone()
            for place, batch in enumerate(self._buffered_inputs)
            for name, value in batch.items()
            if isinstance(value, torch.Tensor)
        }
        folder = Path(self._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        save_file(parts, folder / _BUFFER, {"step": str(self._step)})

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[no-untyped-call]
        file = Path(checkpoint or "") / _BUFFER
        if checkpoint is None or not file.is_file():
            return
        batches: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in load_file(file).items():
            place, _, part = name.partition(".")
            batches.setdefault(int(place), {})[part] = value.to(self.accelerator.device)
        if len(batches) != self.args.steps_per_generation:
            # Memory ran out, and it goes on in smaller parts: answers of other parts are generated anew.
            return
        self._buffered_inputs = [batches[place] for place in sorted(batches)]
        self._step = int(Path(checkpoint).name.rpartition("-")[2]) * self.args.gradient_accumulation_steps


def _weighed(rewards: Sequence[Reward], scores: Sequence[float | None]) -> float:
    return sum(reward.weight * score for reward, score in zip(rewards, scores, strict=True) if score is not None)


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the standard deviation; 0 of nothing."""
    if not values:
        return 0.0, 0.0
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
