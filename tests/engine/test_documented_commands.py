"""The commands that the documentation shows exist, with the options that it gives them; none is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.cli.commands import COMMANDS, loaded
from llmops_tui.cli.options import split_globals

ROOT = Path(__file__).resolve().parents[2]
# The changelog also names what is gone.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if page.name != "changelog.md"]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_GLOBAL = {"--workspace", "--json", "--quiet", "--no-color", "--help", "--version"}


def _find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words begin with, and what is left of them."""
    command, rest = loaded(words[0]), words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def _options(command: Any) -> set[str]:
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | _GLOBAL


def _shell_lines(text: str) -> Iterator[str]:
    """The lines of all blocks of code for a shell, fenced or indented, with continued lines joined."""
    blocks = [body for kind, body in _FENCE.findall(text) if kind == "sh"]
    blocks += re.findall(r"^    (llmops .*)$", _FENCE.sub("", text), re.MULTILINE)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()


def _calls(line: str) -> Iterator[list[str]]:
    """The arguments of each call of llmops in a line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("|&;>"):
            words.append(word)
            continue
        if words[:1] == ["llmops"]:
            yield words[1:]
        words = []


def _spans(page: Path) -> list[str]:
    """What stands between backticks and begins with the name of the command; a bar in a table is escaped."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [re.sub(r"\s+", " ", span).replace(r"\|", "|") for span in re.findall(r"`(llmops [^`]+)`", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_block_of_code_is_understood(page: Path) -> None:
    for line in _shell_lines(page.read_text(encoding="utf-8")):
        for arguments in _calls(line):
            _, words = split_globals(arguments)
            if not words:
                continue
            command, rest = _find(words)
            try:
                command.make_context(command.name, list(rest))
            except Exception as error:  # noqa: BLE001  whatever the parser has against it
                pytest.fail(f"{page.name}: llmops {' '.join(arguments)}: {error!r}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_sentence_or_a_table_exists_with_its_options(page: Path) -> None:
    for span in _spans(page):
        command, noun = None, None
        words = [word.strip("[]()….,") for word in span.split()[1:]]
        # What follows "--" is another program's.
        words = words[: words.index("--")] if "--" in words else words
        for at, word in enumerate(words):
            begins = at == 0 or words[at - 1] == "|"
            verbs = getattr(noun, "commands", {})
            if begins and word in verbs:
                command = verbs[word]
            elif begins and word in COMMANDS:
                command = noun = loaded(word)
            elif command is noun and word in verbs:
                command = verbs[word]
            elif word.startswith("-") and word.partition("=")[0] not in _GLOBAL:
                known = _options(command) if command is not None else _GLOBAL
                assert word.partition("=")[0] in known, f"{page.name}: {span}: {word}"
            assert at > 0 or command is not None or word.startswith("-") or not word, f"{page.name}: {span}"


def test_the_command_line_page_names_every_command() -> None:
    named = "\n".join(_spans(ROOT / "docs" / "cli.md"))
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", named), name
        for verb, command in getattr(loaded(name), "commands", {}).items():
            lines = [line for line in named.splitlines() if line.startswith(f"llmops {name} ")]
            assert command.hidden or any(re.search(rf"(^llmops {name}|\|) {verb}\b", line) for line in lines), (
                f"{name} {verb}"
            )
