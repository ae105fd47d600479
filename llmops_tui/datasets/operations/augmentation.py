"""Noise as an operation: rows again with typing mistakes, other case or other blanks, beside none of the old ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

from llmops_tui.counts import counted
from llmops_tui.datasets.noise import NOISES, Noise, noisy
from llmops_tui.datasets.operations.base import Made, Work
from llmops_tui.datasets.origins import COLUMN, OriginRecord, parent_of
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.rewording import rewording_of
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError

_ROWS = 20_000
_MOST_TIMES = 100


def noise(work: Work) -> Made:
    """The rows with noise in their text: of each kind in ``kinds`` one, or ``times`` of them where chance decides.

    ``rate`` is the share of words with a typing mistake, ``column`` the text of a table, and ``seed`` decides all chance.
    Rows in which a kind finds nothing to change are left out, and so is what came out the same twice. Labels and answers
    come along.
    """
    version = work.first
    turns = _turns(work)
    rate, seed = float(work.parameter("rate", 0.1)), int(work.parameter("seed", 0))
    rewording = rewording_of(version, str(work.parameters.get("column") or ""))
    writer = PartWriter(work.folder)
    rows: list[Row] = []
    made = same = without = 0
    for batch in version.read():
        for number, row in batch:
            text = rewording.text_of(row)
            if text is None:
                without += 1
                continue
            said = said_otherwise(text, number, turns, rate, seed)
            same += len(turns) - len(said)
            rows += [
                _row(version, number, row, rewording.with_text(row, fresh), kind, seed) for fresh, kind in said.items()
            ]
        made = writer.rows + len(rows)
        if len(rows) >= _ROWS:
            writer.add(rows)
            rows = []
        work.report(batch[-1][0] / max(1, version.rows), f"{counted(made, 'row')} made")
    writer.add(rows)
    columns = writer.finish()
    if not made:
        named = ", ".join(dict.fromkeys(kind for kind, _ in turns))
        raise InputRefusedError(
            "nothing_kept", f"no row of {version.ref} was changed by {named}", "Choose another noise, or column."
        )
    kinds = list(dict.fromkeys(kind for kind, _ in turns))
    return Made(columns, version.kind, _note(version.ref, kinds, made, same, without, rewording.carried))


def said_otherwise(
    text: str, number: int, turns: Sequence[tuple[Noise, int]], rate: float, seed: int
) -> dict[str, Noise]:
    """What the text of a row becomes, each different text once with the first noise that makes it; not what it was."""
    found: dict[str, Noise] = {}
    for kind, turn in turns:
        chance = random.Random(f"{seed}:{number}:{kind}:{turn}")  # noqa: S311  a seed decides, nothing is secret
        fresh = noisy(text, kind, rate, chance)
        if fresh != text:
            found.setdefault(fresh, kind)
    return found


def _turns(work: Work) -> list[tuple[Noise, int]]:
    """Each noise that a row gets, with its turn."""
    kinds = [str(kind) for kind in work.parameter("kinds", ["typos"])]
    rate, times = float(work.parameter("rate", 0.1)), int(work.parameter("times", 1))
    if unknown := [kind for kind in kinds if kind not in NOISES]:
        raise InputRefusedError("bad_noise", f"{unknown[0]!r} is no noise", f"Those are {', '.join(NOISES)}.")
    if not 0 < rate <= 1 or not 1 <= times <= _MOST_TIMES:
        raise InputRefusedError("bad_noise", f"the rate is a share above 0 up to 1, and times from 1 to {_MOST_TIMES}")
    # Only typing mistakes come out otherwise the next time.
    return [(kind, turn) for kind in NOISES if kind in kinds for turn in range(times if kind == "typos" else 1)]


def _row(version: DatasetVersion, number: int, old: Row, fresh: Row, kind: str, seed: int) -> Row:
    origin: OriginRecord = {"by": "rule", "way": kind, "seed": seed, "parents": [parent_of(version, number, old)]}
    return fresh | {COLUMN: dict(origin)}


def _note(ref: str, kinds: list[Noise], made: int, same: int, without: int, carried: tuple[str, ...]) -> str:
    told = f"{counted(made, 'row')} of {ref} with {', '.join(kinds)}"
    told += f"; {same:,} came out as they were, or twice" if same else ""
    told += f"; {counted(without, 'row')} without text" if without else ""
    return told + (f"; carried along: {', '.join(carried)}" if carried else "")
