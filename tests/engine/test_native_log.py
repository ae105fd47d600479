"""What llama.cpp says: lines with a level, no debug lines, and a log that does not grow with each request."""

from __future__ import annotations

import os
import subprocess
import sys

from llmops_tui.native_log import NativeLog
from tests.engine.engines import MODEL

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
        "info    a = 1", "warning careful", "error   broken",
    ]  # fmt: skip


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
    assert lines == ["warning again", "warning again", "warning again (not told again)", "error   once"]


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
