from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "peft", "bitsandbytes", "trl", "llama_cpp"}


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {line.partition(".")[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_load_neither_face_nor_native_libraries(argument: str) -> None:
    statement = (
        f"import sys; sys.argv = ['llmops', '{argument}']\n"
        "from llmops_tui.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit: pass"
    )
    # Of the standard library, too, what takes longest to load is left to those who need it.
    assert not modules_after(statement) & (HEAVY | {"textual", "screens", "duckdb", "tomllib", "tempfile"})


def test_the_whole_engine_never_reaches_textual_or_native_libraries() -> None:
    statement = (
        "import pkgutil, importlib, llmops_tui\n"
        "worker = ('llmops_tui.inference.engine.', 'llmops_tui.training.worker.')\n"
        "for m in pkgutil.walk_packages(llmops_tui.__path__, 'llmops_tui.'):\n"
        "    if not m.name.startswith(worker) and not m.name.endswith('__main__'): importlib.import_module(m.name)"
    )
    assert not modules_after(statement) & (HEAVY | {"textual", "screens"})


def test_the_process_that_draws_holds_no_native_library_and_no_database() -> None:
    statement = (
        "import screens.app, screens.launch, screens.playground.screen, screens.models.screen, screens.jobs.screen\n"
        "import screens.training.screen, screens.training.recipe_form"
    )
    assert not modules_after(statement) & (HEAVY | {"duckdb", "sqlite_utils", "httpx"})
