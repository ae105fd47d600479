"""Tables whose rows are canonical already, or become so by the order of their columns: what need not be read by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_tui.datasets.arrow_arrays import text_array
from llmops_tui.datasets.arrow_json import conversation_texts, list_texts
from llmops_tui.datasets.arrow_tables import JSON_TEXT
from llmops_tui.datasets.formats.sharegpt import ROLE_OF
from llmops_tui.datasets.sources.base import TurnFields

if TYPE_CHECKING:
    import pyarrow as pa

# Texts of each format; further columns that give a row another meaning, beside which rows are read one by one.
_TEXTS: dict[str, tuple[str, ...]] = {
    "tabular": (),
    "text": ("text",),
    "prompt-completion": ("prompt", "completion"),
    "kto": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "messages": (),
    "sharegpt": (),
}
_MEANT: dict[str, frozenset[str]] = {
    "kto": frozenset({"kto_tag"}),
    "preference": frozenset({"conversations", "instruction", "system", "question", "input", "messages"}),
    "messages": frozenset({"tools"}),
    "sharegpt": frozenset({"tools", "system", "messages"}),
}
_NONE: frozenset[str] = frozenset()
# The column of turns, and what is in them.
_TURNS: dict[str, tuple[str, TurnFields]] = {
    "messages": ("messages", TurnFields("role", "content", {}, _NONE, _MEANT["messages"])),
    "sharegpt": (
        "conversations",
        TurnFields("from", "value", ROLE_OF, frozenset({"function_call"}), _MEANT["sharegpt"]),
    ),
}


def takes_tables(form: str) -> bool:
    """Whether rows of a format may come as a table."""
    return form in _TEXTS


def turns_of(form: str) -> dict[str, TurnFields]:
    """The columns of a format that may be conversations in a table, and what their turns have."""
    return dict([_TURNS[form]] if form in _TURNS else ())


def canonical_table(form: str, table: pa.Table) -> pa.Table | None:
    """The table that a format's reader makes of all rows; none where it has to look at each."""
    names = list(table.column_names)
    if _MEANT.get(form, frozenset()) & set(names):
        return None
    if form in _TURNS:
        return _conversations(form, table)
    texts = [name for name in _TEXTS[form] if name in names or not (form == "preference" and name == "prompt")]
    if not all(name in names and _is_plain_text(table[name], form) for name in texts):
        return None
    if form == "kto":
        if "label" not in names or str(table["label"].type) != "bool" or table["label"].null_count:
            return None
        texts.append("label")
    if form not in {"tabular", "text"}:
        table = table.select([*texts, *(name for name in names if name not in texts)])
    return _lists_as_texts(table)


def _conversations(form: str, table: pa.Table) -> pa.Table | None:
    import pyarrow as pa

    name, fields = _TURNS[form]
    if name not in table.column_names:
        return None
    at = table.column_names.index(name)
    if table.schema.field(at).metadata == JSON_TEXT:
        # They were read as canonical JSON.
        texts: pa.ChunkedArray | None = table[name]
    else:
        texts = _conversation_column(table[name], fields)
    rest = _lists_as_texts(table.remove_column(at)) if texts is not None else None
    field = pa.field("messages", pa.string(), metadata=JSON_TEXT)
    return None if rest is None else rest.add_column(0 if form == "sharegpt" else at, field, texts)


def _conversation_column(turns: pa.ChunkedArray, fields: TurnFields) -> pa.ChunkedArray | None:
    import pyarrow as pa

    if not str(turns.type).startswith("list<item: struct<"):
        return None
    if fields.roles and (
        turns.type.value_type.num_fields > 2 or any(_says(turns, fields.who, r) for r in fields.refused)
    ):
        return None
    made = [conversation_texts(chunk, fields.who, fields.what, fields.roles) for chunk in turns.chunks]
    return None if any(chunk is None for chunk in made) else pa.chunked_array(made, pa.string())


def _says(turns: pa.ChunkedArray, who: str, role: str) -> bool:
    import pyarrow.compute as pc

    found: list[Any] = [
        pc.any(pc.equal(chunk.flatten().field(who), text_array([role])[0])).as_py() for chunk in turns.chunks
    ]
    return any(found)


def _lists_as_texts(table: pa.Table) -> pa.Table | None:
    """A table whose lists of texts are JSON."""
    import pyarrow as pa

    for at, field in enumerate(table.schema):
        if str(field.type).startswith("list<"):
            made = [list_texts(chunk) for chunk in table[field.name].chunks]
            if any(chunk is None for chunk in made):
                return None
            column = pa.chunked_array(made, pa.string())
            table = table.set_column(at, pa.field(field.name, pa.string(), metadata=JSON_TEXT), column)
    return table


def _is_plain_text(column: pa.ChunkedArray, form: str) -> bool:
    """Whether a column has a text in each row, none of which may be a list of messages."""
    import pyarrow.compute as pc

    if str(column.type) != "string" or column.null_count:
        return False
    return form == "text" or not pc.any(pc.starts_with(column, "[")).as_py()
