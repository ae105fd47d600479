"""Tables whose rows are canonical already, or become so by the order of their columns: what need not be read by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# Texts of each format; further columns that give a row another meaning, beside which rows are read one by one.
_TEXTS: dict[str, tuple[str, ...]] = {
    "tabular": (),
    "text": ("text",),
    "prompt-completion": ("prompt", "completion"),
    "kto": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
}
_MEANT: dict[str, frozenset[str]] = {
    "kto": frozenset({"kto_tag"}),
    "preference": frozenset({"conversations", "instruction", "system", "question", "input"}),
}


def takes_tables(form: str) -> bool:
    """Whether rows of a format may come as a table."""
    return form in _TEXTS


def canonical_table(form: str, table: pa.Table) -> pa.Table | None:
    """The table that a format's reader makes of all rows; none where it has to look at each."""
    names = list(table.column_names)
    if _MEANT.get(form, frozenset()) & set(names):
        return None
    texts = [name for name in _TEXTS[form] if name in names or not (form == "preference" and name == "prompt")]
    if not all(name in names and _is_plain_text(table[name], form) for name in texts):
        return None
    if form == "kto":
        if "label" not in names or str(table["label"].type) != "bool" or table["label"].null_count:
            return None
        texts.append("label")
    if form in {"tabular", "text"}:
        return table
    return table.select([*texts, *(name for name in names if name not in texts)])


def _is_plain_text(column: pa.ChunkedArray, form: str) -> bool:
    """Whether a column has a text in each row, none of which may be a list of messages."""
    import pyarrow.compute as pc

    if str(column.type) != "string" or column.null_count:
        return False
    return form == "text" or not pc.any(pc.starts_with(column, "[")).as_py()
