"""Count ``dict[str, Any]`` in the signatures of the engine: records without a type, by room or one by one.

``Mapping[str, Any]`` is the same under another name, and counts as well.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def untyped(folder: Path) -> Iterator[tuple[Path, int, str, int]]:
    """Each function of a folder with such a signature: its file, line and name, and how often it stands there."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                a = node.args
                every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
                told = [ast.unparse(each) for each in (*(arg.annotation for arg in every), node.returns) if each]
                count = sum(text.count(f"{kind}[str, Any]") for text in told for kind in ("dict", "Mapping"))
                if count:
                    yield path, node.lineno, node.name, count


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


if __name__ == "__main__":
    main()
