"""The shape of the face: who knows whom is held by the import contracts, and here what no import shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import screens

FACE = Path(str(screens.__file__)).parent
# ``Screen[None]``, ``BaseScreen``, ``TraceScreen | None``; a dialog is asked for an answer and is no place to reach into.
SCREEN = re.compile(r"\b\w*Screen\b")

# Textual's own, which it calls with one; what they are is said again here.
TEXTUALS = {"_display", "_load_screen_css"}


def screens_taken(text: str) -> Iterator[str]:
    """Functions of a module that take a screen, by the types or the names of their arguments."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            and getattr(node, "name", "") not in TEXTUALS
        ):
            named = node.args
            for argument in (*named.posonlyargs, *named.args, *named.kwonlyargs):
                said = ast.unparse(argument.annotation) if argument.annotation is not None else ""
                if SCREEN.search(said) or (argument.arg == "screen" and said not in {"str", "type[str]"}):
                    yield f"{getattr(node, 'name', 'lambda')}({argument.arg})"


def test_no_function_takes_a_screen() -> None:
    found = {
        str(path.relative_to(FACE)): taken
        for path in sorted(FACE.rglob("*.py"))
        if (taken := list(screens_taken(path.read_text(encoding="utf-8"))))
    }
    assert found == {}


def test_a_function_that_takes_one_is_found() -> None:
    taken = "def f(a, x: 'Screen[None]'): ...\nasync def g(*, under: BaseScreen | None): ...\nh = lambda screen: 1"
    assert list(screens_taken(taken)) == ["f(x)", "g(under)", "lambda(screen)"]
    assert list(screens_taken("def f(screen: str, dialog: Modal[int]): ...\nclass MyScreen: ...")) == []


def test_every_dialog_gives_one_answer() -> None:
    # By the base of all dialogs: a key that comes while one closes neither answers again nor closes what is below.
    found = [str(path) for path in FACE.rglob("*.py") if "ModalScreen[" in path.read_text(encoding="utf-8")]
    assert found == [str(FACE / "widgets" / "modal.py")]
