from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llmops_tui.cli.commands import COMMANDS, loaded
from llmops_tui.cli.main import run
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

HEAVY = {"torch", "transformers", "peft", "bitsandbytes", "trl", "llama_cpp"}


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a prompt."""
    workspace = make_workspace(Workspace(tmp_path_factory.mktemp("prompted") / "ws"))
    PromptStore(Catalog(workspace)).save("triage", template="Where is the order? {{ question }}")
    # Whoever comes first makes the tables of the journal, with a library for it.
    EventLog(workspace).waiting()
    return workspace.root


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {line.partition(".")[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("argument", ["--version", pytest.param("--help", marks=pytest.mark.slow)])
def test_version_and_help_load_neither_face_nor_native_libraries(argument: str) -> None:
    statement = (
        f"import sys; sys.argv = ['llmops', '{argument}']\n"
        "from llmops_tui.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit: pass"
    )
    # Of the standard library, too, what takes longest to load is left to those who need it.
    assert not modules_after(statement) & (HEAVY | {"textual", "screens", "duckdb", "tomllib", "tempfile"})


def test_a_command_loads_its_own_module_and_no_other() -> None:
    code = (
        "import sys\nfrom llmops_tui.cli.main import run\nrun(sys.argv[1:])\n"
        "sys.stderr.write(' '.join(m for m in sys.modules if m.startswith('llmops_tui.cli.')))"
    )

    def modules(*arguments: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        return set(done.stderr.split()) - {
            f"llmops_tui.cli.{name}" for name in ("main", "commands", "options", "output")
        }

    assert modules("--help") == set()
    assert modules("doctor", "--help") == {"llmops_tui.cli.doctor"}
    # A verb with a module of its own is loaded when it is asked for.
    assert "llmops_tui.cli.prompt_improve" not in modules("prompt", "list", "--help")
    assert modules("prompt", "blame", "--help") >= {"llmops_tui.cli.prompt", "llmops_tui.cli.prompt_history"}


# What takes a tenth of a second to load, and no command needs that lists or moves a label.
_SLOW_TO_LOAD = {"numpy", "pyarrow", "httpx", "sklearn", "rich", "jinja2", "psutil", "asyncio"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("prompt", "list"), ("prompt", "log", "triage"), ("prompt", "show", "triage"), ("prompt", "search", "order"),
        ("prompt", "runs", "triage"), ("prompt", "tag", "triage@1", "staging"), ("traces", "list"),
        ("prompt", "save", "triage", "--text", "Answer. {{ question }}"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_lists_or_names_loads_no_library_that_it_has_no_use_for(
    arguments: tuple[str, ...], prompted: Path
) -> None:
    statement = f"from llmops_tui.cli.main import run\nif run(['--workspace', {str(prompted)!r}, *{arguments!r}]): raise SystemExit(1)"
    # Whether a text is a template, its language says.
    used = {"jinja2"} if "save" in arguments else set()
    assert not modules_after(statement) & (HEAVY | _SLOW_TO_LOAD | {"textual", "screens"}) - used


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_is_there_and_said_in_one_line(name: str) -> None:
    assert loaded(name).name == name
    assert len(f"  {max(COMMANDS, key=len)}  {COMMANDS[name].help}") <= 80


def test_a_command_that_is_misspelt_is_answered_with_the_one_that_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dat"]) == 2
    assert "Did you mean 'data'?" in capsys.readouterr().err


_WHOLE_ENGINE = (
    "import pkgutil, importlib, llmops_tui\n"
    "worker = ('llmops_tui.inference.engine.', 'llmops_tui.training.worker.', 'llmops_tui.evaluation.tasks.worker.')\n"
    "for m in pkgutil.walk_packages(llmops_tui.__path__, 'llmops_tui.'):\n"
    "    if not m.name.startswith(worker) and not m.name.endswith('__main__'): importlib.import_module(m.name)"
)
_REFUSE = (
    "import sys\n"
    "class Refused:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.partition('.')[0] in {refused!r}: raise ModuleNotFoundError(name + ' comes with an extra')\n"
    "sys.meta_path.insert(0, Refused())\n"
)


def modules_of_extras() -> set[str]:
    """Top-level modules that come with an extra of ours and with nothing that is always installed."""
    always, asked = set[str](), ["llmops-tui"]
    while asked:
        name = asked.pop()
        if name in always:
            continue
        always.add(name)
        try:
            wanted = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue
        asked += [
            canonicalize_name(each.name)
            for each in wanted
            if each.marker is None or each.marker.evaluate({"extra": ""})
        ]
    extras = {canonicalize_name(Requirement(text).name) for text in requires("llmops-tui") or ()} - always
    return {
        module
        for module, owners in packages_distributions().items()
        if (names := {canonicalize_name(owner) for owner in owners}) <= extras and names
    }


def test_the_whole_engine_is_imported_without_any_extra_textual_or_native_library() -> None:
    refused = modules_of_extras()
    assert {"torch", "pytest"} <= refused
    assert not {"duckdb", "numpy", "scipy"} & refused
    assert not modules_after(_REFUSE.format(refused=refused) + _WHOLE_ENGINE) & (HEAVY | {"textual", "screens"})


def test_the_process_that_draws_holds_no_native_library_and_no_database() -> None:
    statement = (
        "import screens.app, screens.launch, screens.playground.screen, screens.models.screen, screens.jobs.screen\n"
        "import screens.training.screen, screens.training.recipe_form"
    )
    assert not modules_after(statement) & (HEAVY | {"duckdb", "sqlite_utils", "httpx"})
