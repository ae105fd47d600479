"""Scripts and notebooks of Python as data: what their names stand for, and the arguments of calls. Nothing is run."""

from __future__ import annotations

import ast
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from llmops_tui.foreign_text import parse_json

# Methods that change the list or the mapping that they are called on.
_MUTATING = frozenset({
    "add", "append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update",
})  # fmt: skip
_TRAINING = frozenset({"train", "unsloth_train"})
# Functions that only look at what they are given, or copy it.
_LOOKING = frozenset(
    {"dict", "list", "tuple", "set", "sorted", "len", "print", "pprint", "str", "repr", "dumps", "deepcopy"}
)


class Unread(str):
    """Code in the place of a value."""

    __slots__ = ()


def source_of(text: str, ending: str) -> str:
    """The Python of a script, or of a notebook's cells."""
    if ending == ".py":
        return text
    try:
        cells = parse_json(text.encode())["cells"]
    except (ValueError, KeyError, TypeError):
        return ""
    cells = [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []
    code = ["".join(map(str, cell.get("source") or [])) for cell in cells if cell.get("cell_type") == "code"]
    # Lines that a notebook takes for itself are no Python.
    lines = [line for cell in code for line in cell.splitlines() if not line.lstrip().startswith(("!", "%"))]
    return "\n".join(lines)


def root_of(node: ast.AST) -> ast.AST:
    """What a chain of attributes, items and calls of methods begins with."""
    while True:
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        else:
            return node


def stored_in(target: ast.AST) -> Iterator[ast.AST]:
    """The places of an assignment's target, each by itself."""
    if isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            yield from stored_in(one)
    else:
        yield target.value if isinstance(target, ast.Starred) else target


class Script:
    """A parsed script: calls in their order, and what names stand for, where that can be read without running it.

    Args:
        tree: the module.
        calls: names of functions that are looked for, which a script may import under others.
    """

    def __init__(self, tree: ast.Module, calls: frozenset[str]) -> None:
        self.tree = tree
        self.nodes = list(ast.walk(tree))
        self._aliases: dict[str, str] = {}
        self._mutated: set[str] = set()
        assigned: dict[str, list[ast.expr]] = defaultdict(list)
        stores: Counter[str] = Counter()
        for node in self.nodes:
            target, value = _assignment(node)
            if target is not None and value is not None:
                assigned[target].append(value)
            if isinstance(node, ast.alias) and node.asname and node.name in calls:
                self._aliases[node.asname] = node.name
            if stored := _stored_name(node):
                stores[stored] += 1
            self._mutated |= _changed(node, calls)
        # Which of two values a name has where it is used, only running the script would tell.
        self._single = {
            name: nodes[0]
            for name, nodes in assigned.items()
            if stores[name] == len(nodes) and (len(nodes) == 1 or len({ast.dump(node) for node in nodes}) == 1)
        }
        # What another name stands for as well is changed with it.
        for name in list(self._mutated):
            while isinstance(named := self._single.get(name), ast.Name) and named.id not in self._mutated:
                self._mutated.add(name := named.id)
        for name, node in self._single.items():
            if isinstance(node, ast.Name | ast.Attribute) and (known := _last_name(node)) in calls:
                self._aliases[name] = known
        functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        self._inside = {id(one) for node in self.nodes if isinstance(node, functions) for one in ast.walk(node)}
        found = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.calls = sorted(found, key=lambda call: (call.lineno, call.col_offset))

    def called(self, node: ast.AST) -> str:
        """The name of what is called, as its library has it; empty where it is no call, or no name is called."""
        if not isinstance(node, ast.Call):
            return ""
        name = _last_name(node.func)
        return self._aliases.get(name, name)

    def trains(self, call: ast.Call) -> bool:
        """Whether a call trains where the script is at that line: one in a function may be made at any time."""
        return self.called(call) in _TRAINING and id(call) not in self._inside

    def named(self, node: ast.AST) -> str:
        """The name that a function is mentioned by, as its library has it."""
        name = _last_name(node)
        return self._aliases.get(name, name)

    def meant(self, node: ast.expr) -> ast.expr:
        """What a name was assigned, where that is one thing; all else is itself."""
        seen: set[str] = set()
        while isinstance(node, ast.Name) and node.id in self._single and node.id not in seen:
            seen.add(node.id)
            found = self._single[node.id]
            if node.id in self._mutated and isinstance(found, ast.Dict | ast.List | ast.Call | ast.BinOp):
                break
            node = found
        return node

    def mapping(self, node: ast.expr) -> Mapping[str, ast.expr] | None:
        """The entries of a mapping that is written in the script; none where it is not written, or changed later."""
        node = self.meant(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            parts = [self.mapping(node.left), self.mapping(node.right)]
        elif isinstance(node, ast.Dict):
            parts = [
                self.mapping(value)
                if key is None
                else {key.value: value}
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
                else None
                for key, value in zip(node.keys, node.values, strict=True)
            ]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
            parts = [self.mapping(one) for one in node.args]
            parts += [{one.arg: one.value} if one.arg else self.mapping(one.value) for one in node.keywords]
        else:
            return None
        found: dict[str, ast.expr] = {}
        for part in parts:
            if part is None:
                return None
            found |= part
        return found

    def value(self, node: ast.expr) -> Any:
        """The value that is written in the script, or the code in its place."""
        try:
            value = self._written(node)
            json.dumps(value)
        except (ValueError, TypeError, SyntaxError, MemoryError):
            return Unread(ast.unparse(node))
        return value

    def _written(self, node: ast.expr) -> Any:
        """A value of constants, lists and mappings; what is something else is an error of Python's own."""
        node = self.meant(node)
        entries = self.mapping(node)
        if entries is not None:
            return {key: self._written(one) for key, one in entries.items()}
        if isinstance(node, ast.List | ast.Tuple):
            return [self._written(one) for one in node.elts]
        return ast.literal_eval(node)


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else str(getattr(node, "id", ""))


def _assignment(node: ast.AST) -> tuple[str | None, ast.expr | None]:
    """The name that a statement assigns alone, and its value."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return None, None


def _stored_name(node: ast.AST) -> str:
    """The name that something is bound to, or unbound."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return node.id
    if isinstance(node, ast.arg):
        return node.arg
    return (node.asname or node.name) if isinstance(node, ast.alias) else ""


def _changed(node: ast.AST, calls: frozenset[str]) -> set[str]:
    """The names whose lists or mappings are changed in their place, or may be by a function that they are given to."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return {getattr(root_of(node), "id", "")}
    if not isinstance(node, ast.Call):
        return set()
    if isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATING:
        return {getattr(root_of(node.func), "id", "")}
    if _last_name(node.func) in calls or _last_name(node.func) in _LOOKING:
        return set()
    return {
        one.id for one in (*node.args, *(pair.value for pair in node.keywords if pair.arg)) if isinstance(one, ast.Name)
    }
