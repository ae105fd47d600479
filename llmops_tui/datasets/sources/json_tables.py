"""Blocks of JSON Lines read at once into typed columns, where they hold nothing that only the reading by line can judge.

The reading by line is the measure. A block becomes a table only where it gives the same rows, none of which is refused:
each line is one object of texts, numbers and truth values, of lists of texts, and of conversations whose turns have texts
alone, each field of one type. Of any other block there is no table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from llmops_tui.datasets.arrow_arrays import are_there, numbers_of
from llmops_tui.datasets.column_types import EXACT
from llmops_tui.datasets.parts import MAX_COLUMNS
from llmops_tui.datasets.records import Row, Type

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pyarrow as pa

# Below this it is not worth to load pyarrow.
BULK_BYTES = 2 << 20
_HEAD_LINES = 64
_SAMPLES = 16
_BLOCK_BYTES = 1 << 20
_LINE_END, _RETURN, _OPENED, _CLOSED = b"\n\r{}"
# pyarrow 26 reads a null behind an object as its next row, and ends the process.
_NULL_BEHIND = re.compile(rb"\}\s*null")


def read_table(
    data: bytes, known: dict[str, Type], parse: Callable[[bytes], Row], turns: Collection[str] = ()
) -> pa.Table | None:
    """The lines of a block, which ends with a line, as a table of a row each; none where they are to be read by line.

    ``known`` has the types of columns in the blocks of the same file before, and takes those of this one; ``parse`` reads
    one line, and raises ValueError where it is refused. Columns in ``turns`` may be lists of objects, whose fields have
    no order in the table; a field that is not there has no value.
    """
    lines = data.count(b"\n")
    null = b"null" in data
    if not (_each_an_object(data, lines) and is_unicode(data)) or (null and _NULL_BEHIND.search(data)):
        return None
    told = _types_of(data, known, parse, turns)
    if told is None:
        return None
    types, seen, shapes = told
    import pyarrow as pa
    import pyarrow.json

    arrow = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "": pa.null()}
    lists = {
        name: pa.list_(pa.struct([(key, pa.string()) for key in keys]) if keys else pa.string())
        for name, keys in shapes.items()
    }
    schema = pa.schema([(name, lists[name] if name in lists else arrow[kind]) for name, kind in types.items()])
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(pa.py_buffer(data)),
            # Our own threads do other things meanwhile, and a thread more costs more than it gives.
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except pa.ArrowException:
        return None
    if null and any(_null_within(table[name]) for name in lists):
        # What is null and what is not there look the same.
        return None
    numbers = [name for name, kind in types.items() if kind == "number"]
    if table.num_rows != lines or not all(_exact(table[name], seen=name in seen) for name in numbers):
        return None
    known.update({name: kind for name, kind in types.items() if kind and table[name].null_count < lines})
    return table


def _null_within(column: pa.ChunkedArray) -> bool:
    """Whether any text inside of lists, or of the objects in them, has no value."""
    import pyarrow as pa

    for chunk in column.chunks:
        items = chunk.flatten()
        inner = items.flatten() if pa.types.is_struct(items.type) else []
        if items.null_count or any(texts.null_count for texts in inner):
            return True
    return False


def _each_an_object(data: bytes, lines: int) -> bool:
    """Whether each line begins and ends as an object: a line that holds two has one row too many then."""
    import numpy as np

    if data[:1] != b"{" or data[-1:] != b"\n":
        return False
    signs = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(signs == _LINE_END)
    if len(ends) != lines or not (signs[ends[:-1] + 1] == _OPENED).all():
        return False
    last = signs[ends - 1]
    # A line that ends as Windows has it is longer than this sign.
    behind = np.where(last == _RETURN, signs[ends - 2], last)
    return bool((behind == _CLOSED).all())


def is_unicode(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _types_of(
    data: bytes, known: dict[str, Type], parse: Callable[[bytes], Row], turns: Collection[str]
) -> tuple[dict[str, Type | Literal[""]], set[str], dict[str, list[str]]] | None:
    """The type of each field by some of the rows, empty where none has a value; none where they are of mixed types.

    A row that was not looked at and says otherwise is found by the reading. The second are fields that have a decimal
    number in one of these rows, the third what the turns of each column of lists have, nothing where they are texts.
    """
    try:
        first = [parse(raw) for raw in _first_lines(data)]
        further = [parse(raw) for raw in _lines_between(data)]
    except ValueError:
        return None
    # In the order in which they occur; what occurs first behind these lines is not known, and its block is read by line.
    found: dict[str, set[type]] = {name: set() for row in first for name in row}
    later = {name for row in further for name in row} - found.keys()
    if len(found) > MAX_COLUMNS or not found or not later <= known.keys():
        return None
    found |= {name: set() for name in known if name not in found}
    for row in (*first, *further):
        for name, value in row.items():
            found[name].add(type(value))
    types: dict[str, Type | Literal[""]] = {}
    shapes: dict[str, list[str]] = {}
    for name, kinds in found.items():
        kind = _type_of(kinds - {type(None)}, known.get(name))
        if kind == "json":
            shape = _shape_of([row[name] for row in (*first, *further) if row.get(name)], turns=name in turns)
            if shape is None:
                return None
            shapes[name] = shape
        if kind is None:
            return None
        types[name] = kind
    return types, {name for name, kinds in found.items() if float in kinds}, shapes


def _shape_of(lists: list[list[Any]], *, turns: bool) -> list[str] | None:
    """The fields of turns, none of them where all items are texts; nothing where they are something else."""
    items = [item for items in lists for item in items]
    if not turns:
        return [] if set(map(type, items)) <= {str} else None
    if set(map(type, items)) != {dict}:
        return None
    values = {type(value) for item in items for value in item.values()}
    return list({name: None for item in items for name in item}) if values <= {str, type(None)} else None


def _type_of(kinds: set[type], before: Type | None) -> Type | Literal[""] | None:
    if not kinds:
        return before if before and before != "json" else ""
    if kinds == {str}:
        return "text"
    if kinds == {bool}:
        return "boolean"
    if kinds == {list}:
        return "json"
    if kinds == {int}:
        return "number" if before == "number" else "integer"
    return "number" if kinds in ({float}, {int, float}) else None


def _first_lines(data: bytes) -> list[bytes]:
    end = -1
    for _ in range(_HEAD_LINES):
        begin, end = end, data.find(b"\n", end + 1)
        if end < 0:
            end = begin
            break
    return data[: end + 1].split(b"\n")[:-1]


def _lines_between(data: bytes) -> list[bytes]:
    """Some lines from all over a block."""
    found = []
    for at in range(1, _SAMPLES):
        begin = data.find(b"\n", at * len(data) // _SAMPLES) + 1
        if 0 < begin < len(data):
            found.append(data[begin : data.find(b"\n", begin)])
    return found


def _exact(column: pa.ChunkedArray, *, seen: bool) -> bool:
    """Whether numbers are what the reading by line makes of them: it knows no NaN, integers beyond a double, and no -0.

    Where no decimal number was ``seen`` yet, there must be one: else they all may be integers.
    """
    import numpy as np

    for chunk in column.chunks:
        values = numbers_of(chunk)[are_there(chunk)]
        # An integer beyond this may have become this.
        if not (np.abs(values) < EXACT).all() or (np.signbit(values) & (values == 0)).any():
            return False
        seen = seen or bool((values != np.floor(values)).any())
    return seen
