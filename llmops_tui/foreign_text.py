"""Untrusted YAML, JSON and TOML, parsed with limits on size, depth and alias expansion.

Each reader fails as the library's own does, so that whoever calls it has one kind of error for a text that is wrong and for
one that is made to take all memory or to end the interpreter.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from llmops_tui.errors import InputRefusedError
from llmops_tui.regular_files import open_given

if TYPE_CHECKING:
    from yaml import SafeLoader
    from yaml.nodes import MappingNode, Node, ScalarNode

JsonObject = dict[str, Any]
"""An untrusted object of JSON, YAML or TOML: it may have any name with any value, and no field is guaranteed.

Data with known fields is not such an object, but a record: a TypedDict, a frozen dataclass or a model.
"""

# Far more than any configuration has; data files have readers of their own.
MAX_BYTES = 20_000_000
MAX_DEPTH = 100
# Values of a YAML file with its aliases written out.
MAX_VALUES = 1_000_000
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"


def text_of(path: Path, most: int = MAX_BYTES, errors: str = "strict") -> str:
    """A file's text.

    Raises:
        InputRefusedError: ``file_too_large``.
        OSError, UnicodeDecodeError: it cannot be read, or is no UTF-8.
    """
    with open_given(path, most + 1) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise InputRefusedError(
            "file_too_large", f"{path} is larger than {most:,} bytes", "Check that it is the intended file."
        )
    return raw.decode("utf-8", errors)


def parse_json(text: str | bytes, depth: int = MAX_DEPTH, *, constants: bool = True) -> Any:
    """The value of a JSON text, nested no deeper than so many levels.

    ``constants`` takes ``NaN`` and ``Infinity`` too, which Python writes and JSON (RFC 8259) does not have.

    Raises:
        ValueError: it is none, or is nested too deep.
    """
    try:
        value = json.loads(text, parse_constant=None if constants else _refuse_constant)
    except RecursionError:
        deep = True
    else:
        deep = _deeper(value, depth)
    if deep:
        raise ValueError(f"it is nested deeper than {depth} levels")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_toml(text: str) -> JsonObject:
    """The table of a TOML text.

    Raises:
        tomllib.TOMLDecodeError: it is none, or is nested too deep.
    """
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError(_TOO_DEEP) from None


def parse_yaml(text: str, *, core: bool = False) -> Any:
    """The value of a YAML text, of plain types alone.

    A date is the text that it is written as. ``core`` reads words and numbers as YAML 1.2's core schema does, as most programs
    do that are not written in Python: ``yes`` and ``12:30`` are texts, ``1e3`` and ``010`` numbers; a date is a date there.

    Raises:
        yaml.YAMLError: it is none, is nested too deep, contains itself, or unfolds to too much.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, which looks at the whole before it makes any value of it."""

        depth = 0

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            # What messages say that a line is in.
            self.name = "the text"

        def compose_node(self, parent: Node | None, index: Any) -> Node | None:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=self.get_mark())
            try:
                return super().compose_node(parent, index)
            finally:
                self.depth -= 1

        def compose_mapping_node(self, anchor: Any) -> MappingNode:
            node: MappingNode = super().compose_mapping_node(anchor)
            _refuse_twice(node)
            return node

        def get_single_node(self) -> Node | None:
            node: Node | None = super().get_single_node()
            if node is not None:
                _measure(node, {})
            return node

    _take_plain(Loader, core=core)
    if len(text) > MAX_BYTES:
        raise yaml.YAMLError(f"it is larger than {MAX_BYTES:,} characters")
    try:
        return yaml.load(text, Loader)  # noqa: S506  a subclass of the safe one
    except yaml.YAMLError:
        raise
    except (ValueError, OverflowError, RecursionError, LookupError, AttributeError, TypeError) as error:
        # A date that is none, a number with more digits than Python reads, a tag that the text after it does not fit.
        raise yaml.YAMLError(f"a value cannot be read: {error}"[:300]) from error


def _take_plain(loader: type[SafeLoader], *, core: bool) -> None:
    """Have a loader make plain types alone, by the core schema or by YAML 1.1's."""
    for kind in ("binary", "set", "omap", "pairs"):
        loader.add_constructor(f"tag:yaml.org,2002:{kind}", _refuse_kind)
    if not core:
        kept = loader.yaml_implicit_resolvers
        loader.yaml_implicit_resolvers = {
            sign: [one for one in known if one[0] != _DATE] for sign, known in kept.items()
        }
        loader.add_constructor(_DATE, _date_text)
        return
    loader.yaml_implicit_resolvers = _core_resolvers(loader.yaml_implicit_resolvers)
    loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: _core_integer(node.value))
    loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: _core_float(node.value))


def _date_text(loader: SafeLoader, node: ScalarNode) -> str:
    """A date that is called one by its tag, which has to be one."""
    if not loader.timestamp_regexp.match(node.value):
        import yaml

        raise yaml.MarkedYAMLError(
            problem=f"{node.value!r} is no date: a value cannot be read", problem_mark=node.start_mark
        )
    return str(node.value)


def _refuse_kind(_loader: Any, node: Node) -> NoReturn:
    import yaml

    kind = node.tag.rpartition(":")[2]
    raise yaml.MarkedYAMLError(problem=f"!!{kind} is no text, number, list or mapping", problem_mark=node.start_mark)


_DATE = "tag:yaml.org,2002:timestamp"
_CORE = {
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    "int": (re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), "-+0123456789"),
    "float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        "-+0123456789.",
    ),
}


def _core_resolvers(
    usual: dict[str, list[tuple[str, re.Pattern[str]]]],
) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """How plain words are read in the core schema: dates as ever, numbers and truth otherwise."""
    tags = {f"tag:yaml.org,2002:{name}" for name in _CORE}
    found = {first: [pair for pair in pairs if pair[0] not in tags] for first, pairs in usual.items()}
    for name, (pattern, firsts) in _CORE.items():
        for first in firsts:
            found.setdefault(first, []).append((f"tag:yaml.org,2002:{name}", pattern))
    return found


def _core_integer(text: str) -> int:
    return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)


def _core_float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _refuse_twice(node: MappingNode) -> None:
    """Refuse a key that occurs twice in one mapping, of whose values one would be lost."""
    import yaml

    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        # A mapping may take in several others by "<<".
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, key.value) in seen:
                told = f"the key {key.value[:60]!r} occurs twice"
                raise yaml.MarkedYAMLError(problem=told, problem_mark=key.start_mark)
            seen.add((key.tag, key.value))


def _measure(node: Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many values a node has with its aliases written out, and how deep they are nested."""
    import yaml

    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise yaml.MarkedYAMLError(problem="it contains itself", problem_mark=node.start_mark)
        return found
    known[id(node)] = None
    count, depth = 1, 0
    parts = [] if isinstance(node.value, str) else node.value
    for one in parts:
        for part in one if isinstance(one, tuple) else (one,):
            inside, below = _measure(part, known)
            count, depth = count + inside, max(depth, below)
        if count > MAX_VALUES or depth >= MAX_DEPTH:
            told = _TOO_DEEP if depth >= MAX_DEPTH else f"its aliases expand to more than {MAX_VALUES:,} values"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=node.start_mark)
    known[id(node)] = (count, depth + 1)
    return count, depth + 1


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects of a value are nested deeper than so many levels."""
    inside = [value]
    for _ in range(levels):
        inside = [
            part
            for one in inside
            if isinstance(one, dict | list)
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        if not inside:
            return False
    return any(isinstance(one, dict | list) for one in inside)
