"""What llama.cpp says: lines with a level, no debug lines, and a log that does not grow with each request."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.native_log import NativeLog
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL
from tests.engine.test_models import write_header
from tests.representatives import representatives

DEBUG, INFO, WARNING, ERROR, GOES_ON = 1, 2, 3, 4, 5


def told(*pieces: tuple[int, bytes], loading: bool = True) -> list[str]:
    """What is written of some pieces, without the time."""
    reading, writing = os.pipe()
    log = NativeLog(writing)
    log.loading = loading
    for level, text in pieces:
        log.take(level, text)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        lines = file.read().decode().splitlines()
    assert all(line[4] == line[7] == "-" for line in lines)
    return [line[20:] for line in lines]


def test_lines_carry_their_level_and_debug_lines_are_dropped() -> None:
    assert told((DEBUG, b"x\n"), (INFO, b"a = 1\n"), (WARNING, b"careful\n"), (ERROR, b"broken\n")) == [
        "info    a = 1",
        "warning careful",
        "error   broken",
    ]


def test_pieces_make_lines_and_dots_make_none() -> None:
    pieces = [
        (INFO, b"half "),
        (GOES_ON, b"and half\n"),
        (GOES_ON, b"."),
        (GOES_ON, b".\n"),
        (DEBUG, b"no "),
        (GOES_ON, b"no\n"),
    ]
    assert told(*pieces) == ["info    half and half"]
    assert told((INFO, b"one\ntwo\n")) == ["info    one", "info    two"]


def test_a_files_metadata_is_not_copied_and_nothing_reaches_a_terminal() -> None:
    assert told((INFO, b"llama_model_loader: - kv   3: tokenizer.chat_template str = {{x}}\n")) == []
    (line,) = told((ERROR, b"bad \x1b[2J\xff name\n"))
    assert "\x1b" not in line


def test_after_loading_only_trouble_is_told_and_the_same_three_times() -> None:
    assert told((INFO, b"fact\n"), loading=False) == []
    lines = told(*[(WARNING, b"again\n")] * 50, (ERROR, b"once\n"), loading=False)
    assert lines == ["warning again", "warning again", "warning again (not repeated)", "error   once"]


def test_the_first_error_is_why_and_is_told_once() -> None:
    log = NativeLog(os.open(os.devnull, os.O_WRONLY))
    assert log.why() == ""
    for level, text in (
        (WARNING, b"careful\n"),
        (ERROR, b"some_function: no such \x1b[2J thing\n"),
        (ERROR, b"failed\n"),
    ):
        log.take(level, text)
    assert log.why() == ": no such ␛[2J thing"
    assert log.why() == ""
    # Also where the same is no longer written.
    for _ in range(5):
        log.take(ERROR, b"again\n")
        assert log.why() == ": again"


@pytest.mark.parametrize(
    ("architecture", "told"),
    representatives([("imaginary9", "unknown model architecture: 'imaginary9'"), ("llama", "key not found")], 0),
)
def test_a_model_that_does_not_load_says_in_llama_cpps_words_why_and_names_the_engines_log(
    workspace: Workspace, architecture: str, told: str
) -> None:
    path = write_header(workspace.root / "some.gguf", architecture, "model")
    model = ModelRegistry(Catalog(workspace)).add(path, "some")
    with pytest.raises(LlmopsError, match=told) as caught:
        ServerSupervisor(workspace).ensure(model, LoadOptions(threads=1))
    assert caught.value.code == "model_load_failed"
    log = workspace.logs / "engine-some.log"
    assert str(log) in caught.value.hint
    assert told in log.read_text()


@pytest.mark.slow
def test_an_engine_tells_its_facts_once_and_requests_nothing() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.engine.engines import Bench, questions\n"
        "bench = Bench(parallel=4)\n"
        "print('-- loaded', file=sys.stderr, flush=True)\n"
        "for question in questions(6) * 2: bench.submit(question)\n"
        "bench.run()\n"
    )
    log = subprocess.run([sys.executable, "-c", code, str(MODEL)], capture_output=True, text=True, check=True).stderr
    loading, _, later = log.partition("-- loaded\n")
    assert later == ""
    assert "KV buffer size" in loading
    assert "n_ctx" in loading
    lines = loading.splitlines()
    assert len(lines) < 150
    assert {line[20:27].strip() for line in lines} <= {"info", "warning", "error"}
