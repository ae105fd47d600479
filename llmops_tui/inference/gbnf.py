"""llama.cpp's grammars (GBNF), converted to the Lark dialect of llguidance.

What does not refer to itself becomes one regular expression, and means exactly what it meant. Rules that refer to
themselves stay rules, and the stretches between such references become expressions that are read as far as they go.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmops_tui.inference.gbnf_reader import Node, Reader, cannot_be_held

# How many parentheses go into each other before what is in them gets a name. llguidance takes thirty.
_NESTED = 20


def gbnf_to_lark(text: str) -> str:
    """The same grammar in Lark's syntax, without options.

    Raises:
        InputRefusedError: ``grammar_invalid``; the message names the line.
    """
    reader = Reader(text)
    rules = reader.rules()
    if "root" not in rules:
        raise cannot_be_held("it has no rule named root")
    for name, rule in rules.items():
        missing = next((n for n in _references(rule) if n not in rules), None)
        if missing is not None:
            told = f"the rule {name[:40]!r} in line {reader.line_of(name)} names {missing[:40]!r}, which is not defined"
            raise cannot_be_held(told)
    if (endless := _endless(rules)) is not None:
        told = f"the rule {endless[:40]!r} in line {reader.line_of(endless)} allows no finite text"
        raise cannot_be_held(f"{told}: every way through it leads to itself again")
    return _Writer(rules).lark()


def _references(node: Node) -> Iterator[str]:
    if node.kind == "ref":
        yield node.text
    for part in node.parts:
        yield from _references(part)


def _endless(rules: dict[str, Node]) -> str | None:
    """A rule in use that every text of it contains again; none where all allow text that ends."""
    finite = _finite(rules)
    name = next((name for name in _reached(rules) if name not in finite), None)
    passed: set[str] = set()
    # What allows no finite text needs another such rule, so this comes around.
    while name is not None and name not in passed:
        passed.add(name)
        name = next(other for other in _references(rules[name]) if other not in finite)
    return name


def _finite(rules: dict[str, Node]) -> set[str]:
    """The rules that allow some finite text. Takes time in proportion to the grammar: each node is found once."""
    # Of each node that is not found yet: what it is a part of, and how many of its parts it still needs.
    above: dict[int, Node | str] = {}
    needs: dict[int, int] = {}
    waiting: dict[str, list[Node]] = {name: [] for name in rules}
    ready: list[Node] = []
    unseen: list[tuple[Node, Node | str]] = [(rule, name) for name, rule in rules.items()]
    while unseen:
        node, owner = unseen.pop()
        above[id(node)] = owner
        unseen += [(part, node) for part in node.parts]
        needs[id(node)] = _needed(node)
        if node.kind == "ref":
            waiting[node.text].append(node)
        elif needs[id(node)] == 0:
            ready.append(node)
    found: set[str] = set()
    while ready:
        owner = above[id(ready.pop())]
        if isinstance(owner, str):
            if owner not in found:
                found.add(owner)
                ready += waiting[owner]
            continue
        needs[id(owner)] -= 1
        if needs[id(owner)] == 0:
            ready.append(owner)
    return found


def _needed(node: Node) -> int:
    """How many of its parts must allow finite text, so that the node does."""
    if node.kind == "all":
        return len(node.parts)
    return int(node.kind == "any" or (node.kind == "times" and node.low > 0))


class _Writer:
    """Writes rules as Lark: terminals (upper case) for what is regular, rules for what refers to itself."""

    def __init__(self, rules: dict[str, Node]) -> None:
        self._rules = rules
        self._numbers = {name: n for n, name in enumerate(rules)}
        self._regular = _regular(rules)
        self._stretches: list[str] = []
        self._pieces: list[str] = []
        self._depth = 0

    def lark(self) -> str:
        lines = []
        for name in _reached(self._rules):
            rule = self._rules[name]
            lines.append(f"{self._called(name)}: {self._expression(rule)}")
        lines += [f"p{n}: {body}" for n, body in enumerate(self._pieces)]
        lines += [f"S{n}: {body}" for n, body in enumerate(self._stretches)]
        return "\n".join([f"start: {self._called('root')}", *lines]) + "\n"

    def _called(self, name: str) -> str:
        # Neither the case nor the signs of a name mean anything here.
        return f"{'T' if name in self._regular else 'r'}{self._numbers[name]}"

    def _is_regular(self, node: Node) -> bool:
        return all(name in self._regular for name in _references(node))

    def _expression(self, node: Node) -> str:
        if node.kind == "text":
            return node.text
        if node.kind == "ref":
            return self._called(node.text)
        if self._depth == _NESTED:
            return self._apart(node)
        self._depth += 1
        written = self._composed(node)
        self._depth -= 1
        return written

    def _apart(self, node: Node) -> str:
        """A terminal or rule of its own for what nests too deep."""
        depth, self._depth = self._depth, 0
        body = self._expression(node)
        self._depth = depth
        if self._is_regular(node):
            return self._terminal(body)
        self._pieces.append(body)
        return f"p{len(self._pieces) - 1}"

    def _composed(self, node: Node) -> str:
        if node.kind == "any":
            return f"({' | '.join(map(self._expression, node.parts))})"
        if node.kind == "times":
            return self._repeated(node)
        if self._is_regular(node):
            return f"({' '.join(map(self._expression, node.parts))})" if node.parts else '""'
        return f"({' '.join(self._stretched(node.parts))})"

    def _repeated(self, node: Node) -> str:
        if node.high == 0:
            return '""'
        return f"({self._expression(node.parts[0])}){{{node.low},{'' if node.high is None else node.high}}}"

    def _stretched(self, parts: list[Node]) -> Iterator[str]:
        """The parts of a sequence; neighbours that are regular become one terminal."""
        stretch: list[str] = []
        for part in parts:
            if self._is_regular(part):
                stretch.append(self._expression(part))
                continue
            if stretch:
                yield self._terminal(" ".join(stretch))
                stretch = []
            yield self._expression(part)
        if stretch:
            yield self._terminal(" ".join(stretch))

    def _terminal(self, body: str) -> str:
        self._stretches.append(body)
        return f"S{len(self._stretches) - 1}"


def _regular(rules: dict[str, Node]) -> set[str]:
    """The rules from which no way leads back to themselves or to another that refers to itself."""
    waiting = {name: set(_references(rule)) for name, rule in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, used in waiting.items():
        for other in used:
            users[other].append(name)
    ready = [name for name, used in waiting.items() if not used]
    found: set[str] = set()
    while ready:
        name = ready.pop()
        found.add(name)
        for user in users[name]:
            waiting[user].discard(name)
            if not waiting[user]:
                ready.append(user)
    return found


def _reached(rules: dict[str, Node]) -> list[str]:
    """The rules that are used, from the root on."""
    found = ["root"]
    seen = {"root"}
    for name in found:
        for other in _references(rules[name]):
            if other not in seen:
                seen.add(other)
                found.append(other)
    return found
