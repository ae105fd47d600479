"""The values of Arrow's types as rows have them: each is the right value, or its type is refused by name."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.arrow_arrays import are_there, numbers_of
from llmops_tui.datasets.records import Row, load_whole_json
from llmops_tui.json_values import of_bytes

if TYPE_CHECKING:
    import pyarrow as pa

# So many digits of a decimal number are a number's own: writing it again gives the same decimal.
EXACT_DIGITS = 15
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class TypeRefusedError(ValueError):
    """A type whose values have no place in a row; the text says which."""


def values_of(array: pa.Array) -> list[Any]:
    """The values of an array, with nothing for each that is missing.

    Moments are ISO 8601 texts with all their digits, those of a zone in UTC; durations are ISO 8601 texts; decimals are
    numbers where their type has at most 15 digits, integers where it has no fraction, and else texts; bytes are texts
    where they are UTF-8, and else base64; maps are objects, or lists of keys and values.

    Raises:
        TypeRefusedError: there is no such value.
    """
    import pyarrow as pa

    kind = array.type
    for fits, read in _READERS:
        if fits(pa.types)(kind):
            return read(array)
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(array)
    raise TypeRefusedError(f"the type {kind} cannot be read")


def json_values(array: pa.Array) -> list[Any]:
    """The values of texts that are JSON."""
    return [None if text is None else _of_json(text) for text in storage_of(array).to_pylist()]


def _of_json(text: str) -> Any:
    try:
        return load_whole_json(text)
    except ValueError as error:
        return Refused(f"is JSON that cannot be read: {error}")


def storage_of(array: pa.Array) -> pa.Array:
    """The array itself, or what an array of an extension type stores."""
    import pyarrow as pa

    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array


def told_of(name: str, kind: pa.DataType) -> str:
    """What a person should know of how a column of this type is read; nothing where it is as expected."""
    import pyarrow as pa

    if pa.types.is_decimal(kind) and kind.scale > 0 and kind.precision > EXACT_DIGITS:
        return f"{name!r} holds decimals of up to {kind.precision} digits, more than a number keeps: they are read as texts"
    if pa.types.is_timestamp(kind) and kind.tz not in {None, "UTC", "Etc/UTC", "+00:00"}:
        return f"the moments of {name!r} in {kind.tz} are written in UTC"
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return told_of(name, kind.value_type)
    return ""


def _plain(array: pa.Array) -> list[Any]:
    made: list[Any] = array.to_pylist()
    return made


def _decimals(array: pa.Array) -> list[Any]:
    kind = array.type
    if kind.scale <= 0:
        return [None if v is None else int(v) for v in array.to_pylist()]
    made = float if kind.precision <= EXACT_DIGITS else "{:f}".format
    return [None if v is None else made(v) for v in array.to_pylist()]


def _timestamps(array: pa.Array) -> list[Any]:
    zone = "" if array.type.tz is None else "+00:00"
    return _moments(array, array.type.unit, zone)


def _dates(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    return _moments(array.cast(pa.date32()).view(pa.int32()), "D", "", date=True)


def _moments(array: pa.Array, unit: str, zone: str, *, date: bool = False) -> list[Any]:
    """Moments as texts, in any year: numpy writes them, which also knows those before the year 1 and after 9999."""
    import pyarrow as pa

    numbers = array if date else array.view(pa.int64())
    raw = np.where(are_there(numbers), numbers_of(numbers), 0).astype("i8")
    moments: npt.NDArray[np.datetime64] = raw.view(f"M8[{unit}]")
    texts = np.datetime_as_string(moments).tolist()
    there = array.is_valid().to_pylist()
    made = texts if date else [_short(text) + zone for text in texts]
    return [text if valid else None for text, valid in zip(made, there, strict=True)]


def _short(text: str) -> str:
    """A moment without the digits that say nothing: no fraction, or 6 digits, or 9."""
    whole, _, fraction = text.partition(".")
    return whole + _fraction(fraction)


def _fraction(digits: str) -> str:
    digits = digits.rstrip("0")
    return f".{digits.ljust(6 if len(digits) <= 6 else 9, '0')}" if digits else ""


def _times(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    per = _UNITS[array.type.unit]
    width = pa.int32() if pa.types.is_time32(array.type) else pa.int64()
    made: list[Any] = []
    for count in array.view(width).to_pylist():
        if count is None:
            made.append(None)
            continue
        seconds, rest = divmod(count, per)
        digits = str(rest).zfill(len(str(per)) - 1) if per > 1 else ""
        made.append(f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{_fraction(digits)}")
    return made


def _durations(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    per = _UNITS[array.type.unit]
    return [None if n is None else _iso_duration(n, per) for n in array.view(pa.int64()).to_pylist()]


def _iso_duration(count: int, per: int) -> str:
    """A duration in seconds as ISO 8601 has it, such as ``PT1.5S``."""
    seconds, rest = divmod(abs(count), per)
    digits = str(rest).zfill(len(str(per)) - 1).rstrip("0") if per > 1 else ""
    return f"{'-' * (count < 0)}PT{seconds}{'.' + digits if digits else ''}S"


def _intervals(array: pa.Array) -> list[Any]:
    return [
        None if v is None else f"P{v.months}M{v.days}DT{_iso_duration(v.nanoseconds, 10**9).replace('PT', '')}"
        for v in array.to_pylist()
    ]


def _bytes(array: pa.Array) -> list[Any]:
    return [None if v is None else of_bytes(v) for v in array.to_pylist()]


def _lists(array: pa.Array) -> list[Any]:
    import pyarrow.compute as pc

    inner = iter(_nested(array.flatten()))
    lengths = pc.list_value_length(array).to_pylist()
    return [None if n is None else [next(inner) for _ in range(n)] for n in lengths]


def _structs(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    if len(set(names)) < len(names):
        raise TypeRefusedError(f"the type {array.type} has two fields of one name")
    columns = [_nested(child) for child in array.flatten()]
    there = array.is_valid().to_pylist()
    rows = zip(*columns, strict=True) if columns else ((),) * len(there)
    return [dict(zip(names, row, strict=True)) if valid else None for row, valid in zip(rows, there, strict=True)]


def _maps(array: pa.Array) -> list[Any]:
    """Objects where the keys are texts that each occur once; else lists of objects with ``key`` and ``value``."""
    import pyarrow as pa

    kind = array.type
    pairs = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
    lists = _lists(array.cast(pa.list_(pairs)))
    if not (pa.types.is_string(kind.key_type) or pa.types.is_large_string(kind.key_type)):
        return lists
    return [_object(entries) for entries in lists]


def _object(entries: list[Row] | None) -> Any:
    if entries is None:
        return None
    made = {entry["key"]: entry["value"] for entry in entries}
    return made if len(made) == len(entries) else entries


def _nested(array: pa.Array) -> list[Any]:
    """The values inside lists and objects, where no number may be one that JSON does not have."""
    import pyarrow as pa

    made = values_of(array)
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_floating(kind) and not all(v is None or math.isfinite(v) for v in made):
        # Seen where the row is made, which is then refused.
        return [NOT_FINITE if v is not None and not math.isfinite(v) else v for v in made]
    return made


@dataclass(frozen=True)
class Refused:
    """Stands for a value that no row can hold, and says why."""

    reason: str


NOT_FINITE = Refused("has NaN or infinity inside, which lists and objects of JSON cannot hold")


def refused_in(value: Any) -> Refused | None:
    """What is refused of a value, or inside a list or an object."""
    if isinstance(value, (list, dict)):
        inside = value if isinstance(value, list) else value.values()
        return next((found for item in inside if (found := refused_in(item)) is not None), None)
    return value if isinstance(value, Refused) else None


def _dictionary(array: pa.Array) -> list[Any]:
    return values_of(array.dictionary_decode())


def _run_ends(array: pa.Array) -> list[Any]:
    import pyarrow.compute as pc

    return values_of(pc.run_end_decode(array))


def _extension(array: pa.Array) -> list[Any]:
    name = getattr(array.type, "extension_name", "")
    if name == "arrow.json":
        return json_values(array)
    if name == "arrow.uuid":
        return [None if v is None else str(uuid.UUID(bytes=v)) for v in array.storage.to_pylist()]
    return values_of(array.storage)


def _any_of(*names: str) -> Callable[[Any], Callable[[pa.DataType], bool]]:
    def of(types: Any) -> Callable[[pa.DataType], bool]:
        tests = [getattr(types, f"is_{name}") for name in names if hasattr(types, f"is_{name}")]
        return lambda kind: any(test(kind) for test in tests)

    return of


_READERS: tuple[tuple[Callable[[Any], Callable[[pa.DataType], bool]], Callable[[pa.Array], list[Any]]], ...] = (
    (_any_of("null", "boolean", "integer", "floating", "string", "large_string", "string_view"), _plain),
    (_any_of("timestamp"), _timestamps),
    (_any_of("date"), _dates),
    (_any_of("time"), _times),
    (_any_of("duration"), _durations),
    (_any_of("interval"), _intervals),
    (_any_of("decimal"), _decimals),
    (_any_of("binary", "large_binary", "fixed_size_binary", "binary_view"), _bytes),
    (_any_of("map"), _maps),
    (_any_of("list", "large_list", "fixed_size_list", "list_view", "large_list_view"), _lists),
    (_any_of("struct"), _structs),
    (_any_of("dictionary"), _dictionary),
    (_any_of("run_end_encoded"), _run_ends),
)


def told_renamed(given: Sequence[str], made: Sequence[str]) -> str:
    """What is told of columns that :func:`unique` gave another name; nothing where there is none."""
    renamed = [new for new, old in zip(made, given, strict=True) if new != old]
    return f"columns without a name of their own: {', '.join(renamed)}" if renamed else ""


def unique(names: Iterator[str] | list[str]) -> list[str]:
    """The names of columns, each once: an empty or repeated one gets its number behind it."""
    seen: set[str] = set()
    out = []
    for index, name in enumerate(names, 1):
        made = name if name and name not in seen else f"{name or 'column'}_{index}"
        seen.add(made)
        out.append(made)
    return out
