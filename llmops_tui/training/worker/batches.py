"""How examples become batches: their order, the same after a resume, and packed sequences beside padded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from llmops_tui.training.example import IGNORED, Example


class GroupedByLength(Sampler[int]):
    """Rows of similar length together, in an order that the seed and the epoch decide alone.

    That of transformers takes its order from the random numbers of the moment, which are others after a resume.
    """

    def __init__(self, lengths: list[int], batch: int, seed: int, epoch: Callable[[], int]) -> None:
        self._lengths, self._batch, self._seed, self._epoch = lengths, batch, seed, epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch())
        grouped: Any = get_length_grouped_indices
        return iter(grouped(self._lengths, self._batch, generator=chance))


class PackedCollator:
    """Batches of packed sequences, which have positions and no mask; rows that are not packed are padded as ever.

    transformers finds where an example ends by its positions, and keeps attention within it. FlashAttention wants one long
    sequence (``flat``); for the others a batch stays as many rows, whose masks are smaller. Of padding each token is an
    example of its own, at position 0.
    """

    def __init__(self, pad_token_id: int, *, flat: bool) -> None:
        self._pad, self._flat = pad_token_id, flat
        self._plain: Any = DataCollatorForLanguageModeling(pad_token_id=pad_token_id)

    def __call__(self, rows: list[Example]) -> dict[str, torch.Tensor]:
        """Tensors of shape (rows, tokens), or (1, all tokens) where flat."""
        if not all(row.get("position_ids") for row in rows):
            plain: dict[str, torch.Tensor] = self._plain(rows)
            return plain
        columns = {
            "input_ids": ([row["input_ids"] for row in rows], self._pad),
            "labels": ([row["labels"] for row in rows], IGNORED),
            "position_ids": ([row["position_ids"] for row in rows], 0),
        }
        if self._flat:
            return {
                name: torch.tensor([[item for row in lists for item in row]]) for name, (lists, _) in columns.items()
            }
        width = max(len(row["input_ids"]) for row in rows)
        return {
            name: torch.tensor([[*row, *[filler] * (width - len(row))] for row in lists])
            for name, (lists, filler) in columns.items()
        }


def tokens_of(positions: torch.Tensor) -> int:
    """How many tokens of packed sequences are no padding: each example has two at the least, and padding is all zeros."""
    begins = (positions[:, :-1] == 0) & (positions[:, 1:] == 1)
    return int((positions > 0).sum() + begins.sum())
