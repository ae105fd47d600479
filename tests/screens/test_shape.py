"""The shape of the face: who knows whom is held by the import contracts, and here what no import shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import screens

FACE = Path(str(screens.__file__)).parent
# ``Screen[None]``, ``BaseScreen``, ``TraceScreen | None``; a dialog is asked for an answer and is no place to reach into.
SCREEN = re.compile(r"\b\w*Screen\b")

# Textual's own, which it calls with one; what they are is said again here.
TEXTUALS = {"_display", "_load_screen_css"}


def screens_taken(module: ast.Module) -> Iterator[str]:
    """Functions of a module that take a screen, by the types or the names of their arguments."""
    for node in ast.walk(module):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            and getattr(node, "name", "") not in TEXTUALS
        ):
            named = node.args
            for argument in (*named.posonlyargs, *named.args, *named.kwonlyargs):
                said = ast.unparse(argument.annotation) if argument.annotation is not None else ""
                if SCREEN.search(said) or (argument.arg == "screen" and said not in {"str", "type[str]"}):
                    yield f"{getattr(node, 'name', 'lambda')}({argument.arg})"


@cache
def modules() -> dict[str, ast.Module]:
    """All modules of the face, by their names."""
    return {
        ".".join(path.relative_to(FACE.parent).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(FACE.rglob("*.py"))
    }


def test_no_function_takes_a_screen() -> None:
    found = {name: taken for name, module in modules().items() if (taken := list(screens_taken(module)))}
    assert found == {}


class Flows:
    """Which functions of some modules show a dialog on their way, as far as the texts tell: by themselves, or by what they call.

    What is begun as an act of its own is not on the way.
    """

    SHOWS = frozenset({"ask", "push_screen", "push_screen_wait"})
    BEGINS = frozenset({"act", "ask_by", "run_worker"})

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self._calls: dict[str, set[str]] = {}
        # How it is begun, where, what it is by name, and the function whose arguments it may be.
        self._acts: list[tuple[str, str, set[str], str]] = []
        self._given: dict[str, set[str]] = {}
        self._imports: dict[str, dict[str, str]] = {}
        self._bases: dict[str, list[str]] = {}
        for module, tree in trees.items():
            self._imports[module] = {
                alias.asname or alias.name: f"{node.module}.{alias.name}"
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module
                for alias in node.names
            }
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    self._bases[f"{module}.{node.name}"] = [
                        self._named(module, base.value if isinstance(base, ast.Subscript) else base)
                        for base in node.bases
                    ]
        for module, tree in trees.items():
            for node in tree.body:
                for function in node.body if isinstance(node, ast.ClassDef) else [node]:
                    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                        self._read(module, f"{module}.{node.name}" if isinstance(node, ast.ClassDef) else "", function)

    def _named(self, module: str, node: ast.expr) -> str:
        name = ast.unparse(node)
        return self._imports[module].get(name, f"{module}.{name}")

    def _read(self, module: str, owner: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        here = f"{owner or module}.{function.name}"
        begun: set[ast.AST] = set()
        assigned: dict[str, set[str]] = {}
        for node in ast.walk(function):
            # A name for a function, such as one of two; what a call gave is none.
            named = isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute | ast.IfExp)
            if named and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, set()).update(self._called(module, owner, node.value))
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in self.BEGINS:
                begun.update(one for argument in node.args for one in ast.walk(argument))
                what = {name for argument in node.args for name in self._called(module, owner, argument)}
                variables = {
                    one.id for argument in node.args for one in ast.walk(argument) if isinstance(one, ast.Name)
                }
                what |= {name for variable in variables for name in assigned.get(variable, ())}
                parameters = {argument.arg for argument in function.args.args}
                taken = here if variables & parameters else ""
                self._acts.append((node.func.attr, f"{module}:{node.lineno}", what, taken))
            elif isinstance(node, ast.Call):
                given = {name for argument in node.args for name in self._called(module, owner, argument)}
                for called in self._called(module, owner, node.func, deep=False):
                    self._given.setdefault(called, set()).update(given)
        self._calls[here] = {
            name
            for node in ast.walk(function)
            if node not in begun
            for name in self._called(module, owner, node, deep=False)
        }

    def _called(self, module: str, owner: str, node: ast.AST, *, deep: bool = True) -> Iterator[str]:
        for one in ast.walk(node) if deep else [node]:
            if isinstance(one, ast.Attribute) and one.attr in self.SHOWS:
                yield "shows"
            elif (
                isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "self" and owner
            ):
                yield f"{owner}.{one.attr}"
            elif isinstance(one, ast.Name):
                yield self._named(module, one)

    def show(self, name: str) -> bool:
        """Whether a function shows a dialog."""
        seen, left = set[str](), [name]
        while left:
            one = left.pop()
            if one == "shows":
                return True
            if one not in seen:
                seen.add(one)
                owner, _, method = one.rpartition(".")
                inherited = (
                    [f"{base}.{method}" for base in self._bases.get(owner, [])] if one not in self._calls else []
                )
                left += [*self._calls.get(one, ()), *inherited]
        return False

    def wrong(self) -> list[str]:
        """Acts that show a dialog and are not begun by ``ask_by``, and those that are and show none."""
        return [
            f"{place} {how}"
            for how, place, what, taken in self._acts
            if how != "run_worker"
            and (how == "ask_by") is not any(self.show(name) for name in what | self._given.get(taken, set()))
        ]


def test_keys_wait_for_the_dialog_of_each_act_that_shows_one() -> None:
    # Whoever types ahead types for that dialog: by ShellNode.ask_by the key queue knows that one comes.
    assert Flows(modules()).wrong() == []


def test_an_act_that_shows_a_dialog_is_found_through_what_it_calls() -> None:
    texts = {
        "screens.a": "async def flow(shell):\n    await read()\n    await shell.ask(Dialog())\nasync def read(): ...",
        "screens.b": (
            "from screens.a import flow, read\n"
            "class P:\n"
            "    def one(self):\n        self.act('a', self._two)\n        self.ask_by('b', self._two)\n"
            "    async def _two(self):\n        await flow(self.shell)\n"
            "    def three(self):\n        do = flow\n        self.act('c', do)\n        self.act('d', read)\n"
            "        self.ask_by('e', read)\n"
            "    def four(self, do):\n        self.act('f', do)\n"
            "    def five(self):\n        self.four(flow)\n"
        ),
    }
    assert Flows({name: ast.parse(text) for name, text in texts.items()}).wrong() == [
        "screens.b:4 act",
        "screens.b:10 act",
        "screens.b:12 ask_by",
        "screens.b:14 act",
    ]


def test_a_function_that_takes_one_is_found() -> None:
    taken = "def f(a, x: 'Screen[None]'): ...\nasync def g(*, under: BaseScreen | None): ...\nh = lambda screen: 1"
    assert list(screens_taken(ast.parse(taken))) == ["f(x)", "g(under)", "lambda(screen)"]
    assert list(screens_taken(ast.parse("def f(screen: str, dialog: Modal[int]): ...\nclass MyScreen: ..."))) == []


def test_every_dialog_gives_one_answer() -> None:
    # By the base of all dialogs: a key that comes while one closes neither answers again nor closes what is below.
    found = [str(path) for path in FACE.rglob("*.py") if "ModalScreen[" in path.read_text(encoding="utf-8")]
    assert found == [str(FACE / "widgets" / "modal.py")]
