"""What guards do: on labelled texts, half of which chooses and the other half tells, and on the traffic that was served."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.statistics.intervals import wilson
from llmops_tui.inference.guardrails.checks import Found, Prepared
from llmops_tui.inference.guardrails.guard_file import TIERS, Side
from llmops_tui.inference.guardrails.head import Floats, HeadModel, Labelled, fit
from llmops_tui.regular_files import read_regular_text
from llmops_tui.workspace.ingest import ingest

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog

_DAY = 86_400.0
_MOST_ROWS = 100_000
# A threshold is chosen so that no more benign texts than this are refused, and the most attacks are found.
MOST_FALSE = 0.02
_WORDS = {
    "attack": True,
    "benign": False,
    "true": True,
    "false": False,
    "1": True,
    "0": False,
    "yes": True,
    "no": False,
}


class ShareRecord(TypedDict):
    """A share with its 95 % interval by Wilson, and what it is of."""

    share: float | None
    low: float
    high: float
    of: int


class GuardFigures(TypedDict):
    """What a guard, or all of a set, did on labelled texts; ``ms`` is the mean time for a text."""

    name: str
    tier: str
    mode: str
    found: int
    precision: ShareRecord
    recall: ShareRecord
    false_share: ShareRecord
    ms: float


class CurvePoint(TypedDict):
    """A point of the curve of precision over recall."""

    threshold: float
    precision: float
    recall: float
    false_share: float


class TrafficFigures(TypedDict):
    """What a guard did on served requests: how many it looked at, found something in, failed at, and its mean ms."""

    guard: str
    side: str
    mode: str
    looked: int
    found: int
    errors: int
    ms: float
    found_a_day: float


@dataclass
class Counted:
    """Labelled texts by what was said of them."""

    hits: int = 0
    attacks: int = 0
    alarms: int = 0
    benign: int = 0
    ms: float = 0.0

    def add(self, *, attack: bool, found: bool, ms: float) -> None:
        """Count one text."""
        self.attacks += attack
        self.benign += not attack
        self.hits += attack and found
        self.alarms += found and not attack
        self.ms += ms

    def figures(self, name: str, tier: str, mode: str) -> GuardFigures:
        """As JSON."""
        texts = max(1, self.attacks + self.benign)
        return {
            "name": name,
            "tier": tier,
            "mode": mode,
            "found": self.hits + self.alarms,
            "precision": share(self.hits, self.hits + self.alarms),
            "recall": share(self.hits, self.attacks),
            "false_share": share(self.alarms, self.benign),
            "ms": self.ms / texts,
        }


def share(count: int, of: int) -> ShareRecord:
    """A share with its interval."""
    if not of:
        return {"share": None, "low": 0.0, "high": 1.0, "of": 0}
    interval = wilson(count, of)
    return {"share": count / of, "low": interval.low, "high": interval.high, "of": of}


def read_labelled(path: Path) -> list[Labelled]:
    """Labelled texts of a file of JSON Lines, each with ``text`` and ``label`` (attack or benign).

    Raises:
        InputRefusedError: ``bad_labels``, with the line.
    """
    rows: list[Labelled] = []
    for number, line in enumerate(read_regular_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            text, label = told["text"], str(told["label"]).casefold()
            rows.append({"text": str(text), "attack": _WORDS[label]})
        except (ValueError, KeyError, TypeError) as error:
            hint = 'Such as {"text": "When are you open?", "label": "benign"}; the other label is attack.'
            raise InputRefusedError("bad_labels", f"{path}, line {number}: no text with a label", hint) from error
    if not rows or len(rows) > _MOST_ROWS:
        raise InputRefusedError("bad_labels", f"{path} has {len(rows)} rows", f"Give from 1 to {_MOST_ROWS:,}.")
    return rows


def halves(rows: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Two halves by a hash of the texts: the same whatever their order, and the same text is in one of them alone."""
    first = [row for row in rows if zlib.crc32(b"half" + row["text"].encode("utf-8", "replace")) % 2 == 0]
    return first, [row for row in rows if row not in first]


async def measure(prepared: Prepared, rows: Sequence[Labelled], side: Side) -> list[GuardFigures]:
    """What each guard of a side, and all together, say of labelled texts."""
    counted: dict[str, Counted] = defaultdict(Counted)
    guards = prepared.guards.of(side)
    for row in rows:
        found = await prepared.check(row["text"], side, every=True)
        for one in found:
            counted[one.guard.name].add(attack=row["attack"], found=_says(one), ms=one.milliseconds)
        whole = any(_says(one) for one in found)
        counted[""].add(attack=row["attack"], found=whole, ms=sum(one.milliseconds for one in found))
        await asyncio.sleep(0)
    figures = [counted[one.name].figures(one.name, TIERS[one.kind], one.mode) for one in guards]
    return [*figures, counted[""].figures("all", "", "")]


def _says(found: Found) -> bool:
    return found.verdict == "found"


@dataclass
class Trained:
    """A head, the curve of the half that chose its threshold, and what it does on the other half."""

    head: HeadModel
    curve: list[CurvePoint] = field(default_factory=list)
    told: GuardFigures | None = None
    rows: int = 0


def train(
    name: str,
    rows: Sequence[Labelled],
    most_false: float = MOST_FALSE,
    vectors: Sequence[Floats] | None = None,
    embedder: str = "",
) -> Trained:
    """A head for labelled texts: trained and its threshold chosen on one half, told on the other.

    Scores of the texts that it was trained on say little, so the threshold is chosen on those of five parts, each scored by
    a head that was trained on the four others.

    Raises:
        InputRefusedError: ``too_few_labels``.
    """
    chosen, other = halves(rows)
    of = {row["text"]: vectors[n] for n, row in enumerate(rows)} if vectors is not None else None

    def head_for(some: Sequence[Labelled]) -> HeadModel:
        return fit(some, None if of is None else [of[row["text"]] for row in some], embedder)

    def scored_by(head: HeadModel, row: Labelled) -> float:
        # Labelled texts are short: each is one window.
        return head.score([row["text"]], None if of is None else [of[row["text"]]])

    scored: list[tuple[float, bool]] = []
    for part in range(5):
        head = head_for([row for row in chosen if _part(row) != part])
        scored += [(scored_by(head, row), row["attack"]) for row in chosen if _part(row) == part]
    curve = _curve(scored)
    threshold = _chosen(curve, most_false)
    head = head_for(chosen)
    made = HeadModel(head.weights, head.bias, threshold, embedder)
    counted = Counted()
    for row in other:
        counted.add(attack=row["attack"], found=scored_by(made, row) >= threshold, ms=0.0)
    return Trained(made, curve, counted.figures(name, "head", ""), len(rows))


def _part(row: Labelled) -> int:
    return zlib.crc32(row["text"].encode("utf-8", "replace")) % 5


def _curve(scored: Sequence[tuple[float, bool]]) -> list[CurvePoint]:
    attacks = sum(attack for _, attack in scored)
    benign = len(scored) - attacks
    found: list[CurvePoint] = []
    hits = alarms = 0
    for score, attack in sorted(scored, reverse=True):
        hits, alarms = hits + attack, alarms + (not attack)
        point: CurvePoint = {
            "threshold": score,
            "precision": hits / (hits + alarms),
            "recall": hits / max(1, attacks),
            "false_share": alarms / max(1, benign),
        }
        if found and found[-1]["threshold"] == score:
            found[-1] = point
        else:
            found.append(point)
    return found


def _chosen(curve: Sequence[CurvePoint], most_false: float) -> float:
    """The threshold with the highest recall among those that refuse few benign texts."""
    fitting = [point for point in curve if point["false_share"] <= most_false]
    best = max(fitting or curve[:1], key=lambda point: point["recall"])
    below = next((point["threshold"] for point in curve if point["threshold"] < best["threshold"]), 0.0)
    return min(0.999, max(0.001, (best["threshold"] + below) / 2))


def traffic(catalog: Catalog, event_log: EventLog, name: str, since: float, now: float) -> list[TrafficFigures]:
    """What the guards of a set did on the requests of clients since a moment."""
    ingest(catalog, event_log)

    def read(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, float]]:
        return connection.execute(
            "SELECT json_extract(client, '$.guards')::VARCHAR, started_at FROM requests "
            "WHERE started_at >= ? AND json_extract(client, '$.guards') IS NOT NULL",
            [since],
        ).fetchall()

    looked: dict[tuple[str, str, str], list[tuple[str, float]]] = defaultdict(list)
    first = now
    for text, at in catalog.read(read):
        for verdict in json.loads(text):
            if str(verdict.get("set", "")).rpartition("@")[0] == name:
                first = min(first, at)
                place = (verdict["guard"], verdict["side"], verdict["mode"])
                looked[place].append((verdict["verdict"], float(verdict.get("ms", 0.0))))
    # Of less than an hour nothing is told for a day.
    days = max(now - first, 3600.0) / _DAY
    return [
        {
            "guard": guard,
            "side": side,
            "mode": mode,
            "looked": len(said),
            "found": sum(verdict == "found" for verdict, _ in said),
            "errors": sum(verdict == "error" for verdict, _ in said),
            "ms": sum(ms for _, ms in said) / len(said),
            "found_a_day": sum(verdict == "found" for verdict, _ in said) / days,
        }
        for (guard, side, mode), said in sorted(looked.items())
    ]


def requests_a_day(catalog: Catalog, since: float, now: float) -> float:
    """How many requests of clients came a day since a moment, or since the first one after it."""

    def read(connection: duckdb.DuckDBPyConnection) -> tuple[int, float | None]:
        row = connection.execute(
            "SELECT count(*), min(started_at) FROM requests WHERE client IS NOT NULL AND started_at >= ?", [since]
        ).fetchone()
        return (int(row[0]), row[1]) if row else (0, None)

    count, first = catalog.read(read)
    return 0.0 if first is None else count / (max(now - first, 3600.0) / _DAY)


def false_blocks_a_day(figures: GuardFigures, requests: float) -> tuple[float, float, float]:
    """How many benign requests a day are refused at this traffic, with the ends of the interval of their share."""
    told = figures["false_share"]
    return (told["share"] or 0.0) * requests, told["low"] * requests, told["high"] * requests
