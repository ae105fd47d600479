"""The shape of the rows that are written: the schema that answers are held to, and how a row is made of an answer.

Of a version of seeds it comes from its columns, or from a schema of the user; of topics alone it is a question with its
answer. Columns that are neither written nor kept from the seed row are left out, which is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmops_tui.datasets.label_columns import label_column
from llmops_tui.datasets.origins import COLUMN
from llmops_tui.datasets.records import KIND_COLUMNS, Row, as_messages, content_text
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.schema_validation import unreadable
from llmops_tui.synthesis.plan import SynthesisPlan

# What is written of a row of each kind, by the name that the model sees.
_WRITTEN = {
    "messages": ("question", "answer"),
    "prompt-completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "text": ("text",),
}
_JSON_TYPES = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
# A text may be so many times as long as the longest of the seeds.
_LONGER, _SHORTEST, _LONGEST = 2, 200, 4000


@dataclass(frozen=True)
class RowShape:
    """What rows are like.

    Attributes:
        kind: the kind of the dataset.
        schema: what an answer is held to.
        write: the names of the fields that are written, in the order of the schema.
        keep: the columns that a row takes from the seed that it is made of.
        left_out: the columns of the seeds that new rows do not have.
    """

    kind: str
    schema: Schema
    write: tuple[str, ...]
    keep: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def response_format(self) -> Mapping[str, object]:
        """The form of the answer, for a request."""
        return {"type": "json_schema", "json_schema": {"name": "row", "schema": self.schema}}

    def example(self, row: Row) -> Row | None:
        """What a row would be as an answer; none where it does not have all that is written, as one text each."""
        if self.kind == "messages":
            turns = [
                m for m in as_messages(row.get("messages"), "user") if m.get("role") not in {"system", "developer"}
            ]
            if [m.get("role") for m in turns] != ["user", "assistant"]:
                return None
            row = {"question": _text(turns[0].get("content")), "answer": _text(turns[1].get("content"))}
        elif self.kind != "tabular":
            row = row | {
                name: _said(row.get(name)) for name in self.write if name in KIND_COLUMNS[self.kind] + ("prompt",)
            }
        found = {name: row.get(name) for name in self.write}
        return found if all(value not in (None, "") for value in found.values()) else None

    def kept(self, row: Row) -> Row:
        """What a new row takes from the seed that it is made of."""
        found = {name: row[name] for name in self.keep if name in row}
        if self.kind == "messages":
            system = [m for m in as_messages(row.get("messages"), "user") if m.get("role") in {"system", "developer"}]
            return found | ({"messages": system} if system else {})
        return found

    def row_of(self, answer: Row, seed: Row | None) -> Row:
        """A row of the dataset from an answer."""
        kept = self.kept(seed) if seed is not None else {}
        if self.kind != "messages":
            return {**answer, **kept}
        turns = [
            {"role": "user", "content": answer["question"]},
            {"role": "assistant", "content": answer["answer"]},
        ]
        others = {name: value for name, value in answer.items() if name not in _WRITTEN["messages"]}
        return {**kept, **others, "messages": [*kept.get("messages", []), *turns]}

    def given(self, seed: Row | None) -> Row:
        """What of the kept columns the model is told, such as the label that the row is to have."""
        return {name: seed[name] for name in self.keep if name in seed} if seed is not None else {}


def _text(content: Any) -> str | None:
    return content if isinstance(content, str) else content_text(content) or None


def _said(value: Any) -> Any:
    """A text, or the text of a single message."""
    if not isinstance(value, list):
        return value
    turns = [m for m in as_messages(value, "user") if m.get("role") not in {"system", "developer"}]
    return _text(turns[0].get("content")) if len(turns) == 1 else None


def shape_of(plan: SynthesisPlan, seeds: DatasetVersion | None, rows: Iterable[Row]) -> RowShape:
    """The shape of the rows of a plan; ``rows`` are those of the seeds.

    Raises:
        InputRefusedError: ``bad_schema``, ``unknown_column``, ``cannot_write``: what cannot be written, and why.
    """
    if seeds is None:
        schema = plan.form or _object({"prompt": {"type": "string"}, "completion": {"type": "string"}}, 1)
        return RowShape(_kind_of(_checked(schema)), schema, tuple(schema["properties"]), ())
    if seeds.kind == "kto":
        raise InputRefusedError(
            "cannot_write",
            f"{seeds.ref} has rows of kind kto: a thumb is what a person thought of an answer, and none of a model's is one",
            "Say the questions in other words (paraphrase), and have the new answers rated.",
        )
    _check_columns(plan, seeds)
    schema = _checked(plan.form) if plan.form is not None else _schema_of(plan, seeds, list(rows))
    write = tuple(schema["properties"])
    # A row about a topic is made of no seed row that it could have anything of.
    own = () if plan.topics else _kept_columns(seeds, write)
    keep = plan.keep if plan.keep is not None else own
    if twice := set(keep) & set(write):
        raise InputRefusedError("bad_plan", f"{', '.join(sorted(twice))}: both written and kept", "Choose one of them.")
    if plan.form is not None and seeds.kind == "tabular":
        kind = _kind_of(schema)
    else:
        kind = seeds.kind
        if missing := set(_WRITTEN.get(kind, ())) - set(write) - set(keep):
            raise InputRefusedError(
                "cannot_write",
                f"rows of kind {kind} need {', '.join(sorted(missing))}, which the schema does not have",
                "Add it, or leave the schema out.",
            )
    content = {"messages"} if kind == "messages" else set()
    left = tuple(c.name for c in seeds.columns if c.name not in {*write, *keep, *content, COLUMN})
    return RowShape(kind, schema, write, tuple(keep), left)


def _check_columns(plan: SynthesisPlan, seeds: DatasetVersion) -> None:
    known = {c.name for c in seeds.columns} | set(_WRITTEN.get(seeds.kind, ()))
    for name in (*plan.write, *(plan.keep or ())):
        if name not in known:
            raise InputRefusedError(
                "unknown_column", f"{seeds.ref} has no column {name!r}", f"Columns: {', '.join(sorted(known))}"
            )
    other = next((c for c in seeds.columns if c.name == COLUMN and c.type != "json"), None)
    if other is not None:
        raise InputRefusedError(
            "cannot_write",
            f"{seeds.ref} has a column {COLUMN!r} of its own, in which new rows say what made them",
            f"Rename it: llmops data select {seeds.ref} --column {COLUMN}=OTHER …",
        )


def _kept_columns(seeds: DatasetVersion, write: tuple[str, ...]) -> tuple[str, ...]:
    """What a new row has in common with its seed: what it is an example of, and what the system is told."""
    names = [label_column(seeds.columns), "system"]
    return tuple(name for name in names if name and name not in write and any(c.name == name for c in seeds.columns))


def _schema_of(plan: SynthesisPlan, seeds: DatasetVersion, rows: list[Row]) -> Schema:
    """A schema of the columns that are written, texts as long as those of the seeds or a little longer."""
    types = {c.name: c.type for c in seeds.columns}
    kind_fields = _WRITTEN.get(seeds.kind)
    if kind_fields is None:
        label = label_column(seeds.columns)
        kept = {*(plan.keep or ()), label, COLUMN, "id"}
        names = plan.write or tuple(c.name for c in seeds.columns if c.type == "text" and c.name not in kept)
    else:
        names = tuple(dict.fromkeys((*kind_fields, *plan.write)))
    if not names:
        raise InputRefusedError(
            "cannot_write", f"{seeds.ref} has no column of texts to write", "Name the columns, or give a schema."
        )
    shape = RowShape(seeds.kind, {}, names)
    examples = [found for row in rows if (found := shape.example(row)) is not None]
    properties: dict[str, Schema] = {}
    for name in names:
        kind = "text" if name in (kind_fields or ()) else types[name]
        if kind not in _JSON_TYPES:
            raise InputRefusedError(
                "cannot_write",
                f"the column {name!r} of {seeds.ref} holds JSON",
                "Give a schema that says what it holds.",
            )
        properties[name] = {"type": _JSON_TYPES[kind]}
        if kind == "text":
            longest = max((len(str(found[name])) for found in examples), default=0)
            properties[name] |= {"minLength": 1, "maxLength": min(_LONGEST, max(_SHORTEST, _LONGER * longest))}
    return _object(properties)


def _object(properties: Mapping[str, Schema], least: int = 0) -> Schema:
    made = {name: schema | ({"minLength": least} if least else {}) for name, schema in properties.items()}
    return {"type": "object", "properties": made, "required": list(made), "additionalProperties": False}


def _checked(schema: Schema) -> Schema:
    """A user's schema, where it is one of an object with properties.

    Raises:
        InputRefusedError: ``bad_schema``.
    """
    if why := unreadable(schema):
        raise InputRefusedError("bad_schema", f"the schema is not valid: {why}", "Correct it there.")
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict) or not properties:
        raise InputRefusedError(
            "bad_schema",
            "the schema is not one of an object with properties",
            "A row is an object: its columns are those.",
        )
    if COLUMN in properties:
        raise InputRefusedError("bad_schema", f"{COLUMN!r} is where a row says what made it", "Rename that property.")
    return schema


def _kind_of(schema: Schema) -> str:
    """The kind of rows that a schema describes: that whose columns are all texts in it and always there, else a table."""
    required = set(schema.get("required") or ())
    texts = {n for n, p in schema["properties"].items() if isinstance(p, dict) and p.get("type") == "string"} & required
    for kind in ("preference", "prompt-completion", "text"):
        if set(_WRITTEN[kind]) <= texts:
            return kind
    return "tabular"
