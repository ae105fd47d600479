"""Packing: several short examples in one sequence, each with positions of its own, so that none sees another."""

from __future__ import annotations

from bisect import bisect_left, insort

from llmops_tui.training.example import IGNORED, Example


def pack(rows: list[Example], length: int) -> list[Example]:
    """Put examples together into sequences of at most ``length`` tokens, the longest first into the fullest that has room.

    Each has ``position_ids`` that begin anew with each example: attention is within an example alone, and the first token
    of each is never predicted from the one before.
    """
    packed: list[list[Example]] = []
    room: list[tuple[int, int]] = []
    for row in sorted(rows, key=lambda row: -len(row["input_ids"])):
        size = len(row["input_ids"])
        at = bisect_left(room, (size, -1))
        if at < len(room):
            free, index = room.pop(at)
            packed[index].append(row)
        else:
            free, index = length, len(packed)
            packed.append([row])
        insort(room, (free - size, index))
    return [_joined(parts) for parts in packed]


def _joined(parts: list[Example]) -> Example:
    return {
        "input_ids": [token for part in parts for token in part["input_ids"]],
        "labels": [label for part in parts for label in (IGNORED, *part["labels"][1:])],
        "position_ids": [position for part in parts for position in range(len(part["input_ids"]))],
    }
