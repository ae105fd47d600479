"""Count ``dict[str, Any]`` in the signatures of the engine: records without a type, by room or one by one.

``Mapping[str, Any]`` is the same under another name, and counts as well. A name that a module gives to either, such as
``Row = dict[str, Any]``, is told beside them with how often it stands in a signature: it is for JSON whose fields are a
user's or another program's, and not for a record of ours.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ANY_JSON = ("dict[str, Any]", "Mapping[str, Any]")


def _trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _signatures(folder: Path) -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef, list[str]]]:
    """Each function of a folder, with its annotations as text."""
    for path, tree in _trees(folder):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                a = node.args
                every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
                yield (
                    path,
                    node,
                    [ast.unparse(each) for each in (*(arg.annotation for arg in every), node.returns) if each],
                )


def untyped(folder: Path) -> Iterator[tuple[Path, int, str, int]]:
    """Each function of a folder with such a signature: its file, line and name, and how often it stands there."""
    for path, node, told in _signatures(folder):
        # The end of "Mapping[str, Any]" is none of "dict[str, Any]".
        count = sum(text.count(kind) for text in told for kind in ANY_JSON)
        if count:
            yield path, node.lineno, node.name, count


def named(folder: Path) -> Counter[str]:
    """The names that modules of a folder give to any JSON object, with how often each stands in a signature."""
    assigned = [
        (target.id, ast.unparse(node.value))
        for _, tree in _trees(folder)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    names = {name for name, value in assigned if value in ANY_JSON}
    while more := {name for name, value in assigned if value in names} - names:
        names |= more
    counts = Counter(dict.fromkeys(names, 0))
    for _, _, told in _signatures(folder):
        for text in told:
            counts.update(word for word in re.findall(r"\w+", text) if word in names)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="llmops_tui", help="where to look, from the checkout's root")
    parser.add_argument("--each", action="store_true", help="name each function")
    options = parser.parse_args()
    rooms: Counter[str] = Counter()
    for path, line, name, count in untyped(ROOT / options.folder):
        inside = path.relative_to(ROOT)
        rooms["/".join(inside.parts[:2])] += count
        if options.each:
            print(f"{inside}:{line} {name} {count}")
    for room, count in rooms.most_common():
        print(f"{count:5} {room}")
    print(f"{rooms.total():5} {options.folder}")
    for name, count in named(ROOT / options.folder).most_common():
        print(f"{count:5} by the name {name}")


if __name__ == "__main__":
    main()
