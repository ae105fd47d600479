"""Datasets from traces: corrected and upvoted answers as conversations or preference pairs."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import counted
from llmops_tui.datasets.authors import COLUMN, MODEL, PERSON
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.privacy.replacement import replace_in_row
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.privacy.detection import KINDS
from llmops_tui.privacy.replacement import mark
from llmops_tui.traces.store import TRACES, TraceFilter, TraceStore
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

SHAPES = ("messages", "preference")
PRIVACY = ("redact", "keep")
# The answers of the examples that a trace's version brought, in their order.
_EXAMPLES = (
    "(SELECT json_extract_string(v.settings, '$.examples.turns[*].answer') FROM prompt_versions v "
    "WHERE v.prompt = r.prompt AND v.number = r.prompt_version)"
)
UNRATED = "unrated"
"""The part of a version whose answers nobody called good: it is no data to train on as it is."""


@dataclass
class Gathered:
    """Rows made of traces. ``left_out`` counts, by reason, those that made none; ``personal`` what was found in them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)


def gather(
    store: TraceStore, wanted: TraceFilter, shape: str, privacy: str, among: Container[str] | None = None
) -> Gathered:
    """What a dataset of these traces would hold. Answers that were dismissed in the review are never taken.

    Where ``among`` is given, no other traces are.

    Each row says in :data:`~llmops_tui.datasets.authors.COLUMN` whether a person or a model wrote its answer, of pairs the
    better one.

    ``messages``: a correction stands in place of the answer; else an answer with a thumb up is taken as it is. Examples of its
    prompt's version stay before it, and are not learned from.
    ``preference``: a correction is better than the answer it corrects; of answers to the very same conversation, each
    with a thumb up is better than each with a thumb down.

    Raises:
        InputRefusedError: ``bad_shape``.
    """
    if shape not in SHAPES or privacy not in PRIVACY:
        raise InputRefusedError("bad_shape", f"no such choice: {shape} {privacy}", f"{SHAPES}, {PRIVACY}")
    gathered = Gathered()
    found = []
    for trace, messages, output, score, correction, content, thinking, answers in _read(store, wanted):
        if among is not None and trace not in among:
            continue
        turns = _turns(trace, messages, gathered)
        if turns is None:
            continue
        if content == "off" or not turns:
            gathered.left_out["its content was not stored"] += 1
        elif turns[0].get("role") == "prompt":
            gathered.left_out["a text completion, not a conversation"] += 1
        else:
            found.append((trace, turns, output, score, correction, thinking, answers))
    if shape == "messages":
        _as_messages(found, gathered)
    else:
        _as_pairs(found, gathered)
    look_for_personal(gathered, privacy)
    return gathered


def look_for_personal(gathered: Gathered, privacy: str) -> None:
    """Count the personal data of all rows, and take it out where that is wanted."""
    for number, row in enumerate(gathered.rows):
        clean, counts = replace_in_row(row, mark, KINDS)
        gathered.personal.update(counts)
        if privacy == "redact":
            gathered.rows[number] = clean


def gathered_requests(store: TraceStore, requests: Sequence[str], privacy: str) -> Gathered:
    """What a dataset of these requests would hold, whatever was said of their answers: the conversations with their answers.

    A correction stands in place of the answer; where a request failed, its conversation is left as it was asked.

    Raises:
        InputRefusedError: ``bad_shape``.
    """
    if privacy not in PRIVACY:
        raise InputRefusedError("bad_shape", f"no such choice: {privacy}", f"{PRIVACY}")
    gathered = Gathered()
    sql = (
        f"SELECT r.id, r.messages, r.output, f.correction, r.content, r.finish_reason, {_EXAMPLES} FROM {TRACES} "
        "WHERE list_contains(?, r.id) ORDER BY r.started_at, r.id"
    )

    def work(connection: duckdb.DuckDBPyConnection) -> list[Any]:
        return connection.execute(sql, [list(requests)]).fetchall()

    for trace, messages, output, correction, content, ended, answers in store.catalog.read(work):
        turns = _turns(trace, messages, gathered)
        if turns is None:
            continue
        if content == "off" or not turns:
            gathered.left_out["its content was not stored"] += 1
            continue
        answer = correction or ("" if ended == "error" else output)
        row: Row = {
            "messages": [*_unlearned(turns, answers), *([{"role": "assistant", "content": answer}] if answer else [])]
        }
        if answer:
            row[COLUMN] = PERSON if correction else MODEL
        gathered.rows.append(row)
        gathered.traces.append(trace)
    look_for_personal(gathered, privacy)
    return gathered


def _turns(trace: str, messages: str | None, gathered: Gathered) -> list[JsonObject] | None:
    """The conversation of a trace; none where its row is damaged, which is told by its name, and the others go on."""
    try:
        found: list[JsonObject] | None = kept("requests", "messages", trace, messages)
    except LlmopsError as error:
        gathered.left_out[error.message] += 1
        return None
    return found or []


def _unlearned(turns: list[JsonObject], answers: Sequence[str] | None) -> list[JsonObject]:
    """A conversation in which the answers of its version's examples have the weight 0; only where they all stand first."""
    first = next((n for n, turn in enumerate(turns) if turn.get("role") != "system"), len(turns))
    places = {first + 2 * n + 1: text for n, text in enumerate(answers or ())}
    said = [(turn.get("role"), turn.get("content")) for turn in turns]
    if not all(place < len(said) and said[place] == ("assistant", text) for place, text in places.items()):
        return turns
    return [{**turn, "weight": 0} if n in places else turn for n, turn in enumerate(turns)]


def _read(store: TraceStore, wanted: TraceFilter) -> list[Any]:
    condition, values = wanted.sql()
    sql = (
        f"SELECT r.id, r.messages, r.output, f.score, f.correction, r.content, r.thinking, {_EXAMPLES} FROM {TRACES} "
        f"WHERE {condition} AND (f.score IS NOT NULL OR f.correction IS NOT NULL) AND coalesce(f.verdict, '') <> 'dismissed' "
        "AND r.finish_reason <> 'error' ORDER BY r.started_at, r.id"
    )

    def work(connection: duckdb.DuckDBPyConnection) -> list[Any]:
        return connection.execute(sql, values).fetchall()

    return store.catalog.read(work)


def _as_messages(found: list[tuple[Any, ...]], gathered: Gathered) -> None:
    for trace, turns, output, score, correction, thinking, answers in found:
        answer = correction or (output if score == 1 else None)
        if answer is None:
            gathered.left_out["a thumb down without a correction"] += 1
            continue
        # Of an answer that was written anew nobody knows what would have been thought.
        thought = {"reasoning_content": thinking} if thinking and not correction else {}
        said = {"role": "assistant", "content": answer, **thought}
        gathered.rows.append({"messages": [*_unlearned(turns, answers), said], COLUMN: PERSON if correction else MODEL})
        gathered.traces.append(trace)


def _as_pairs(found: list[tuple[Any, ...]], gathered: Gathered) -> None:
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for item in found:
        groups.setdefault(json.dumps(item[1], sort_keys=True), []).append(item)
    for group in groups.values():
        better = [(item[0], item[2]) for item in group if item[3] == 1 and not item[4]]
        worse = [(item[0], item[2]) for item in group if item[3] == -1]
        pairs = [(item[0], item[4], item[2], PERSON) for item in group if item[4]]
        pairs += [(up, good, bad, MODEL) for up, good in better for _, bad in worse]
        pairs = [pair for pair in pairs if pair[1] != pair[2]]
        if not pairs:
            gathered.left_out["no other answer to the same conversation"] += len(group)
        for trace, good, bad, author in pairs:
            gathered.rows.append(
                {
                    "prompt": group[0][1],
                    "chosen": [{"role": "assistant", "content": good}],
                    "rejected": [{"role": "assistant", "content": bad}],
                    COLUMN: author,
                }
            )
            gathered.traces.append(trace)


def make_version(
    datasets: DatasetStore,
    name: str,
    gathered: Gathered,
    shape: str,
    privacy: str,
    part: str = "",
    more: Mapping[str, object] | None = None,
) -> DatasetVersion:
    """Keep gathered rows as the next version of a dataset; ``part`` says which part of what was gathered they are.

    ``more`` is what the version's recipe says beside that.

    Raises:
        InputRefusedError: ``no_rows``: no trace makes a row.
    """
    if not gathered.rows:
        raise InputRefusedError(
            "no_rows",
            "no trace can become a row: "
            + ("; ".join(f"{n} × {why}" for why, n in gathered.left_out.items()) or "no feedback"),
            "Rate or correct answers: llmops traces feedback, or u, d and e on the screen.",
        )
    folder = datasets.staging()
    try:
        writer = PartWriter(folder)
        writer.add(gathered.rows)
        columns = writer.finish()
        said = ", ".join(f"{count} {kind}" for kind, count in gathered.personal.most_common())
        note = f"{counted(len(gathered.rows), 'row')} from traces" + (
            f"; {said} {'redacted' if privacy == 'redact' else 'left in'}" if said else ""
        )
        inputs = tuple((trace, trace) for trace in dict.fromkeys(gathered.traces))
        made = {"shape": shape, "privacy": privacy, **({"part": part} if part else {}), **(more or {})}
        recipe = Recipe("traces", made, inputs)
        return datasets.keep(folder, name, kind=shape, columns=columns, recipe=recipe, note=note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
