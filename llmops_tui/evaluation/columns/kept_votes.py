"""Votes as training data: pairs of a chosen and a rejected answer, with what they come from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from llmops_tui.counts import counted
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.errors import InputRefusedError, NotFoundError


def keep_pairs(
    datasets: DatasetStore,
    name: str,
    messages: Sequence[Mapping[str, str]],
    answers: Sequence[str],
    winner: int,
    sources: Sequence[str],
) -> DatasetVersion:
    """Add preference pairs to a dataset, as its next version: the winner's answer is chosen over each other one.

    ``sources`` are ids of the runs that answered, or hashes of their results; they are what the version is made of, with
    the version before it.

    Raises:
        InputRefusedError: ``no_pair``: no other answer is different; ``other_kind``: the dataset has other rows.
    """
    rows = pairs_of(messages, answers, winner)
    if not rows:
        raise InputRefusedError("no_pair", "the other answers are empty or the same", "Vote where answers differ.")
    before = _newest(datasets, name)
    inputs = [(source, source) for source in dict.fromkeys(sources) if source]
    if before is not None:
        if before.kind != "preference":
            raise InputRefusedError(
                "other_kind", f"{before.ref} holds {before.kind} rows, and no preference pairs", "Choose another name."
            )
        inputs.append((before.ref, before.sha256))
    folder = datasets.staging()
    try:
        writer = PartWriter(folder)
        if before is not None:
            for batch in before.read():
                writer.add([row for _, row in batch])
        writer.add(rows)
        recipe = Recipe("votes", {"added": len(rows)}, tuple(inputs))
        parent = before.number if before is not None else None
        note = f"{counted(len(rows), 'preference pair')} of a vote"
        return datasets.keep(
            folder, name, kind="preference", columns=writer.finish(), recipe=recipe, note=note, parent=parent
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pairs_of(messages: Sequence[Mapping[str, str]], answers: Sequence[str], winner: int) -> list[Row]:
    """A row for each answer that is another than the winner's."""
    best = answers[winner]
    worse = [text for text in dict.fromkeys(answers) if text.strip() and text != best]
    if not best.strip():
        return []
    return [
        {
            "prompt": [dict(message) for message in messages],
            "chosen": [{"role": "assistant", "content": best}],
            "rejected": [{"role": "assistant", "content": text}],
        }
        for text in worse
    ]


def _newest(datasets: DatasetStore, name: str) -> DatasetVersion | None:
    try:
        return datasets.get(name)
    except NotFoundError:
        return None
